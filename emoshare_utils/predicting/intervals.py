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

LEVEL = 0.9
FLOOR = 0.01
LEAST_SPEAKERS = 5  # fewer calibrate nothing: there is no interval
LEAST_CLIPS = 50
HALVES = 200  # random halves of the speakers, to measure coverage


@dataclass(frozen=True)
class Intervals:
    """How far a new panel's share may be from the predicted one.

    Attributes:
        quantiles: emotion -> q; empty where too few speakers or clips were there to calibrate.
        coverage: emotion -> `mean`, the fraction of shares inside, on speakers who did not
            calibrate; `lowest` and `highest` over single speakers.
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
    if people < LEAST_SPEAKERS or clips < LEAST_CLIPS:
        return Intervals({}, {}, people, clips)
    quantiles, coverage = {}, {}
    for emotion, rows in known.groupby("emotion", sort=False):
        misses = (rows["share"] - rows["prediction"]).abs() / spread(rows["prediction"])
        quantiles[emotion] = quantile(misses.to_numpy())
        coverage[emotion] = _coverage(misses.to_numpy(), rows["speaker"].to_numpy())
    return Intervals(quantiles, coverage, people, clips)


def quantile(misses: np.ndarray, level: float = LEVEL) -> float:
    """The ceil((n + 1) level)-th smallest of n misses: a further one is below it that often."""
    place = min(int(np.ceil((len(misses) + 1) * level)), len(misses))
    return float(np.partition(misses, place - 1)[place - 1])


def _coverage(misses: np.ndarray, speakers: np.ndarray) -> dict[str, float]:
    """Calibrated on one half of the speakers, the fraction inside of the other half's clips."""
    rng, people = np.random.default_rng(0), np.unique(speakers)
    inside: dict[str, list[float]] = {person: [] for person in people}
    for _ in range(HALVES):
        half = rng.permutation(people)[: len(people) // 2]
        q = quantile(misses[np.isin(speakers, half)])
        for person in set(people) - set(half):
            inside[person].append(float((misses[speakers == person] <= q).mean()))
    means = np.array([np.mean(of_one) for of_one in inside.values() if of_one])
    weights = np.array([(speakers == p).sum() for p, of_one in inside.items() if of_one])
    return {
        "mean": float(np.average(means, weights=weights)),
        "lowest": float(means.min()),
        "highest": float(means.max()),
    }
