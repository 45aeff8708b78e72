"""Metrics: how well predicted shares match the listeners' shares.

`METRICS` holds those that results, intervals, tables and early stopping are built from. To add one,
register it: `METRICS.register("rmse", Metric(rmse, "RMSE", higher_is_better=False))`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from emoshare_utils.names import Registry

CONSTANT_SHARE, CONSTANT_PREDICTION = "constant share", "constant prediction"  # have no rho
MetricFunction = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Metric:
    """A metric, and how it is read and shown.

    Attributes:
        function: shares (n,) and predictions (n,) of one emotion -> a number, NaN where undefined.
        label: its name in tables.
        higher_is_better: False for errors.
        interval: whether results have its 95 % bootstrap intervals.
    """

    function: MetricFunction
    label: str
    higher_is_better: bool = True
    interval: bool = True


def spearman(shares: np.ndarray, predictions: np.ndarray) -> float:
    """Compute Spearman's rho, ties by mean rank; NaN where either side is constant or n < 2."""
    if len(shares) < 2 or np.ptp(shares) == 0 or np.ptp(predictions) == 0:
        return float("nan")
    return float(stats.spearmanr(shares, predictions).statistic)


def rhos(shares: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Spearman's rho of each emotion across clips, (n, E) and (n, E) -> (E,)."""
    return np.array([spearman(*pair) for pair in zip(shares.T, predictions.T)])


def constant_shares(shares: np.ndarray) -> np.ndarray:
    """Tell which emotions have one and the same share in all clips, (n, E) -> (E,) bool."""
    return np.ptp(shares, axis=0) == 0


def mean_over_emotions(values: np.ndarray, left_out: np.ndarray | None = None) -> np.ndarray:
    """Average a metric over emotions, (..., E) -> (...): the one rule for tables and comparisons.

    Systems are compared over the same emotions:

    - An emotion whose share is constant on the split (or not given there) has no rho, whoever
      predicts it. It is left out for every system, in every metric, and a note names it.
    - Where one system has no value for any other emotion, as a constant prediction has no rho, that
      system's mean is undefined (NaN). It is not the best, and has nothing to compare: leaving out
      what a system fails at would be a gain.
    - The same holds for a mean over seeds: it is undefined if one seed's is.
    - Predictions that hardly vary (`enough.flat`) have a rho, which a note marks. Where they do for
      half of the emotions or more the system is not the best either, and no difference to it has a
      sign.
    - A bootstrap resample that happens to leave an emotion's shares constant does not count: see
      `bootstrap.interval`.

    Args:
        values: of each emotion; one value per system, per seed or per resample.
        left_out: (E,) bool, the emotions with a constant share; None: there are none.

    Returns:
        NaN where a value is missing, or every emotion is left out.
    """
    values = np.asarray(values, float)
    if left_out is not None and np.any(left_out):
        values = np.compress(~np.asarray(left_out), values, axis=-1)
    if not values.shape[-1]:
        return np.full(values.shape[:-1], np.nan)
    return values.mean(axis=-1)


def mean_note(why: Mapping[str, Sequence[str]], left_out: int, emotions: int, mean: bool) -> str:
    """Say what `mean_over_emotions` made of undefined values; "" where there are none.

    Args:
        why: reason -> the emotions it concerns, as "constant share" -> ["Boredom"].
        left_out: how many emotions no mean is over.
        emotions: how many the corpus has.
        mean: whether there is a mean.
    """
    said = [f"{reason}: {', '.join(names)}" for reason, names in why.items()]
    if said and not mean:
        said.append("no mean over emotions")
    elif left_out:
        said.append(f"means are over {emotions - left_out} of {emotions} emotions")
    return "; ".join(said)


def mae(shares: np.ndarray, predictions: np.ndarray) -> float:
    """Compute the mean absolute error."""
    return float(np.abs(shares - predictions).mean())


def ccc(shares: np.ndarray, predictions: np.ndarray) -> float:
    """Compute Lin's concordance correlation coefficient; NaN where both are the same constant.

    Unlike rho it falls when predictions are too low, too high or too close together.
    """
    offset = shares.mean() - predictions.mean()
    spread = shares.var() + predictions.var() + offset**2
    covariance = ((shares - shares.mean()) * (predictions - predictions.mean())).mean()
    return float(2 * covariance / spread) if spread else float("nan")


METRICS = Registry(
    "metric",
    {
        "rho": Metric(spearman, "ρ"),
        "mae": Metric(mae, "MAE", higher_is_better=False, interval=False),
        "ccc": Metric(ccc, "CCC", interval=False),
    },
)


def rho_per_clip(shares: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Compute Spearman's rho across the emotions of each clip, (n, E) and (n, E) -> (n,).

    This is not rho per emotion across clips: it asks which emotions are strongest in a clip, and
    is high for anyone who knows which emotions are common. NaN where either side is constant.
    """
    x, y = (stats.rankdata(values, axis=1) for values in (shares, predictions))
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (x, y))
    spread = (x**2).sum(axis=1) * (y**2).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(spread > 0, (x * y).sum(axis=1) / np.sqrt(spread), np.nan)
