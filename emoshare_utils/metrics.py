"""Spearman's rho, its interval, and the tables of results."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
CONSTANT = "constant prediction"
_CHUNK = 2_000_000  # resampled values held at once


def spearman(share: np.ndarray, prediction: np.ndarray) -> float:
    """Spearman's rho, ties by mean rank; NaN where either side is constant or n < 2."""
    if len(share) < 2 or np.ptp(share) == 0 or np.ptp(prediction) == 0:
        return float("nan")
    return float(stats.spearmanr(share, prediction).statistic)


def bootstrap(
    shares: np.ndarray, predictions: np.ndarray, resamples: int = 1000, seed: int = 0
) -> np.ndarray:
    """rho in bootstrap resamples of the clips.

    A resample is a count for each clip, so that ranks come from cumulative counts over the
    sorted values and nothing is sorted again.

    Args:
        shares, predictions: (n, E); one resample of the clips serves all E emotions.

    Returns:
        (resamples, E); NaN where a resample is constant.
    """
    n = len(shares)
    rng = np.random.default_rng(seed)
    rhos = []
    step = max(1, _CHUNK // max(n, 1))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        counts = rng.multinomial(n, np.full(n, 1 / n), size=size).astype(float)
        columns = [
            _weighted_rho(counts, share, prediction)
            for share, prediction in zip(shares.T, predictions.T)
        ]
        rhos.append(np.stack(columns, axis=1))
    return np.concatenate(rhos)


def interval(values: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The central interval that holds `confidence` of the resampled `values`."""
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


SYSTEM = ["encoder", "architecture", "seed", "split"]


def results(
    predictions: pd.DataFrame, emotions: Sequence[str], resamples: int = 1000
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """rho and its 95 % bootstrap interval over clips, from a table of predictions.

    Clips without a share (a masked test split) do not count.

    Returns:
        One row an emotion: encoder, architecture, emotion, seed, split, n, rho, ci_low,
        ci_high, note; a constant prediction has no rho and says so in its note.
        One row a system: encoder, architecture, seed, split, n, mean_rho, ci_low, ci_high: the
        mean over emotions, resampled over the same clips; missing if any emotion's rho is.
    """
    per_emotion, per_system = [], []
    known = predictions[predictions["share"].notna()]
    for system, rows in known.groupby(SYSTEM, sort=False):
        wide = rows.pivot(index="clip_id", columns="emotion", values=["share", "prediction"])
        wide = wide[wide["share"].notna().all(axis=1)]
        present = [emotion for emotion in emotions if emotion in wide["share"].columns]
        shares = wide["share"][present].to_numpy(float)
        predicted = wide["prediction"][present].to_numpy(float)
        samples = bootstrap(shares, predicted, resamples)
        about = dict(zip(SYSTEM, system)) | {"n": len(wide)}
        rhos = [spearman(*pair) for pair in zip(shares.T, predicted.T)]
        for emotion, rho, sample, prediction in zip(present, rhos, samples.T, predicted.T):
            low, high = interval(sample)
            note = "" if np.isfinite(rho) else _why_undefined(prediction)
            per_emotion.append(
                about
                | {"emotion": emotion, "rho": rho, "ci_low": low, "ci_high": high, "note": note}
            )
        low, high = interval(samples.mean(axis=1))
        per_system.append(about | {"mean_rho": np.mean(rhos), "ci_low": low, "ci_high": high})
    order = ["encoder", "architecture", "emotion", "seed", "split", "n"]
    return (
        pd.DataFrame(per_emotion)[[*order, "rho", "ci_low", "ci_high", "note"]],
        pd.DataFrame(per_system)[[*SYSTEM, "n", "mean_rho", "ci_low", "ci_high"]],
    )


def _why_undefined(prediction: np.ndarray) -> str:
    if not np.isfinite(prediction).all():
        return "prediction is not finite"
    return CONSTANT if np.ptp(prediction) == 0 else "constant share"


def _weighted_rho(counts: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """rho of each resample; counts (B, n), x and y (n,) -> (B,)."""
    ranks_x, ranks_y = _ranks(counts, x), _ranks(counts, y)
    total = counts.sum(axis=1, keepdims=True)
    ranks_x -= (counts * ranks_x).sum(axis=1, keepdims=True) / total
    ranks_y -= (counts * ranks_y).sum(axis=1, keepdims=True) / total
    covariance = (counts * ranks_x * ranks_y).sum(axis=1)
    spread = (counts * ranks_x**2).sum(axis=1) * (counts * ranks_y**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 0, covariance / np.sqrt(spread), np.nan)


def _ranks(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mean rank of every value within each resample, (B, n)."""
    distinct, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(distinct)))
    tied = np.add.reduceat(counts[:, order], starts, axis=1)  # (B, distinct)
    ranks = np.cumsum(tied, axis=1) - (tied - 1) / 2
    return ranks[:, group]
