"""Paired differences between systems: which is better on the same clips."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from emoshare_utils.names import ARCHITECTURES, label, ordered, system
from emoshare_utils.results.bootstrap import CONFIDENCE, seeds_drawn
from emoshare_utils.results.enough import FLAT, UNRANKED, are_unranked, flat, too_few, unranked
from emoshare_utils.results.metrics import (
    CONSTANT_SHARE,
    constant_shares,
    mean_note,
    mean_over_emotions,
    rhos,
)
from emoshare_utils.results.scores import why_undefined
from emoshare_utils.results.shared_clips import BOUNDS, SharedClips, group_by_clips

_COLUMNS = ["contrast", "split", "n", "n_speakers", "seeds", "difference", *BOUNDS, "sign", "note"]
# A name -> the weight of each (encoder, architecture): a minus b is {a: 1, b: -1}.
Contrasts = Mapping[str, Mapping[tuple[str, int], float]]


def compare(
    predictions: pd.DataFrame,
    emotions: Sequence[str],
    contrasts: Contrasts,
    split: str = "devel",
    resamples: int = 1000,
    speakers: Mapping[str, str] | None = None,
    over_seeds: bool = False,
) -> pd.DataFrame:
    """Compute differences of systems in mean rho, averaged over seeds, with 95 % intervals.

    All systems get the same resamples, so what makes some clips hard for every system cancels:
    the interval of a difference may exclude 0 where those of the two systems overlap. It holds for
    other clips or speakers; for networks trained again with another seed only if `over_seeds`.

    Means over emotions follow the rule of `metrics.mean_over_emotions`.

    Args:
        predictions, emotions, resamples, speakers: as in `score`.
        contrasts: name -> the weight of each (encoder, architecture): {a: 1, b: -1} is a minus b,
            and a difference between two differences has four weights.
        split: the split to compare on.
        over_seeds: resample the seeds too, together with the clips or speakers: of n seeds, n - 1
            are drawn with replacement, which gives a mean of n its variance without bias. Seeds are
            paired: systems of one seed are drawn together. Nothing changes with one seed.

    Returns:
        One row per contrast: contrast, split, n, n_speakers, seeds (the fewest of its systems),
        difference, ci_low, ci_high, ci_speakers_low, ci_speakers_high, sign: 1 where the
        intervals lie above 0, -1 where they lie below, 0 where one of them includes 0 or there is
        none, where there are too few clips or speakers (`enough`), or where a system is not
        ranked; and note: which emotions the means leave out, or why the difference, its
        interval or its sign is undefined.

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
        return pd.DataFrame(columns=_COLUMNS).astype(dict.fromkeys(_COLUMNS[4:-1], float))
    used = [system in needed for system in zip(rows["encoder"], rows["architecture"])]
    groups = list(group_by_clips(rows[used], emotions, speakers))
    if len(groups) != 1:
        raise ValueError(
            f"{split}: {len(groups)} sets of clips with a share: expected one that all systems "
            "predict; run notebooks/03_training.ipynb again for the systems that differ"
        )
    (group,) = groups
    scored = np.array([rhos(group.shares, one) for one in group.predictions])
    left_out = constant_shares(group.shares)
    means = mean_over_emotions(scored, left_out)
    samples = [mean_over_emotions(one, left_out) for one in group.resampled(resamples)]
    if over_seeds:
        samples = [one * _times_drawn(group, resamples) for one in samples]
    about = {"split": split, "n": len(group.shares), "n_speakers": group.n_speakers}
    table = []
    for name, weights in contrasts.items():
        row = {"contrast": name} | about | _difference(group, weights, means, samples)
        row["note"] = _note(group, weights, scored, emotions, row)
        unsure = too_few(row["n"], row["n_speakers"]) or UNRANKED in row["note"]
        table.append(row | {"sign": 0 if unsure else row["sign"]})
    return pd.DataFrame(table, columns=_COLUMNS)


def together(differences: pd.DataFrame) -> pd.DataFrame:
    """The differences with intervals that hold for all of them together (Bonferroni).

    Each bound moves away from its difference by the ratio of Student's t for a confidence of
    1 - .05 / k, of k differences, to that for .95, with as many degrees of freedom as clips or
    speakers less one: seeds, where they were resampled too, do not count.

    Args:
        differences: what `compare` returned.

    Returns:
        The same columns; `sign` is 0 where a wider interval holds 0, and `note` says how many
        differences there are, if several.
    """
    k, tail, wider = len(differences), (1 - CONFIDENCE) / 2, differences.copy()
    for units, bounds in {"n": BOUNDS[:2], "n_speakers": BOUNDS[2:]}.items():
        freedom = (differences[units] - 1).where(differences[units] > 1)
        ratio = stats.t.isf(tail / k, freedom) / stats.t.isf(tail, freedom)
        for bound in bounds:
            away = differences[bound] - differences["difference"]
            wider[bound] = differences["difference"] + ratio * away
    low = wider[["ci_low", "ci_speakers_low"]].min(axis=1)
    high = wider[["ci_high", "ci_speakers_high"]].max(axis=1)
    wider["sign"] = differences["sign"].where((low > 0) | (high < 0), 0)
    said = f"intervals of all {k} together (Bonferroni)"
    if k > 1:
        wider["note"] = [f"{note}; {said}" if note else said for note in differences["note"]]
    return wider


