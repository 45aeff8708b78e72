"""What an encoder is pretrained on."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd
import torch
from scipy.signal import resample_poly

from emoshare_utils.corpora import audio
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.small_network import HOP
from emoshare_utils.features.speech_encoder import normalised
from emoshare_utils.pretraining.plan import ROUND, Plan
from emoshare_utils.progress import track

INT16 = 32_768


@dataclass(frozen=True)
class Audio:
    """What an encoder is pretrained on.

    Attributes:
        clips: each (n,) int16 at 16 kHz.
        sources: one row a source: its name, languages, clips, speakers, hours, and the speeds
            that each clip was played at.
    """

    clips: Sequence[np.ndarray]
    sources: pd.DataFrame

    @property
    def hours(self) -> float:
        """All speeds together."""
        return sum(map(len, self.clips)) / audio.SAMPLE_RATE / 3600

    def samples(self, clip: int) -> np.ndarray:
        """One clip, (n,) float32, with zero mean and unit variance, as encoders get it."""
        return normalised(torch.from_numpy(self.clips[clip].astype(np.float32) / INT16)).numpy()


def listen(
    corpora: Mapping[str, Corpus], speeds: Mapping[str, Sequence[float]] | None = None
) -> Audio:
    """The train splits of the corpora, by the name of each, without their shares.

    Clips under 20 frames are left out.

    Args:
        speeds: of a corpus, 1 where it is not named; each clip is played at each of them. Faster
            is also higher: another voice.

    Raises:
        ValueError: nothing is left, or a speed is not above 0.
    """
    clips, sources = [], []
    for name, corpus in corpora.items():
        table = corpus.split("train")
        played = (speeds or {}).get(name, [1.0])
        if not min(played, default=0) > 0:
            raise ValueError(f"speeds of {name} = {list(played)}: expected some above 0, as 0.9")
        paths = track([corpus.root / path for path in table["path"]], name)
        heard = [_as_int16(audio.read_audio(path)) for path in paths]
        for speed in played:
            clips += [_at_speed(samples, speed) for samples in heard]
        sources.append(
            {
                "source": name,
                "languages": " ".join(sorted(table["language"].dropna().unique())),
                "clips": len(heard),
                "speakers": table["speaker"].nunique(),
                "hours": sum(map(len, heard)) / audio.SAMPLE_RATE / 3600,
                "speeds": " ".join(f"{speed:g}" for speed in played),
            }
        )
    clips = [clip for clip in clips if n_frames(len(clip)) >= ROUND + 4]
    if not clips:
        raise ValueError("no clip of the train splits lasts 20 frames (0.4 s)")
    return Audio(clips, pd.DataFrame(sources))


def _at_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    ratio = Fraction(speed).limit_denominator(50)
    if ratio == 1:
        return samples
    scaled = samples.astype(np.float32) / INT16
    return _as_int16(resample_poly(scaled, ratio.denominator, ratio.numerator))


def _as_int16(samples: np.ndarray) -> np.ndarray:
    return np.round(samples.clip(-1, 1) * (INT16 - 1)).astype(np.int16)


def n_frames(n_samples: int) -> int:
    """Frames of an n-sample clip: floor((n - 400) / 320) + 1."""
    return (n_samples - audio.MIN_SAMPLES) // HOP + 1


def checksum(arrays: Sequence[np.ndarray]) -> int:
    """What tells these clips or labels from others: their CRC-32."""
    value = 0
    for array in arrays:
        value = zlib.crc32(np.ascontiguousarray(array), value)
    return value


def draw_batches(heard: Audio, plan: Plan) -> Iterator[list[int]]:
    """Clips of about one length, `plan.seconds` together, epoch after epoch without end."""
    lengths = np.array([len(clip) for clip in heard.clips])
    enough = plan.seconds * audio.SAMPLE_RATE
    for epoch in range(2**31):
        rng = np.random.default_rng([plan.seed, epoch])
        batches, batch = [], []
        for clip in np.argsort(lengths * rng.uniform(0.9, 1.1, len(lengths))):
            batch.append(int(clip))
            if len(batch) * lengths[batch].min() >= enough:
                batches.append(batch)
                batch = []
        if batch:
            batches.append(batch)
        for number in rng.permutation(len(batches)):
            yield batches[number]


def cut(
    heard: Audio, labels: Sequence[np.ndarray] | None, clips: list[int], plan: Plan, number: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """A piece of each clip, as long as the shortest and at most `plan.seconds`.

    Returns:
        Samples (N, n), labels (N, L, G).
    """
    frames = [n_frames(len(heard.clips[clip])) for clip in clips]
    longest = max(ROUND, n_frames(round(plan.seconds * audio.SAMPLE_RATE)))
    length = min(*frames, longest) // ROUND * ROUND
    rng = np.random.default_rng([plan.seed, number, 1])
    first = [int(rng.integers(0, count - length + 1)) for count in frames]
    n = audio.MIN_SAMPLES + HOP * (length - 1)
    pieces = [heard.samples(clip)[HOP * at : HOP * at + n] for clip, at in zip(clips, first)]
    samples = np.stack(pieces)
    if labels is None:
        return samples, None
    own = [labels[clip][at : at + length] for clip, at in zip(clips, first)]
    return samples, np.stack(own).astype(np.int64)
