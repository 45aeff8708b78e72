"""The challenge's baseline: a clip's mean frame, then a linear SVR for each emotion.

In predictions and results it is Architecture 0, beside the paper's 1 and 2.
"""

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVR
from sklearn.utils.parallel import Parallel, delayed

from emoshare_utils.corpora.clip_table import SPLITS, Corpus
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.files import DamagedError, locked, read_json, slug, write_json
from emoshare_utils.names import POOLED, split_layer
from emoshare_utils.progress import track
from emoshare_utils.storage import read_parquet, write_parquet
from emoshare_utils.training.predictions import (
    prediction_table,
    read_finished,
)

VERSION = 1  # raise it when the same settings give other predictions
ARCHITECTURE = 0
SEED = 42  # this, MAX_ITER and GRID are the challenge's
MAX_ITER = 50_000
GRID = [
    {"scaler": scaler, "loss": loss, "C": C}
    for scaler, loss, C in product(
        ("standard", "minmax"),
        ("epsilon_insensitive", "squared_epsilon_insensitive"),
        (1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
    )
]
SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler}
MOST_WORKERS = 8  # each holds about 30 bytes per value: 1 GB for 31,745 clips of 1,024


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline: one linear SVR per emotion under one feature set.

    Attributes:
        predictions: clip by clip for devel and test, with PREDICTION_COLUMNS; they are not limited
            to [0, 1].
        grid: encoder, emotion, scaler, loss, C, iterations, converged, devel_mae, chosen: one
            row per fit, 20 per emotion.
        folder: where both are kept.
    """

    predictions: pd.DataFrame
    grid: pd.DataFrame
    folder: Path


def fit_baseline(
    corpus: Corpus,
    store: FeatureStore,
    models: Path,
    shuffle_shares: bool = False,
    workers: int | None = None,
) -> Baseline:
    """Fit the SVR of every emotion of `corpus` on the clips' mean frames, or read what is finished.

    Every setting of `GRID` is fitted on train, and the one with the least mean absolute error on
    devel predicts devel and test. The challenge fits that one again on train and devel before it
    predicts test; here devel only chooses, as it does for the networks.

    Args:
        models: the folder of models, as `train_system` takes it.
        shuffle_shares: a control, as in `Training`.
        workers: processes that fit at a time; None: one per core, `MOST_WORKERS` at most.

    Raises:
        StoreError: a clip's frames are not in `store`, or are those of other audio.
        FolderError: the disk is full, or another process is fitting this very baseline.
        ValueError: the store has one row per layer, over which no mean is taken.
    """
    encoder = store.settings["encoder"]
    if split_layer(encoder)[1] == POOLED:
        raise ValueError(
            f"{encoder!r} has one row per layer, not one frame per time: the baseline takes the "
            f"mean over time, so name a layer, as {encoder.removesuffix(POOLED)}6"
        )
    store.require(corpus.clips)
    folder = models / slug(encoder) / "svr"
    about = _settings(corpus, shuffle_shares) | {"store": store.folder.name}
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if not (finished := _finished(folder, about)):
            (folder / "baseline.json").unlink(missing_ok=True)
            finished = Baseline(*_fit(corpus, store, shuffle_shares, workers), folder)
            write_parquet(folder / "predictions.parquet", finished.predictions)
            write_parquet(folder / "grid.parquet", finished.grid)
            write_json(folder / "baseline.json", about)
    return finished


def _finished(folder: Path, about: dict) -> Baseline | None:
    """The baseline of these settings, if it is there and whole; says what is damaged."""
    try:
        if (folder / "baseline.json").is_file() and read_json(folder / "baseline.json") == about:
            tables = (read_parquet(folder / f"{name}.parquet") for name in ("predictions", "grid"))
            return Baseline(*tables, folder)
    except (DamagedError, FileNotFoundError) as error:
        print(f"this baseline is fitted again: {error}")
    return None


def collect_baselines(
    models: Path,
    corpus: Corpus,
    shuffle_shares: bool = False,
    stores: Collection[str] | None = None,
) -> pd.DataFrame:
    """The predictions of every finished baseline of this very clip table, if there is one.

    Args:
        stores: folder names of the feature stores that count; None: all.
    """
    settings = _settings(corpus, shuffle_shares)
    return read_finished(models.glob("*/svr/baseline.json"), settings, stores)


def mean_frames(store: FeatureStore, clip_ids: Sequence[str]) -> np.ndarray:
    """The mean over time of each clip's frames, (N, W) float32; one clip is read at a time."""
    means = np.empty((len(clip_ids), store.width), np.float32)
    label = f"{store.settings['encoder']}, means over time"
    for row, clip in enumerate(track(clip_ids, label)):
        means[row] = store.frames(clip).mean(axis=0, dtype=np.float32)
    return means


