"""Trained networks -> predicted shares."""

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from itertools import repeat

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.device import one_worker_a_core
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.training.batches import Loader
from emoshare_utils.training.settings import Training

EVALUATION_BATCH = 32
LARGE = 1_000_000  # parameters
PREDICTION_COLUMNS = [
    "encoder",
    "architecture",
    "emotion",
    "seed",
    "split",
    "clip_id",
    "share",
    "prediction",
]


def _is_large(network: nn.Module, device: torch.device) -> bool:
    """Whether a CPU computes so long on a network that small pieces and tidying up pay."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return device.type == "cpu" and parameters > LARGE


def _loader(
    store: FeatureStore, network: nn.Module, training: Training, device: torch.device
) -> Loader:
    """Batches for `network`, and all that start with the same standardisation."""
    standardise = copy.deepcopy(network.standardise).cpu()
    precision = getattr(torch, training.precision)
    # a large network gains more from little padding than it loses by small pieces
    piece_clips = 8 if _is_large(network, device) else max(8, training.batch_size // 2)
    return Loader(store, standardise, precision, training.max_frames, piece_clips, device)


def _batches(order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _predict(
    pool: Executor, networks: Sequence[nn.Module], loader: Loader, clip_ids: np.ndarray
) -> np.ndarray:
    """The share each network predicts for each clip, (N, networks).

    Clips are batched by length, which changes no number.
    """
    predictions = np.empty((len(clip_ids), len(networks)))
    by_length = np.argsort(loader.store.lengths(clip_ids), kind="stable")
    for batch, pieces in loader.batches(_batches(by_length, EVALUATION_BATCH), clip_ids):
        for rows, features, lengths in pieces:
            shares = pool.map(_share, networks, repeat(features), repeat(lengths))
            predictions[batch[rows]] = np.stack(list(shares), axis=1)
    return predictions


@torch.no_grad()
def _share(network: nn.Module, features: Tensor, lengths: Tensor) -> np.ndarray:
    return network.regress(features, lengths).cpu().numpy()


def _predict_splits(
    corpus: Corpus,
    store: FeatureStore,
    networks: dict[str, nn.Module],
    training: Training,
    device: torch.device,
) -> pd.DataFrame:
    """Predictions for devel and test; the share is null where the test labels are masked."""
    tables = []
    loader = _loader(store, networks[corpus.emotions[0]], training, device)
    for split in ("devel", "test"):
        clips = corpus.split(split)
        if clips.empty:
            continue
        with one_worker_a_core() as pool:
            clip_ids = clips["clip_id"].to_numpy()
            predictions = _predict(pool, list(networks.values()), loader, clip_ids)
        for emotion, prediction in zip(networks, predictions.T):
            tables.append(
                pd.DataFrame(
                    {
                        "emotion": emotion,
                        "split": split,
                        "clip_id": clip_ids,
                        "share": clips[emotion].to_numpy(float),
                        "prediction": prediction,
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)
