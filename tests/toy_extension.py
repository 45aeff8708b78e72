"""One toy of everything that can be added to the package, as a user's own file adds it."""

import numpy as np
import pandas as pd

from emoshare_utils.corpora import CORPORA
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.encoder import Encoder
from emoshare_utils.features.encoders import ENCODERS
from emoshare_utils.models import regressor
from emoshare_utils.models.padding import mask
from emoshare_utils.names import Look
from emoshare_utils.results.metrics import METRICS, Metric
from emoshare_utils.training.losses import LOSSES


class Filenames:
    """A corpus whose file names say it all: split_speaker_joy_fear.wav, shares in per cent."""

    LAYOUT = "files such as train_s1_30_70.wav"
    AUDIO = "."

    @staticmethod
    def read(root, language="en"):
        files = sorted(root.glob("*.wav"))
        split, speaker, joy, fear, _ = zip(*(file.stem.split("_") for file in files))
        clips = pd.DataFrame({"clip_id": [file.stem for file in files]})
        clips["path"] = [file.name for file in files]
        clips["split"], clips["speaker"], clips["language"] = split, speaker, language
        clips["n_raters"] = pd.Series(10, clips.index, dtype="Int64")
        clips["duration_s"] = np.nan
        clips["Joy"], clips["Fear"] = np.array(joy, float) / 100, np.array(fear, float) / 100
        return Corpus("filenames", root, ("Joy", "Fear"), clips), root


class Peaks(Encoder):
    """The largest and the mean magnitude of every 5 ms: another hop and width than all others."""

    width = 2
    settings = {"hop": 80, "version": 1}

    def n_frames(self, n_samples):
        return n_samples // 80

    def encode(self, clips):
        cut = [np.abs(clip[: len(clip) // 80 * 80]).reshape(-1, 80) for clip in clips]
        return [np.stack([x.max(axis=1), x.mean(axis=1)], axis=1) for x in cut]


class Largest(regressor.Regressor):
    """The largest of each LSTM unit over a clip's own frames, in place of Eq. 1's mean."""

    def pool(self, states, final, lengths):
        real = mask(lengths, states.shape[1])[..., None]
        return states.masked_fill(~real, -np.inf).amax(dim=1)


def absolute(predictions, shares):
    return (predictions - shares).abs().mean()


def pearson(shares, predictions):
    return float(np.corrcoef(shares, predictions)[0, 1]) if np.ptp(predictions) else float("nan")


CORPORA.register("filenames", Filenames)
ENCODERS.register("peaks", Peaks)
regressor.register(9, Largest, Look("Architecture 9", "A9", "#009E73"))
LOSSES.register("absolute", absolute)
METRICS.register("pearson", Metric(pearson, "r", higher_is_better=True))
