"""Paired differences between systems."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from emoshare_utils.results.metrics import spearman
from emoshare_utils.results.scores import BOUNDS, _alike

COMPARED = ["contrast", "split", "n", "n_speakers", "seeds", "difference", *BOUNDS, "sign"]


def compare(
    predictions: pd.DataFrame,
    emotions: Sequence[str],
    contrasts: Mapping[str, Mapping[tuple[str, int], float]],
    split: str = "devel",
    resamples: int = 1000,
    speakers: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Paired differences of systems in mean rho, the mean over seeds.

    All systems meet the same resamples, so that what makes some clips hard for every system does
    not count: intervals of two systems may overlap where that of their difference leaves out 0.
    The intervals hold for other clips or speakers, not for networks trained anew.

    Args:
        predictions, emotions, resamples, speakers: as in `results`.
        contrasts: a name -> the weight of each (encoder, architecture) in it: a minus b is
            {a: 1, b: -1}, and a difference between two differences has four weights.
        split: the split to compare on.

    Returns:
        One row a contrast: contrast, split, n, n_speakers, seeds (the fewest of its systems),
        difference, ci_low, ci_high, ci_speakers_low, ci_speakers_high, and sign: 1 where
        the intervals lie above 0, -1 where they lie below, 0 where the data leave it open.

    Raises:
        ValueError: a contrast names a system without predictions, or systems do not predict the
            same clips.
    """
    rows = predictions[predictions["split"] == split]
    found = set(zip(rows["encoder"], rows["architecture"]))
    needed = {system: contrast for contrast, weights in contrasts.items() for system in weights}
    if missing := sorted(needed.keys() - found):
        raise ValueError(
            f"contrast {needed[missing[0]]!r}: no {split} predictions of {missing[0]}: expected "
            f"some of {', '.join(map(str, sorted(found)))}"
        )
    if not contrasts:
        return pd.DataFrame(columns=COMPARED).astype(dict.fromkeys(COMPARED[4:], float))
    used = [system in needed for system in zip(rows["encoder"], rows["architecture"])]
    alike = list(_alike(rows[used], emotions, speakers))
    if len(alike) != 1:
        raise ValueError(
            f"{split}: {len(alike)} sets of clips with a share: expected one that all systems "
            "predict; run notebooks/03_training.ipynb anew for the systems that differ"
        )
    return _compare(alike[0], contrasts, split, resamples)


def _compare(
    alike: "_Alike",
    contrasts: Mapping[str, Mapping[tuple[str, int], float]],
    split: str,
    resamples: int,
) -> pd.DataFrame:
    mean_rho = np.array(
        [np.mean(list(map(spearman, alike.shares.T, one.T))) for one in alike.predictions]
    )
    samples = [sample.mean(axis=2) for sample in alike.resampled(resamples)]
    names = [system[:2] for system in alike.systems]
    table = []
    for contrast, weights in contrasts.items():
        weight = np.array([weights.get(name, 0) / names.count(name) for name in names])
        used = weight != 0  # a system without rho leaves the others theirs
        row = {"contrast": contrast, "split": split, "n": len(alike.shares)}
        row |= {"n_speakers": alike.n_speakers, "seeds": min(map(names.count, weights))}
        row |= {"difference": mean_rho[used] @ weight[used]}
        row |= alike.intervals([sample[:, used] @ weight[used] for sample in samples])
        low = np.fmin(row["ci_low"], row["ci_speakers_low"])  # the wider end of those known
        high = np.fmax(row["ci_high"], row["ci_speakers_high"])
        table.append(row | {"sign": int(low > 0) - int(high < 0)})
    return pd.DataFrame(table, columns=COMPARED)
