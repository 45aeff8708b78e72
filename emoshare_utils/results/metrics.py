"""Spearman's rho and the other metrics."""

import numpy as np
from scipy import stats

CONSTANT = "constant prediction"


def spearman(share: np.ndarray, prediction: np.ndarray) -> float:
    """Spearman's rho, ties by mean rank; NaN where either side is constant or n < 2."""
    if len(share) < 2 or np.ptp(share) == 0 or np.ptp(prediction) == 0:
        return float("nan")
    return float(stats.spearmanr(share, prediction).statistic)


def ccc(share: np.ndarray, prediction: np.ndarray) -> float:
    """Lin's concordance correlation coefficient; NaN where both are the same constant.

    Unlike rho it falls when predictions are too low, too high or too close together.
    """
    offset = share.mean() - prediction.mean()
    spread = share.var() + prediction.var() + offset**2
    covariance = ((share - share.mean()) * (prediction - prediction.mean())).mean()
    return float(2 * covariance / spread) if spread else float("nan")


def rho_per_clip(shares: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Spearman's rho across the emotions of each clip, (n, E) and (n, E) -> (n,).

    Another quantity than rho per emotion across clips: it asks which emotions a clip has most of,
    and does well by knowing which are common everywhere. NaN where either side is constant.
    """
    x, y = (stats.rankdata(values, axis=1) for values in (shares, predictions))
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (x, y))
    spread = (x**2).sum(axis=1) * (y**2).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(spread > 0, (x * y).sum(axis=1) / np.sqrt(spread), np.nan)