def _times_drawn(group: SharedClips, resamples: int) -> np.ndarray:
    """Draw n - 1 of the n seeds in each resample: how often each system's is, mean 1, (B, S)."""
    seeds = sorted({one[2] for one in group.systems})
    if len(seeds) * len({one[:2] for one in group.systems}) != len(group.systems):
        raise ValueError(
            f"{group.split}: systems of different seeds cannot be resampled over seeds: train each "
            f"with seeds {seeds}, or compare with over_seeds=False"
        )
    times = seeds_drawn(len(seeds), resamples) * len(seeds)
    return times[:, [seeds.index(one[2]) for one in group.systems]]


def _difference(
    group: SharedClips,
    weights: Mapping[tuple[str, int], float],
    means: np.ndarray,
    samples: Sequence[np.ndarray],
) -> dict[str, float]:
    """Weigh the mean rhos, (S,), and their resamples, (resamples, S); a system's seeds share."""
    names = [system[:2] for system in group.systems]
    weight = np.array([weights.get(name, 0) / names.count(name) for name in names])
    used = weight != 0  # a system without rho does not undo the other contrasts
    row = {"seeds": min(map(names.count, weights)), "difference": means[used] @ weight[used]}
    row |= group.intervals([sample[:, used] @ weight[used] for sample in samples])
    low = np.fmin(row["ci_low"], row["ci_speakers_low"])  # the wider of the known intervals
    high = np.fmax(row["ci_high"], row["ci_speakers_high"])
    return row | {"sign": int(low > 0) - int(high < 0)}


def _note(
    group: SharedClips,
    weights: Mapping[tuple[str, int], float],
    scored: np.ndarray,
    emotions: Sequence[str],
    row: Mapping[str, float],
) -> str:
    """Say which emotions a contrast leaves out, or why it, its interval or sign is undefined."""
    constant = constant_shares(group.shares)
    left_out = [name for name, one in zip(group.emotions, constant) if one]
    absent = [name for name in emotions if name not in group.emotions]
    why = {"no result": absent, CONSTANT_SHARE: left_out}
    for number, (encoder, architecture, *_) in enumerate(group.systems):
        if (encoder, architecture) in weights:
            name, hardly = system(encoder, architecture), []
            for column in np.flatnonzero(~constant):
                pair = group.shares[:, column], group.predictions[number][:, column]
                of = f"{group.emotions[column]} ({name})"
                if np.isnan(scored[number, column]):
                    why.setdefault(why_undefined(*pair), []).append(of)
                elif flat(*pair):
                    hardly.append(of)
            if unranked(len(hardly), np.sum(~constant)):
                why.setdefault(f"{FLAT}, {UNRANKED}", []).append(name)
            else:
                why.setdefault(FLAT, []).extend(hardly)
    why = {reason: [*dict.fromkeys(names)] for reason, names in why.items()}  # once for all seeds
    why = {reason: names for reason, names in why.items() if names}
    defined = bool(np.isfinite(row["difference"]))
    note = mean_note(why, len(absent) + len(left_out), len(emotions), defined)
    few = defined and too_few(row["n"], row["n_speakers"])
    if defined and not few and np.isnan(row["ci_low"]):
        few = "undefined in most resamples: no interval"
    return "; ".join(filter(None, [note, few]))


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
    """Each feature set with its better architecture (mean rho over seeds), the best set first.

    A system without a mean rho (`metrics.mean_over_emotions`), or that is not ranked
    (`enough.unranked`), is not the better one.
    """
    networks = _networks(summary)
    networks = networks.assign(mean_rho=networks["mean_rho"].mask(are_unranked(networks["note"])))
    systems = networks.groupby(["encoder", "architecture"])["mean_rho"]
    means = systems.mean(skipna=False).dropna()
    chosen = means.sort_values(ascending=False).reset_index().drop_duplicates("encoder")
    return list(chosen[["encoder", "architecture"]].itertuples(index=False, name=None))


def feature_pairs(summary: pd.DataFrame) -> Contrasts:
    """Every two feature sets, each with its better architecture, the better set first."""
    pairs = combinations(better_architectures(summary), 2)
    return {f"{system(*a)} − {system(*b)}": {a: 1, b: -1} for a, b in pairs}


def _networks(summary: pd.DataFrame) -> pd.DataFrame:
    return summary[summary["architecture"] > 0]
