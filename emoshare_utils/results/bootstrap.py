"""How certain a metric is: bootstrap resamples and their intervals."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats

from emoshare_utils.results.metrics import MetricFunction, spearman

CONFIDENCE = 0.95
_VALUES_PER_CHUNK = 80_000  # resampled at once: more would not fit a processor's cache


def bootstrap(
    shares: np.ndarray,
    predictions: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
    speakers: Sequence[str] | None = None,
    function: MetricFunction = spearman,
) -> np.ndarray:
    """Compute a metric in bootstrap resamples of the clips, or of speakers with all their clips.

    All systems and emotions get the same resamples, so that their differences are paired. A
    resample is a count c_i for each clip. For rho nothing is sorted again: with C_i the clips up to
    and including clip i in the order of the values, the rank of clip i is C_i - (c_i - 1) / 2;
    with r_i its rank by share, m the mean rank, and c_g the counts summed over clips with equal
    values,

        rho = sum_i c_i (r_i - m) (C_i - c_i / 2) / sqrt(V_share V_prediction),
        V = (n^3 - sum_g c_g^3) / 12.

    Args:
        shares: (n, E), of E emotions.
        predictions: (S, n, E), of S systems.
        resamples: how many.
        seed: resample i is drawn from `default_rng([seed, i])`, independent of the others.
        speakers: (n,); None: the clips are resampled.
        function: the metric, shares (n,) and predictions (n,) -> number.

    Returns:
        (resamples, S, E); NaN where a prediction is not finite, or the metric is undefined.
    """
    units = np.arange(len(shares))
    if speakers is not None:
        units = np.unique(speakers, return_inverse=True)[1]
    if function is spearman:
        emotions = zip(shares.T, predictions.transpose(2, 0, 1))
        ranked = [(_ordered(share), list(map(_ordered, systems))) for share, systems in emotions]
        compute = partial(_rho_of_all, ranked)
    else:
        compute = partial(_repeated, function, shares, predictions)

    def values(chunk: range) -> np.ndarray:
        return compute(times_drawn(units.max() + 1, chunk, seed)[:, units])

    step = max(1, _VALUES_PER_CHUNK // len(units))
    chunks = [range(i, min(i + step, resamples)) for i in range(0, resamples, step)]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        found = np.concatenate(list(pool.map(values, chunks)))
    found[:, ~np.isfinite(predictions).all(axis=1)] = np.nan
    return found


def times_drawn(units: int, numbers: Sequence[int], seed: int = 0) -> np.ndarray:
    """How often each unit (clip or speaker) is in these resamples, (resamples, units).

    Args:
        units: how many.
        numbers: of the resamples; each is the same whichever are asked for.
        seed: of all resamples.
    """
    drawn = (np.random.default_rng([seed, i]).integers(0, units, units) for i in numbers)
    return np.stack([np.bincount(each, minlength=units) for each in drawn]).astype(float)


def seeds_drawn(seeds: int, resamples: int) -> np.ndarray:
    """The weight of each seed in each resample, (resamples, seeds), of sum 1.

    Of n seeds n - 1 are drawn with replacement, which gives a mean of n its variance without bias.
    """
    if seeds == 1:
        return np.ones((resamples, 1))
    drawn = np.random.default_rng(0).integers(0, seeds, (resamples, seeds - 1))
    return (drawn[..., None] == np.arange(seeds)).mean(axis=1)


def interval(
    values: np.ndarray, units: int | None = None, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the central interval that holds `confidence` of the resampled `values`.

    With few units (clips, speakers) resamples vary too little. Given their number, the interval is
    widened as Student's t is against the normal distribution (the expanded percentile interval of
    Hesterberg 2015, doi:10.1080/00031305.2015.1089789): by 29 % with 8 units, 2 % with 100.

    A resample without a value does not count: the few clips (or the one speaker) in which a rare
    emotion was heard may be missing from it. So a mean is over the same emotions in all that count.
    Where fewer than half have a value there is no interval (NaN).
    """
    resamples, values = len(values), values[np.isfinite(values)]
    if not len(values) or 2 * len(values) < resamples:
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    if units is not None and units > 1:
        tail = stats.norm.cdf(np.sqrt(units / (units - 1)) * stats.t.ppf(tail, units - 1))
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def joint_interval(
    value: float, values: np.ndarray, units: int, comparisons: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """An interval around `value` that holds together with those of other `comparisons`.

    Bonferroni's, by Student's t with units - 1 degrees of freedom: so far out there are too few
    resamples for their quantiles. Their variance is taken times units / (units - 1).

    Args:
        value: the estimate.
        values: its resamples; those without a value do not count, as for `interval`.
        units: of what was resampled.
        comparisons: how many intervals there are, this one among them.
    """
    known = values[np.isfinite(values)]
    if units < 2 or not len(known) or 2 * len(known) < len(values):
        return float("nan"), float("nan")
    t = stats.t.isf((1 - confidence) / 2 / comparisons, units - 1)
    half = t * known.std(ddof=1) * np.sqrt(units / (units - 1))
    return float(value - half), float(value + half)


def _repeated(
    function: MetricFunction, shares: np.ndarray, predictions: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Compute any metric of each resample, every clip repeated: counts (B, n) -> (B, S, E)."""
    values = np.empty((len(counts), len(predictions), shares.shape[1]))
    for row, count in zip(values, counts):
        clips = np.repeat(np.arange(len(count)), count.astype(int))
        for place in np.ndindex(row.shape):
            system, emotion = place
            row[place] = function(shares[clips, emotion], predictions[system, clips, emotion])
    return values


class _Ordered(NamedTuple):
    order: np.ndarray  # (n,), the clips by ascending value
    tied: np.ndarray  # (T,), the positions in `order` whose value occurs more than once
    starts: np.ndarray  # (G,), where each such value begins in `tied`


def _ordered(values: np.ndarray) -> _Ordered:
    order = np.argsort(values, kind="stable")
    as_before = np.diff(values[order], prepend=np.nan) == 0
    tied = np.flatnonzero(as_before | np.append(as_before[1:], False))
    return _Ordered(order, tied, np.flatnonzero(~as_before[tied]))


def _rho_of_all(
    ranked: Sequence[tuple[_Ordered, Sequence[_Ordered]]], counts: np.ndarray
) -> np.ndarray:
    """Compute rho of each resample, system and emotion: counts (B, n) -> (B, S, E)."""
    return np.stack([_rhos(counts, *emotion) for emotion in ranked], axis=2)


def _rhos(counts: np.ndarray, share: _Ordered, predictions: Sequence[_Ordered]) -> np.ndarray:
    """Compute rho of each resample and system for one emotion: counts (B, n) -> (B, S)."""
    size = counts.sum(axis=1, keepdims=True)
    untied = size[:, 0] ** 3 - _cubes(counts)
    ranks, spread_share = _ranks(counts, share, untied)
    weights = np.empty_like(counts)
    weights[:, share.order] = ranks - size / 2
    weights *= counts
    rhos = np.empty((len(counts), len(predictions)))
    for column, prediction in enumerate(predictions):
        ranks, spread = _ranks(counts, prediction, untied)
        covariance = np.vecdot(np.take(weights, prediction.order, axis=1), ranks)
        with np.errstate(invalid="ignore"):
            rhos[:, column] = 12 * covariance / np.sqrt(spread_share * spread)  # 0 / 0 is NaN
    return rhos


def _ranks(counts: np.ndarray, by: _Ordered, untied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each clip's rank minus one half, (B, n) by ascending value, and 12 V, (B,).

    `untied` is 12 V where all values differ.
    """
    counts = np.take(counts, by.order, axis=1)
    # NumPy's cumulative sum takes about five times as long.
    ranks = torch.from_numpy(counts).cumsum(1).numpy()
    before = ranks[:, by.tied[by.starts]] - counts[:, by.tied[by.starts]]
    ranks -= 0.5 * counts
    if not len(by.tied):
        return ranks, untied
    alone = counts[:, by.tied]
    together = np.add.reduceat(alone, by.starts, axis=1)
    members = np.diff(by.starts, append=len(by.tied))
    ranks[:, by.tied] = np.repeat(before + together / 2, members, axis=1)
    return ranks, untied + _cubes(alone) - _cubes(together)


def _cubes(counts: np.ndarray) -> np.ndarray:
    return np.vecdot(counts * counts, counts)
