"""Trained networks -> predicted shares, and the table of predictions."""

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import product, repeat
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.files import DamagedError, read_json
from emoshare_utils.models.joined import JoinedCNNs, can_join
from emoshare_utils.models.regressor import Regressor
from emoshare_utils.storage import read_parquet
from emoshare_utils.training.batches import Loader, MicroBatch, after_cnns, in_batches

EVALUATION_BATCH = 32  # clips
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


def predict(
    pool: Executor,
    networks: Sequence[Regressor],
    loader: Loader,
    clip_ids: np.ndarray,
    shared_trunk: bool = False,
) -> np.ndarray:
    """The share that each network predicts for each clip, (N, networks).

    Clips are batched by length, which changes no number.

    Args:
        shared_trunk: the networks' trunks are equal, and are computed once.
    """
    predictions = np.empty((len(clip_ids), len(networks)))
    by_length = np.argsort(loader.store.lengths(clip_ids), kind="stable")
    batches = loader.batches(in_batches(by_length, EVALUATION_BATCH), clip_ids)
    joined = None
    for batch, micro_batches in batches:
        if not (shared_trunk or joined) and can_join(networks, micro_batches[0].features):
            joined = JoinedCNNs(networks)
        predictions[batch] = predict_batch(pool, networks, micro_batches, joined, shared_trunk)
    return predictions


def predict_batch(
    pool: Executor,
    networks: Sequence[Regressor],
    micro_batches: Sequence[MicroBatch],
    joined: JoinedCNNs | None = None,
    shared_trunk: bool = False,
) -> Tensor:
    """The share that each network predicts for each clip of a batch, (N, networks).

    Args:
        joined: the networks' CNNs, to be computed together; None: each by itself.
        shared_trunk: as for `predict`.
    """
    if joined is not None:
        found = pool.map(partial(_frames, joined), micro_batches)
        return predict_after_cnns(pool, networks, after_cnns(micro_batches, list(found)))
    predictions = _empty(networks, micro_batches)
    if shared_trunk:
        found = pool.map(partial(_shares_of_heads, networks), micro_batches)
        for (rows, *_), shares in zip(micro_batches, found):
            predictions[rows] = shares
        return predictions
    for rows, features, lengths in micro_batches:
        shares = pool.map(_shares, networks, repeat(features), repeat(lengths))
        predictions[rows] = torch.stack(list(shares), dim=1)
    return predictions


def pooled_vectors(
    pool: Executor,
    networks: Sequence[Regressor],
    loader: Loader,
    clip_ids: np.ndarray,
    shared_trunk: bool = False,
) -> list[Tensor]:
    """What the FFNN of each network reads of each clip: (N, W_l + metadata) for each network.

    Args:
        shared_trunk: as for `predict`.
    """
    apart = networks[:1] if shared_trunk else networks
    found: list[Tensor] = []
    by_length = np.argsort(loader.store.lengths(clip_ids), kind="stable")
    for batch, micro_batches in loader.batches(in_batches(by_length, EVALUATION_BATCH), clip_ids):
        asked = list(product(range(len(apart)), micro_batches))
        vectors = pool.map(_vectors, (apart[i] for i, _ in asked), (x for _, x in asked))
        for (i, micro_batch), x in zip(asked, vectors):
            if not found:
                found = [x.new_empty(len(clip_ids), x.shape[1]) for _ in apart]
            found[i][batch[micro_batch.rows]] = x
    return found * len(networks) if shared_trunk else found


@torch.no_grad()
def _vectors(network: Regressor, batch: MicroBatch) -> Tensor:
    return network.vector(*network.frames(batch.features, batch.lengths)).cpu()


def predict_after_cnns(
    pool: Executor, networks: Sequence[Regressor], groups: Sequence[MicroBatch]
) -> Tensor:
    """`predict_batch` from what `batches.after_cnns` gave."""
    predictions = _empty(networks, groups)
    for rows, features, lengths in groups:
        shares = pool.map(_shares_after_cnn, networks, features, repeat(lengths))
        predictions[rows] = torch.stack(list(shares), dim=1)
    return predictions


def _empty(networks: Sequence[Regressor], micro_batches: Sequence[MicroBatch]) -> Tensor:
    return torch.empty(sum(len(rows) for rows, _, _ in micro_batches), len(networks))


@torch.no_grad()
def _shares(network: Regressor, features: Tensor, lengths: Tensor) -> Tensor:
    return network.regress(features, lengths).cpu()


@torch.no_grad()
def _shares_of_heads(networks: Sequence[Regressor], batch: MicroBatch) -> Tensor:
    vector = networks[0].vector(*networks[0].frames(batch.features, batch.lengths))
    return torch.stack([network.ffnn(vector) for network in networks], dim=1).cpu()


@torch.no_grad()
def _shares_after_cnn(network: Regressor, frames: Tensor, lengths: Tensor) -> Tensor:
    return network.share(frames, lengths)


@torch.no_grad()
def _frames(joined: JoinedCNNs, batch: MicroBatch) -> tuple[Tensor, Tensor]:
    return joined(batch.features, batch.lengths)


def prediction_table(
    corpus: Corpus, predicted: dict[str, np.ndarray], encoder: str, architecture: int, seed: int
) -> pd.DataFrame:
    """The predictions of one system; the share is null where the test labels are masked.

    Args:
        predicted: for each split, (clips, emotions).
    """
    tables = []
    for split, (place, emotion) in product(predicted, enumerate(corpus.emotions)):
        clips = corpus.split(split)
        about = {"encoder": encoder, "architecture": architecture, "emotion": emotion}
        about |= {"seed": seed, "split": split, "clip_id": clips["clip_id"].to_numpy()}
        shares = {"share": clips[emotion].to_numpy(float)}
        tables.append(pd.DataFrame(about | shares | {"prediction": predicted[split][:, place]}))
    return pd.concat(tables, ignore_index=True)[PREDICTION_COLUMNS]


def read_finished(
    files: Iterable[Path], settings: dict, stores: Collection[str] | None
) -> pd.DataFrame:
    """The predictions beside each of `files` that says these settings and one of these `stores`.

    None stands for any store. What clips are padded to, how many layers are weighted, and how many
    numbers the metadata make come from the store, and may differ. What is damaged is named and left
    out.
    """
    tables, settings = [], _without_what_is_the_stores(settings)
    for file in sorted(files):
        try:
            about = _without_what_is_the_stores(read_json(file))
            if settings.items() <= about.items() and (stores is None or about["store"] in stores):
                tables.append(read_parquet(file.parent / "predictions.parquet"))
        except (DamagedError, FileNotFoundError) as error:
            print(f"{error}. Until then its predictions are left out")
    nothing = pd.DataFrame(columns=PREDICTION_COLUMNS)
    return pd.concat(tables, ignore_index=True) if tables else nothing


def _without_what_is_the_stores(settings: dict) -> dict:
    """Settings without what comes from the store: `max_frames`, `layers` and Sizes' `metadata`."""
    of_store = {"sizes": ("layers", "metadata", "max_frames"), "training": ("max_frames",)}
    return settings | {
        part: {name: x for name, x in settings[part].items() if name not in names}
        for part, names in of_store.items()
        if part in settings
    }