def linear_svr(scaler: str, loss: str, C: float) -> Pipeline:
    """The scaler and SVR of one setting of the grid, not yet fitted."""
    # "auto" solves the squared loss directly where that is quicker, to the same optimum
    svr = LinearSVR(C=C, loss=loss, dual="auto", max_iter=MAX_ITER, random_state=SEED)
    return make_pipeline(SCALERS[scaler](), svr)


def _fit(
    corpus: Corpus, store: FeatureStore, shuffle_shares: bool, workers: int | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The predictions of the SVRs that are best on devel, and the table of all fits."""
    encoder = store.settings["encoder"]
    means = mean_frames(store, corpus.clips["clip_id"])
    frames = {split: means[corpus.clips["split"] == split] for split in SPLITS}
    shares = {split: corpus.shares(split) for split in ("train", "devel")}
    if shuffle_shares:
        order = np.random.default_rng(SEED)
        shares = {split: order.permuted(values, axis=0) for split, values in shares.items()}
    chosen, grid = _search(corpus.emotions, frames, shares, f"{encoder}, SVR", workers)
    predicted = {
        split: np.stack([svr.predict(frames[split]).astype(float) for svr in chosen], axis=1)
        for split in ("devel", "test")
        if len(frames[split])
    }
    predictions = prediction_table(corpus, predicted, encoder, ARCHITECTURE, SEED)
    grid.insert(0, "encoder", encoder)
    return predictions, grid


def _search(
    emotions: Sequence[str],
    frames: dict[str, np.ndarray],
    shares: dict[str, np.ndarray],
    label: str,
    workers: int | None,
) -> tuple[list[Pipeline], pd.DataFrame]:
    """The pipeline of each emotion that is best on devel, and the table of all fits."""
    fits = list(product(range(len(emotions)), GRID))
    # processes, since liblinear draws from one random state per process
    parallel = Parallel(workers or min(joblib.cpu_count(), MOST_WORKERS), return_as="generator")
    best, grid = [(np.inf, 0, None)] * len(emotions), []  # devel_mae, row of the grid, pipeline
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the table says which did not
        fitted = parallel(
            delayed(linear_svr(**setting).fit)(frames["train"], shares["train"][:, column])
            for column, setting in fits
        )
        steps = track(zip(fits, fitted), label, len(fits), "fits")
        for row, ((column, setting), pipeline) in enumerate(steps):
            iterations = int(pipeline[-1].n_iter_)
            mae = np.abs(pipeline.predict(frames["devel"]) - shares["devel"][:, column]).mean()
            best[column] = min(best[column], (mae, row, pipeline))
            about = {"iterations": iterations, "converged": iterations < MAX_ITER}
            grid.append({"emotion": emotions[column], **setting, **about, "devel_mae": mae})
    _, rows, chosen = zip(*best)
    return list(chosen), pd.DataFrame(grid).assign(chosen=[row in rows for row in range(len(grid))])


def _settings(corpus: Corpus, shuffle_shares: bool) -> dict:
    """What decides the predictions besides the frames."""
    return {
        "clips": corpus.digest(),
        "emotions": list(corpus.emotions),
        "shuffle_shares": shuffle_shares,
        "grid": GRID,
        "version": VERSION,
        "scikit-learn": sklearn.__version__,
    }
