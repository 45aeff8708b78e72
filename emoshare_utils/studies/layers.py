"""Which layer of an encoder predicts shares best, and what others add to it (notebook 15)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.extract import extract
from emoshare_utils.features.store import FeatureStore, open_store, stored
from emoshare_utils.names import ALL, split_layer
from emoshare_utils.paths import Run
from emoshare_utils.results.comparisons import compare
from emoshare_utils.results.scores import score
from emoshare_utils.results.shared_clips import BOUNDS
from emoshare_utils.training.systems import System, load_network


class OneLayer(FeatureStore):
    """One layer of the store of all layers in `folder`, to read: `frames` gives (L, W / layers).

    It is read, and its `settings` are, as if that layer had been extracted alone.

    Raises:
        ValueError: the store holds no such layer, or a single one.
    """

    def __init__(self, folder: Path, layer: int) -> None:
        super().__init__(folder)
        layers = self.settings.pop("layers", 1)
        if layers == 1 or not 0 <= layer < layers:
            raise ValueError(f"layer = {layer}: {folder} has {layers} side by side, from 0 on")
        self.width //= layers
        self.columns = slice(layer * self.width, (layer + 1) * self.width)
        model, _ = split_layer(self.settings["encoder"])
        self.settings |= {"encoder": f"{model}@{layer}", "layer": layer, "width": self.width}

    def __reduce__(self) -> tuple:
        return type(self), (self.folder.resolve(), self.settings["layer"])

    def frames(self, clip_id: str) -> np.ndarray:
        """The layer's frames of a clip, (L, W / layers) float16."""
        return np.ascontiguousarray(super().frames(clip_id)[:, self.columns])


def open_layers(corpus: Corpus, encoder: str, run: Run, device: str = "auto") -> FeatureStore:
    """The store of all layers of `encoder`: notebook 02's, or else made for this study alone.

    Raises:
        StoreError, EncoderError, FolderError: as `open_store` and `extract`.
    """
    name = f"{encoder}@{ALL}"
    if name in stored(run.features):
        return open_store(run.features, name)
    return extract(corpus, load_encoder(name, device), run.folder / "layers" / "features")


def levels(
    predictions: pd.DataFrame,
    emotions: Sequence[str],
    speakers: Mapping[str, str],
    resamples: int = 1000,
) -> pd.DataFrame:
    """Mean devel rho of every system: of each seed, and of their mean, with its intervals.

    Args:
        predictions, emotions, speakers, resamples: as `compare` takes them; one architecture.

    Returns:
        encoder, seed, rho; and the same for all seeds of an encoder: mean_rho, ci_low, ci_high,
        ci_speakers_low, ci_speakers_high (95 %, of the mean over these seeds), n, n_speakers.
    """
    (architecture,) = predictions["architecture"].unique()
    each = {name: {(name, architecture): 1.0} for name in predictions["encoder"].unique()}
    means = compare(predictions, emotions, each, "devel", resamples, speakers)
    means = means.rename(columns={"contrast": "encoder", "difference": "mean_rho"})
    of_seeds = score(predictions.query("split == 'devel'"), emotions, resamples=1)[1]
    of_seeds = of_seeds.rename(columns={"mean_rho": "rho"})[["encoder", "seed", "rho"]]
    columns = ["encoder", "mean_rho", *BOUNDS, "n", "n_speakers"]
    return of_seeds.merge(means[columns], on="encoder", how="left")


def learned_weights(systems: Sequence[System], width: int) -> pd.DataFrame:
    """The weight of each layer in every network of systems that read all layers.

    Args:
        width: of the store of all layers.

    Returns:
        seed, emotion, layer, weight: the weights of one network sum to 1.
    """
    rows = []
    for system in systems:
        (seed,) = system.predictions["seed"].unique()
        for emotion in system.predictions["emotion"].unique():
            network = load_network(system.folder, emotion, width)
            weights = network.layer_weights.scores.detach().softmax(dim=0)
            rows += [(seed, emotion, layer, w) for layer, w in enumerate(weights.tolist())]
    return pd.DataFrame(rows, columns=["seed", "emotion", "layer", "weight"])
