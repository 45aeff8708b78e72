"""Which systems are compared: contrasts for `comparisons.compare`, from the table of systems.

A contrast is the weight of each (encoder, architecture) in a difference of mean rho: a minus b is
{a: 1, b: -1}. The SVR, Architecture 0, takes no part.
"""

from itertools import combinations

import pandas as pd

from emoshare_utils.names import ARCHITECTURES, label, ordered, system

Contrasts = dict[str, dict[tuple[str, int], float]]


def architecture_gains(summary: pd.DataFrame) -> Contrasts:
    """Every architecture less the first one (Architecture 2 less 1), for each feature set."""
    trained = _networks(summary).groupby("encoder")["architecture"].agg(lambda x: sorted(set(x)))
    return {
        f"{label(name)}: {ARCHITECTURES[later].short} − {ARCHITECTURES[first].short}": {
            (name, later): 1,
            (name, first): -1,
        }
        for name in ordered(trained.index)
        for first, *others in [trained[name]]
        for later in others
    }


def better_architectures(summary: pd.DataFrame) -> list[tuple[str, int]]:
    """Each feature set with its better architecture (mean rho over seeds), the best set first."""
    means = _networks(summary).groupby(["encoder", "architecture"])["mean_rho"].mean().dropna()
    chosen = means.sort_values(ascending=False).reset_index().drop_duplicates("encoder")
    return list(chosen[["encoder", "architecture"]].itertuples(index=False, name=None))


def feature_pairs(summary: pd.DataFrame) -> Contrasts:
    """Every two feature sets, each with its better architecture, the better set first."""
    pairs = combinations(better_architectures(summary), 2)
    return {f"{system(*a)} − {system(*b)}": {a: 1, b: -1} for a, b in pairs}


def _networks(summary: pd.DataFrame) -> pd.DataFrame:
    return summary[summary["architecture"] > 0]
