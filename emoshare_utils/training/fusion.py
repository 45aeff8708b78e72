"""Late fusion: several feature sets, each with networks of its own, whose shares are averaged."""

from collections.abc import Mapping, Sequence

import pandas as pd

from emoshare_utils.names import BESIDE, members
from emoshare_utils.results.comparisons import compare
from emoshare_utils.results.scores import score
from emoshare_utils.training.predictions import PREDICTION_COLUMNS


def with_fusions(predictions: pd.DataFrame, encoders: Sequence[str]) -> pd.DataFrame:
    """Add the systems of those of `encoders` that name several feature sets, "fbank + mfcc".

    Each averages the shares that its members' networks predict, of one architecture and seed: where
    one of them has no such networks, there is no such system.

    Args:
        predictions: of all systems, with PREDICTION_COLUMNS.
    """
    tables = [predictions]
    for name in encoders:
        if len(parts := members(name)) < 2:
            continue
        is_member = predictions["encoder"].isin(parts) & (predictions["architecture"] > 0)
        key = [column for column in PREDICTION_COLUMNS if column not in ("encoder", "prediction")]
        rows = predictions[is_member].groupby(key, sort=False, dropna=False)["prediction"]
        fused = rows.agg(["mean", "size"]).reset_index()
        fused = fused[fused["size"] == len(set(parts))].rename(columns={"mean": "prediction"})
        tables.append(fused.assign(encoder=name)[PREDICTION_COLUMNS])
    return pd.concat(tables, ignore_index=True)


def select_members(
    predictions: pd.DataFrame,
    emotions: Sequence[str],
    speakers: Mapping[str, str],
    split: str = "devel",
    resamples: int = 1000,
) -> tuple[str, pd.DataFrame]:
    """Choose what to fuse, forwards: the best feature set, then whatever raises rho most.

    A further one is kept while the interval of its gain over speakers lies above 0. Choose on
    speakers that nothing is reported on afterwards.

    Args:
        predictions: of one architecture and seed on several single feature sets.
        emotions, speakers, resamples: as `score` takes them.

    Returns:
        The name of the fusion, or of a single feature set; and every step that was tried:
        candidate, and difference, ci_speakers_low and ci_speakers_high to the one before.
    """
    (architecture,) = predictions["architecture"].unique()
    predictions = predictions[predictions["split"] == split]
    summary = score(predictions, emotions, resamples=1)[1]  # for its rho alone
    singles = list(summary.sort_values("mean_rho", ascending=False)["encoder"])
    chosen, tried = singles.pop(0), []
    while singles:
        candidates = [BESIDE.join([chosen, other]) for other in singles]
        contrasts = {
            name: {(name, architecture): 1, (chosen, architecture): -1} for name in candidates
        }
        fused = with_fusions(predictions, [chosen, *candidates])
        step = compare(fused, emotions, contrasts, split, resamples, speakers)
        step = step.sort_values("difference", ascending=False)
        tried.append(step.rename(columns={"contrast": "candidate"}).assign(before=chosen))
        best = step.iloc[0]
        if not best["ci_speakers_low"] > 0:
            break
        singles.remove(members(best["contrast"])[-1])
        chosen = best["contrast"]
    columns = ["before", "candidate", "n", "n_speakers", "difference"]
    columns += ["ci_speakers_low", "ci_speakers_high"]
    return chosen, pd.concat(tried, ignore_index=True)[columns] if tried else pd.DataFrame()
