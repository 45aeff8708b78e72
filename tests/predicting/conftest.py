"""A tiny run whose audio is on disk, and a system of it that was exported."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from emoshare_utils.corpora import audio
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.extract import extract
from emoshare_utils.models.regressor import Sizes
from emoshare_utils.predicting.export import export
from emoshare_utils.training.settings import Training
from emoshare_utils.training.systems import train_system

SIZES = Sizes(cnn=(8,), pool=2, lstm=8, ffnn_1=(8,), ffnn_2=(8,))
QUICK = Training(learning_rate=2e-2, batch_size=8, epochs=4, start_at_mean=True)
SPEAKERS = {"train": 4, "devel": 6, "test": 2}
PER_SPEAKER = 10


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The folder of a run: clips of .13 to .6 s, mfcc in both architectures, fbank in one."""
    folder, rng, rows = tmp_path_factory.mktemp("run"), np.random.default_rng(0), []
    (folder / "corpus").mkdir()
    for split, people in SPEAKERS.items():
        for number in range(people * PER_SPEAKER):
            name, loud = f"{split}{number}", rng.random()
            n = 9600 if (split, number) == ("train", 0) else rng.integers(2000, 9000)
            samples = rng.uniform(-0.5, 0.5, n) * loud
            soundfile.write(folder / "corpus" / f"{name}.wav", samples, 16_000)
            about = {"clip_id": name, "path": f"{name}.wav", "split": split}
            about |= {"speaker": f"{split}{number % people}", "language": "en", "n_raters": 9}
            rows.append(about | {"duration_s": None, "Anger": round(loud, 2), "a/b": 0.5 * loud})
    read = Corpus("table", folder / "corpus", ("Anger", "a/b"), pd.DataFrame(rows))
    corpus, rejected = audio.check(read)
    assert rejected.empty
    corpus.save(folder)
    for name, architecture in (("mfcc", 1), ("mfcc", 2), ("fbank", 2)):
        store = extract(corpus, load_encoder(name, "cpu"), folder / "features")
        train_system(corpus, store, architecture, 0, folder / "models", SIZES, QUICK, "cpu")
    return folder


@pytest.fixture(scope="session")
def corpus(run):
    return Corpus.load(run)


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory):
    """The folder of an exported system."""
    folder = tmp_path_factory.mktemp("exported") / "system"
    export(run, folder, "mfcc", 2)
    return folder


@pytest.fixture(scope="session")
def fused(run, tmp_path_factory):
    """The folder of an exported system on two feature sets."""
    folder = tmp_path_factory.mktemp("exported") / "fused"
    export(run, folder, "mfcc + fbank", 2)
    return folder
