"""Which of Table 2's changes against a baseline are resolved: the paired interval leaves out 0."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from emoshare_utils.results.enough import too_few
from emoshare_utils.results.metrics import mean_over_emotions
from emoshare_utils.results.shared_clips import SharedClips, group_by_clips

SVR_PREFIX = "svr:"  # before the feature set, where a system is an SVR
# The two readings of an encoder's average rho, and the column of each one's change.
READINGS = {"mean_rho": "change_percent", "max_rho": "max_change_percent"}
HOLDS_ZERO = "not resolved: the 95 % interval of the difference holds 0"
BASELINE_HOLDS_ZERO = "no percentage of a baseline whose 95 % interval holds 0"
OTHER_CLIPS = "no percentage between systems of different clips"
# (name, reading) -> the clips, and its resamples over clips and speakers, (resamples,) each
Sampled = dict[tuple[str, str], tuple[SharedClips, list[np.ndarray]]]


def unresolved(
    table: pd.DataFrame,
    baseline: str,
    predictions: pd.DataFrame,
    emotions: Sequence[str],
    kept: Sequence[str],
    resamples: int = 1000,
    speakers: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """Say why each row of Table 2 has no percentage.

    The paper's numbers have no predictions, so they count as they are printed: a change against
    them is resolved where our own interval leaves them out, and one between them always.

    Args:
        table: name, source, architecture (the best one), and both readings.
        baseline: a name, or "paper".
        predictions: of the split that is shown.
        emotions: the corpus's emotions.
        kept: those that averages are over.
        resamples, speakers: as in `scores.score`.

    Returns:
        For each reading a reason per row, "" where the change is resolved or there is none to
        resolve (the baseline itself, a row without an average).
    """
    ours = table[table["source"] == "ours"].set_index("name")
    groups = group_by_clips(predictions, emotions, speakers)
    sampled: Sampled = {}
    for group in groups:
        sampled |= _sampled(group, ours["architecture"].dropna(), kept, resamples)
    return {
        reading: [_why(row, reading, baseline, table, sampled) for _, row in table.iterrows()]
        for reading in READINGS
    }


def _sampled(group: SharedClips, best: pd.Series, kept: Sequence[str], resamples: int) -> Sampled:
    """Both readings, in resamples, of the systems on these clips; `best`: name -> architecture."""
    places: dict[str, dict[int, list[int]]] = {}
    for place, (encoder, architecture, *_) in enumerate(group.systems):
        name = encoder if architecture else SVR_PREFIX + encoder
        places.setdefault(name, {}).setdefault(architecture, []).append(place)
    samples, left_out = group.resampled(resamples), ~np.isin(group.emotions, kept)
    found: Sampled = {}
    for name, of in places.items():
        if best.get(name) not in of:
            continue
        seeds = [{a: one[:, at].mean(axis=1) for a, at in of.items()} for one in samples]
        chosen = [one[best[name]] for one in seeds]
        highest = [np.max(list(one.values()), axis=0) for one in seeds]
        for reading, values in zip(READINGS, (chosen, highest)):
            found[name, reading] = group, [mean_over_emotions(one, left_out) for one in values]
    return found


def _why(row: pd.Series, reading: str, baseline: str, table: pd.DataFrame, sampled: Sampled) -> str:
    """Why a row has no change in a reading, "" if it has."""
    is_ours = row["source"] == "ours"
    if np.isnan(row[reading]) or (is_ours and row["name"] == baseline):
        return ""
    a = sampled.get((row["name"], reading)) if is_ours else None
    b = sampled.get((baseline, reading))
    if not is_ours and baseline == "paper":
        return ""
    if (is_ours and a is None) or (baseline != "paper" and b is None):
        return OTHER_CLIPS
    if a and b and a[0] is not b[0]:
        return OTHER_CLIPS
    group = (a or b)[0]
    if few := too_few(len(group.shares), group.n_speakers):
        return few
    if b and not _leaves_out_zero(group, b[1]):
        return BASELINE_HOLDS_ZERO
    against = table[f"baseline_{reading}"].iloc[0]
    ours, theirs = (one[1] if one else None for one in (a, b))
    pairs = zip(ours or [row[reading]] * len(theirs), theirs or [against] * len(ours))
    differences = [one - other for one, other in pairs]
    return "" if _leaves_out_zero(group, differences) else HOLDS_ZERO


def _leaves_out_zero(group: SharedClips, samples: Sequence[np.ndarray]) -> bool:
    """Whether the intervals, over clips and (with enough) over speakers, lie on one side of 0."""
    bounds = group.intervals(samples)
    low = np.fmin(bounds["ci_low"], bounds["ci_speakers_low"])
    high = np.fmax(bounds["ci_high"], bounds["ci_speakers_high"])
    return bool(low > 0 or high < 0)
