"""Systems that predict the same clips, and so can be resampled together."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from emoshare_utils.results.bootstrap import bootstrap, interval
from emoshare_utils.results.enough import FEWEST_CLIPS, FEWEST_SPEAKERS
from emoshare_utils.results.metrics import MetricFunction, spearman

SYSTEM = ["encoder", "architecture", "seed", "split"]  # the columns that name a system
# The columns of the intervals over clips and over speakers.
BOUNDS = ("ci_low", "ci_high", "ci_speakers_low", "ci_speakers_high")


def bound_columns(metric: str) -> list[str]:
    """Name the columns of a metric's intervals, as BOUNDS; those of rho carry no prefix."""
    return [bound if metric == "rho" else f"{metric}_{bound}" for bound in BOUNDS]


class SharedClips(NamedTuple):
    """Clips with a share for every emotion, and all the systems that predict exactly these."""

    systems: list[tuple]  # (encoder, architecture, seed, split) of each
    emotions: tuple[str, ...]
    shares: np.ndarray  # (n, E)
    predictions: np.ndarray  # (S, n, E)
    speakers: np.ndarray | None  # (n,)

    @property
    def split(self) -> str:
        """The split that the clips are of."""
        return self.systems[0][-1]

    @property
    def n_speakers(self) -> int:
        """How many speakers there are; 0 where they are not known."""
        return 0 if self.speakers is None else len(set(self.speakers))

    def resampled(self, resamples: int, function: MetricFunction = spearman) -> list[np.ndarray]:
        """Compute a metric in resamples of clips, then of speakers, (resamples, S, E) each.

        Only of what there are enough of (`enough`): the list has two, one or none.
        """
        if len(self.shares) < FEWEST_CLIPS:
            return []
        over = [None, self.speakers] if self.n_speakers >= FEWEST_SPEAKERS else [None]
        pair = self.shares, self.predictions
        return [bootstrap(*pair, resamples, speakers=one, function=function) for one in over]

    def intervals(self, samples: Sequence[np.ndarray]) -> dict[str, float]:
        """Return BOUNDS and their values: over clips, then over speakers, NaN if not resampled."""
        units = (len(self.shares), self.n_speakers)
        bounds = [bound for pair in zip(samples, units) for bound in interval(*pair)]
        return dict(zip(BOUNDS, [*bounds, *[float("nan")] * len(BOUNDS)]))


def group_by_clips(
    predictions: pd.DataFrame, emotions: Sequence[str], speakers: Mapping[str, str] | None = None
) -> Iterator[SharedClips]:
    """Group the systems of a predictions table by the clips, emotions and shares they have."""
    groups: dict[tuple, list] = {}
    known = predictions[predictions["share"].notna()]
    for system, rows in known.groupby(SYSTEM, sort=False):
        wide = rows.pivot(index="clip_id", columns="emotion", values=["share", "prediction"])
        wide = wide[wide["share"].notna().all(axis=1)]
        if wide.empty:  # no clip has them all
            continue
        present = [emotion for emotion in emotions if emotion in wide["share"].columns]
        shares = wide["share"][present].to_numpy(float)
        key = (system[-1], tuple(present), tuple(wide.index), shares.tobytes())
        groups.setdefault(key, []).append((system, wide["prediction"][present].to_numpy(float)))
    for (_, present, clips, shares), members in groups.items():
        systems, predicted = zip(*members)
        spoken = pd.Series(clips).map(dict(speakers)) if speakers is not None else None
        spoken = None if spoken is None or spoken.isna().any() else spoken.to_numpy()
        shares = np.frombuffer(shares).reshape(len(clips), len(present))
        yield SharedClips(list(systems), present, shares, np.stack(predicted), spoken)
