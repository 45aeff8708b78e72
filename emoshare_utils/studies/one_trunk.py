"""One network for all emotions against one each, and several networks as one (notebook 13)."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.models.regressor import Sizes, build
from emoshare_utils.training.settings import Training
from emoshare_utils.training.systems import train_system


def as_many_weights(sizes: Sizes, architecture: int, width: int, emotions: int) -> Sizes:
    """Sizes of one trunk with `emotions` heads that has the weights of as many networks.

    The convolutions and the LSTM are wider by one factor, the one that comes nearest.

    Args:
        sizes: of one network.
        width: of the features.
    """
    goal = emotions * build(architecture, width, sizes).n_parameters

    def miss(wider: Sizes) -> int:
        return abs(n_weights(wider, architecture, width, emotions) - goal)

    return min((_wider(sizes, factor) for factor in np.arange(1, emotions + 0.05, 0.05)), key=miss)


def _wider(sizes: Sizes, factor: float) -> Sizes:
    cnn = tuple(round(factor * channels) for channels in sizes.cnn)
    return replace(sizes, cnn=cnn, lstm=round(factor * sizes.lstm))


def n_weights(sizes: Sizes, architecture: int, width: int, emotions: int) -> int:
    """How many weights one trunk with a head for each of `emotions` has."""
    network = build(architecture, width, sizes)
    head = sum(parameter.numel() for parameter in network.ffnn.parameters())
    return network.n_parameters + (emotions - 1) * head


def seconds_of_an_epoch(
    corpus: Corpus,
    store: FeatureStore,
    architecture: int,
    sizes: Sizes,
    training: Training,
    device: str = "auto",
) -> float:
    """Seconds of a training of one epoch here, with the statistics, predictions and writing."""
    short = replace(training, epochs=1, recalibrate=False)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        train_system(corpus, store, architecture, 0, Path(folder), sizes, short, device)
        return time.perf_counter() - start


def as_one_system(predictions: pd.DataFrame, name: str) -> pd.DataFrame:
    """One system whose shares are the mean of those of all systems in `predictions`.

    Args:
        name: what its column encoder says; it counts as one seed of Architecture 1.
    """
    key = ["emotion", "split", "clip_id", "share"]
    mean = predictions.groupby(key, sort=False, dropna=False)["prediction"].mean().reset_index()
    return mean.assign(encoder=name, architecture=1, seed=0)[predictions.columns]
