"""Intervals for the share that a new panel would give: split conformal, by speaker.

The shares that systems are calibrated on are those of panels, so the interval holds what another
panel of the same size would say of a clip of a speaker whom the system has not heard. What the
share would be with very many listeners it holds more often.

A prediction p misses a share y by |y - p| / s(p), where s(p) = sqrt(p (1 - p) + FLOOR) is the
spread of votes up to a factor: shares near 0 and 1 vary less. The interval is p -+ q s(p), cut to
[0, 1], with q the quantile of the misses on speakers whom training did not see.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from emoshare_utils.results.enough import FEWEST_SPEAKERS

LEVEL = 0.9
FLOOR = 0.01
LEAST_CLIPS = 50  # as many are needed for a quantile of .9; with fewer there is no interval
MOST = 0.25  # of the clips, whose coverage is told apart: high shares are missed more often
HALVES = 200  # random halves of the speakers, to measure coverage


@dataclass(frozen=True)
class Intervals:
    """How far a new panel's share may be from the predicted one.

    Attributes:
        quantiles: emotion -> q; empty where too few speakers or clips were there to calibrate.
        coverage: emotion -> `mean`, the fraction of shares inside, on speakers who did not
            calibrate; `lowest` and `highest` over single speakers; `high_shares`, of the quarter
            of the clips with the highest predicted share.
        speakers, clips: that calibrated.
    """

    quantiles: dict[str, float]
    coverage: dict[str, dict[str, float]]
    speakers: int
    clips: int
    level: float = LEVEL

    def bounds(self, shares: np.ndarray, emotions: tuple[str, ...]) -> tuple[np.ndarray, ...]:
        """Low and high, each (N, E), of predicted shares (N, E); NaN without a quantile."""
        q = np.array([self.quantiles.get(emotion, np.nan) for emotion in emotions])
        reach = q * spread(shares)
        return np.clip(shares - reach, 0, 1), np.clip(shares + reach, 0, 1)

    def stored(self) -> dict[str, Any]:
        """The fields, as system.json keeps them."""
        return asdict(self)


def spread(shares: np.ndarray) -> np.ndarray:
    """How much votes vary about a share, up to a factor."""
    return np.sqrt(shares * (1 - shares) + FLOOR)


def calibrate(predictions: pd.DataFrame, speakers: pd.Series) -> Intervals:
    """Find the quantiles on all these clips; measure coverage on random halves of the speakers.

    Args:
        predictions: emotion, clip_id, share and prediction, of speakers whom training did not see.
        speakers: clip_id -> speaker.
    """
    known = predictions.dropna(subset=["share", "prediction"])
    known = known.assign(speaker=known["clip_id"].map(speakers)).dropna(subset="speaker")
    people, clips = known["speaker"].nunique(), known["clip_id"].nunique()
    if people < FEWEST_SPEAKERS or clips < LEAST_CLIPS:
        return Intervals({}, {}, people, clips)
    quantiles, coverage = {}, {}
    for emotion, rows in known.groupby("emotion", sort=False):
        misses = (rows["share"] - rows["prediction"]).abs() / spread(rows["prediction"])
        quantiles[emotion] = quantile(misses.to_numpy())
        coverage[emotion] = _coverage(rows, misses.to_numpy())
    return Intervals(quantiles, coverage, people, clips)


def quantile(misses: np.ndarray, level: float = LEVEL) -> float:
    """The ceil((n + 1) level)-th smallest of n misses: a further one is below it that often."""
    place = min(int(np.ceil((len(misses) + 1) * level)), len(misses))
    return float(np.partition(misses, place - 1)[place - 1])


def _coverage(rows: pd.DataFrame, misses: np.ndarray) -> dict[str, float]:
    """Calibrated on one half of the speakers, how much of the other half's clips is inside."""
    rng, speakers = np.random.default_rng(0), rows["speaker"].to_numpy()
    people = np.unique(speakers)
    inside, judged = np.zeros(len(rows)), np.zeros(len(rows))
    for _ in range(HALVES):
        half = np.isin(speakers, rng.permutation(people)[: len(people) // 2])
        inside += ~half & (misses <= quantile(misses[half]))
        judged += ~half
    rate = inside / judged
    by_speaker = pd.Series(rate).groupby(speakers).mean()
    most = rows["prediction"].to_numpy() >= rows["prediction"].quantile(1 - MOST)
    return {
        "mean": float(rate.mean()),
        "lowest": float(by_speaker.min()),
        "highest": float(by_speaker.max()),
        "high_shares": float(rate[most].mean()),
    }
