"""The challenge's baseline: a clip's mean frame, then a linear SVR for each emotion.

In predictions and results it is Architecture 0, beside the paper's 1 and 2.
"""

import json
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
from emoshare_utils.files import atomic, slug
from emoshare_utils.names import POOLED, split_layer
from emoshare_utils.progress import track
from emoshare_utils.training.predictions import PREDICTION_COLUMNS

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
WORKERS = 8  # at most; each holds about 30 bytes a value: 1 GB for 31,745 clips of 1,024


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline: one linear SVR an emotion under one feature set.

    Attributes:
        predictions: clip by clip for devel and test, as DESIGN's predictions table; they are not
            held to [0, 1].
        grid: encoder, emotion, scaler, loss, C, iterations, converged, devel_mae, chosen: one
            row a fit, 20 an emotion.
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

    Every setting of `GRID` is fitted on train, and the one whose mean absolute error on devel is
    least predicts devel and test. The challenge fits that one again on train and devel before it
    predicts test; here devel only chooses, as it does for the networks.

    Args:
        models: the folder of models, as `train_system` takes it.
        shuffle_shares: a control, as in `Training`: what is fitted and chosen sees shares permuted
            over the clips.
        workers: processes that fit at a time; None: one a core, `WORKERS` at most.

    Raises:
        StoreError: a clip's frames are not in `store`, or are those of other audio.
        ValueError: the store has a row a layer, over which no mean is taken.
    """
    encoder = store.settings["encoder"]
    if split_layer(encoder)[1] == POOLED:
        raise ValueError(
            f"{encoder!r} has a row a layer, not a frame a time: the baseline takes the mean over "
            f"time, so name a layer, as {encoder.removesuffix(POOLED)}6"
        )
    store.require(corpus.clips)
    folder = models / slug(encoder) / "svr"
    about = _settings(corpus, shuffle_shares) | {"store": store.folder.name}
    finished = folder / "baseline.json"
    if finished.is_file() and json.loads(finished.read_text()) == about:
        return _read(folder)
    finished.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)

    means = mean_frames(store, corpus.clips["clip_id"])
    frames = {split: means[corpus.clips["split"] == split] for split in SPLITS}
    shares = {split: corpus.shares(split) for split in ("train", "devel")}
    if shuffle_shares:
        order = np.random.default_rng(SEED)
        shares = {split: order.permuted(values, axis=0) for split, values in shares.items()}
    chosen, grid = _search(corpus.emotions, frames, shares, f"{encoder}, SVR", workers)
    predictions = _predictions(corpus, frames, chosen)
    system = {"encoder": encoder, "architecture": ARCHITECTURE, "seed": SEED}
    with atomic(folder / "predictions.parquet") as file:
        predictions.assign(**system)[PREDICTION_COLUMNS].to_parquet(file, index=False)
    grid.insert(0, "encoder", encoder)
    with atomic(folder / "grid.parquet") as file:
        grid.to_parquet(file, index=False)
    with atomic(finished) as file:
        file.write((json.dumps(about, indent=2) + "\n").encode())
    return _read(folder)


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
    tables = [
        pd.read_parquet(file.parent / "predictions.parquet")
        for file in sorted(models.glob("*/svr/baseline.json"))
        if settings.items() <= (about := json.loads(file.read_text())).items()
        and (stores is None or about["store"] in stores)
    ]
    nothing = pd.DataFrame(columns=PREDICTION_COLUMNS)
    return pd.concat(tables, ignore_index=True) if tables else nothing


def mean_frames(store: FeatureStore, clip_ids: Sequence[str]) -> np.ndarray:
    """The mean over time of each clip's frames, (N, W) float32: one clip is read at a time."""
    means = np.empty((len(clip_ids), store.width), np.float32)
    label = f"{store.settings['encoder']}, means over time"
    for row, clip in enumerate(track(clip_ids, label)):
        means[row] = store.frames(clip).mean(axis=0, dtype=np.float32)
    return means


def linear_svr(scaler: str, loss: str, C: float) -> Pipeline:
    """A setting of the grid, to be fitted: the scaler, then the SVR."""
    # "auto" solves the squared loss directly where that is quicker, to the same optimum
    svr = LinearSVR(C=C, loss=loss, dual="auto", max_iter=MAX_ITER, random_state=SEED)
    return make_pipeline(SCALERS[scaler](), svr)


def _search(
    emotions: Sequence[str],
    frames: dict[str, np.ndarray],
    shares: dict[str, np.ndarray],
    label: str,
    workers: int | None,
) -> tuple[dict[str, Pipeline], pd.DataFrame]:
    """The pipeline of each emotion that is best on devel, and the table of all fits."""
    fits = list(product(range(len(emotions)), GRID))
    # processes, since liblinear draws from one random state a process
    parallel = Parallel(workers or min(joblib.cpu_count(), WORKERS), return_as="generator")
    chosen, least, grid = {}, dict.fromkeys(emotions, np.inf), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the table says which did not
        fitted = parallel(
            delayed(linear_svr(**setting).fit)(frames["train"], shares["train"][:, column])
            for column, setting in fits
        )
        steps = track(zip(fits, fitted), label, len(fits), "fits")
        for (column, setting), pipeline in steps:
            emotion, iterations = emotions[column], int(pipeline[-1].n_iter_)
            mae = np.abs(pipeline.predict(frames["devel"]) - shares["devel"][:, column]).mean()
            if mae < least[emotion]:
                chosen[emotion], least[emotion] = pipeline, mae
            about = {"iterations": iterations, "converged": iterations < MAX_ITER}
            grid.append({"emotion": emotion, **setting, **about, "devel_mae": mae})
    table = pd.DataFrame(grid)
    best = table.groupby("emotion")["devel_mae"].idxmin()
    return chosen, table.assign(chosen=table.index.isin(best))


def _predictions(
    corpus: Corpus, frames: dict[str, np.ndarray], chosen: dict[str, Pipeline]
) -> pd.DataFrame:
    """Predictions for devel and test; the share is null where the test labels are masked."""
    tables = []
    for split, emotion in product(("devel", "test"), corpus.emotions):
        if len(clips := corpus.split(split)):
            about = {"emotion": emotion, "split": split, "clip_id": clips["clip_id"].to_numpy()}
            prediction = chosen[emotion].predict(frames[split]).astype(float)
            shares = {"share": clips[emotion].to_numpy(float), "prediction": prediction}
            tables.append(pd.DataFrame(about | shares))
    return pd.concat(tables, ignore_index=True)


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


def _read(folder: Path) -> Baseline:
    return Baseline(
        predictions=pd.read_parquet(folder / "predictions.parquet"),
        grid=pd.read_parquet(folder / "grid.parquet"),
        folder=folder,
    )
