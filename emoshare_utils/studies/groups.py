"""Whom a system errs by: its scores by sex, age, language, each against that group's own ceiling.

A group's shares may be noisier than another's (fewer raters, milder voices), which lowers every
system's rho there. So a system's rho is set beside the rho of the expected share *in that group*
(`results.expected_share`), on the same resamples of speakers: what remains is the system's part.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from emoshare_utils.corpora.clip_table import EXPECTED, Corpus
from emoshare_utils.corpora.panels import are_votes
from emoshare_utils.names import UnknownName, nearest
from emoshare_utils.results.bootstrap import bootstrap, interval, joint_interval, times_drawn
from emoshare_utils.results.enough import FEWEST_FOR_EXPECTED, too_few, too_few_expected
from emoshare_utils.results.expected_share import draw_expected
from emoshare_utils.results.metrics import mean_over_emotions, rhos

COLUMNS = ["by", "group", "n", "n_speakers"]


def group_clips(
    clips: pd.DataFrame, by: Sequence[str], bands: Mapping[str, Sequence[float]]
) -> pd.DataFrame:
    """The group of every clip, in columns `by`; NaN where it is not known.

    Args:
        by: columns of the clip table.
        bands: for a column of numbers, where its bands begin: [30, 45] makes "under 30",
            "30 to 44", "45 and over".

    Raises:
        UnknownName: no such column.
        ValueError: numbers without bands.
    """
    groups = {}
    for column in by:
        if column not in clips:
            raise UnknownName(f"the clip table has no column {column!r}: {nearest(column, clips)}")
        values = clips[column]
        if not pd.api.types.is_numeric_dtype(values):
            groups[column] = values.astype("string")
            continue
        if column not in bands:
            raise ValueError(f"{column} is a number: say in bands where its groups begin")
        edges = sorted(bands[column])
        names = [f"under {edges[0]}"]
        names += [f"{low} to {high - 1}" for low, high in zip(edges, edges[1:])]
        names += [f"{edges[-1]} and over"]
        cut = pd.cut(values.astype(float), [-np.inf, *edges, np.inf], right=False, labels=names)
        groups[column] = cut.astype("string")
    return pd.DataFrame(groups).assign(clip_id=clips["clip_id"].to_numpy()).set_index("clip_id")


class Judged(NamedTuple):
    """The clips of one split with a system's predictions and draws of their expected shares."""

    shares: np.ndarray  # (n, E)
    predictions: np.ndarray  # (n, E)
    expected: np.ndarray  # (draws, n, E); no draws where nothing is known
    speakers: np.ndarray  # (n,)
    clip_ids: np.ndarray  # (n,)
    emotions: tuple[str, ...]


def judge(corpus: Corpus, predictions: pd.DataFrame) -> Judged:
    """What `by_group` compares: the clips that one system predicts and that have all shares.

    Expected shares are exact for simulated listeners, drawn from the votes' posterior for others.

    Raises:
        ValueError: a clip's speaker is not known.
    """
    emotions = list(corpus.emotions)
    predicted = predictions.pivot(index="clip_id", columns="emotion", values="prediction")
    clips = corpus.clips.dropna(subset=emotions)
    expected = expected_shares(corpus, clips)
    here = clips["clip_id"].isin(predicted.index).to_numpy()
    clips, expected = clips[here], expected[:, here]
    if clips["speaker"].isna().any():
        raise ValueError("a clip's speaker is not known, and groups are compared over speakers")
    shares, predicted = clips[emotions].to_numpy(float), predicted.loc[clips["clip_id"], emotions]
    ids = clips["speaker"].to_numpy(), clips["clip_id"].to_numpy()
    return Judged(shares, predicted.to_numpy(float), expected, *ids, corpus.emotions)


def expected_shares(corpus: Corpus, clips: pd.DataFrame) -> np.ndarray:
    """Expected shares of these clips, (draws, n, E)."""
    emotions = list(corpus.emotions)
    columns = [f"{EXPECTED}{emotion}" for emotion in emotions]
    if corpus.simulated and set(columns) <= set(clips):
        return clips[columns].to_numpy(float)[None]
    shares, raters = clips[emotions].to_numpy(float), clips["n_raters"]
    if raters.isna().any() or not are_votes(shares, raters.to_numpy(int)[:, None]):
        return np.empty((0, *shares.shape))
    drawn = [draw_expected(column, raters.to_numpy(int)) for column in shares.T]
    return np.stack(drawn, axis=2)


def by_group(
    judged: Judged, groups: pd.DataFrame, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Mean rho in each group, that of the expected shares, and how much of it the system reaches.

    Args:
        groups: as `group_clips` returns it.
        resamples: of each group's speakers.

    Returns:
        by, group, n, n_speakers; rho, ceiling and of_ceiling, their ratio, each with _low and
        _high over speakers; difference: of_ceiling less that of all other speakers, with its
        interval, and that of all differences together (difference_all_low, _high: Bonferroni);
        note: why there is no interval or no ceiling. A row "all" comes first.

    Raises:
        ValueError: clips of one speaker are in several groups.
    """
    columns = groups.reindex(judged.clip_ids)
    parts = {("all", "all"): np.ones(len(judged.shares), bool)}
    for by in columns:
        for group in sorted(columns[by].dropna().unique()):
            parts[by, group] = (columns[by] == group).to_numpy(bool, na_value=False)
    found = {key: _resampled(judged, here, resamples, seed) for key, here in parts.items()}
    rows, drawn = [], {}
    for number, ((by, group), here) in enumerate(parts.items(), seed + 1):
        n_speakers = len(np.unique(judged.speakers[here]))
        row = dict(zip(COLUMNS, (by, group, int(here.sum()), n_speakers)))
        note = too_few(row["n"], n_speakers)
        row |= {"note": note or too_few_expected(row["n"]), "difference": np.nan}
        for name, (value, samples) in found[by, group].items():
            low, high = (np.nan, np.nan) if note else interval(samples, n_speakers)
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        rest = (columns[by].notna().to_numpy() if by != "all" else here) & ~here
        others = len(np.unique(judged.speakers[rest]))
        if np.intersect1d(judged.speakers[here], judged.speakers[rest]).size:
            raise ValueError(
                f"{by} differs between clips of one speaker: only what a speaker has, as sex or "
                "age, can be compared over speakers"
            )
        if rest.any() and not too_few(int(rest.sum()), others):
            value, samples = _resampled(judged, rest, resamples, number)["of_ceiling"]
            row["difference"] = row["of_ceiling"] - value
            if not note and np.isfinite(row["difference"]):
                units = min(n_speakers, others)
                drawn[len(rows)] = found[by, group]["of_ceiling"][1] - samples, units
        rows.append(row)
    table = pd.DataFrame(rows)
    tests = comparisons(table, drawn)
    alone = {i: interval(x, n) for i, (x, n) in drawn.items()}
    together = {
        i: joint_interval(table.loc[i, "difference"], x, n, tests) for i, (x, n) in drawn.items()
    }
    for name, bounds in (("", alone), ("_all", together)):
        for place, end in enumerate(("low", "high")):
            values = [bounds.get(i, (np.nan, np.nan))[place] for i in range(len(table))]
            table[f"difference{name}_{end}"] = values
    return table


def comparisons(table: pd.DataFrame, drawn: Iterable[int]) -> int:
    """How many comparisons the differences are: of two groups, either less the other is one.

    Args:
        table: as `by_group` returns it.
        drawn: the rows that have an interval.
    """
    groups = table.groupby("by")["group"].nunique()
    compared = table.loc[[*drawn], "by"].value_counts()
    return sum(1 if groups[by] == 2 else count for by, count in compared.items()) or 1


def _resampled(
    judged: Judged, here: np.ndarray, resamples: int, seed: int
) -> dict[str, tuple[float, np.ndarray]]:
    """rho, ceiling, of_ceiling over these clips: each and its resamples over their speakers."""
    shares, speakers = judged.shares[here], judged.speakers[here]
    systems = np.concatenate([judged.predictions[None, here], judged.expected[:, here]])
    samples = mean_over_emotions(bootstrap(shares, systems, resamples, seed, speakers))
    value = mean_over_emotions(np.array([rhos(shares, one) for one in systems]))
    few = len(judged.expected) == 0 or here.sum() < FEWEST_FOR_EXPECTED
    ceiling, ceilings = (
        (np.nan, np.full(len(samples), np.nan))
        if few
        else (value[1:].mean(), samples[:, 1:].mean(axis=1))
    )
    return {
        "rho": (value[0], samples[:, 0]),
        "ceiling": (ceiling, ceilings),
        "of_ceiling": (value[0] / ceiling, samples[:, 0] / ceilings),
    }


def offsets(
    judged: Judged, groups: pd.DataFrame, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Mean of predicted less observed share, by group and emotion: above 0 too much is predicted.

    Returns:
        by, group, n, n_speakers, emotion, offset, low, high (over speakers), slope (of observed on
        predicted share; 1 where predictions are calibrated), note.
    """
    columns, rows = groups.reindex(judged.clip_ids), []
    for by in columns:
        for group in sorted(columns[by].dropna().unique()):
            here = (columns[by] == group).to_numpy(bool, na_value=False)
            speakers, unit = np.unique(judged.speakers[here], return_inverse=True)
            times = times_drawn(len(speakers), range(resamples), seed)[:, unit]
            error = judged.predictions[here] - judged.shares[here]
            samples = times @ error / times.sum(axis=1, keepdims=True)
            about = dict(zip(COLUMNS, (by, group, int(here.sum()), len(speakers))))
            note = too_few(about["n"], len(speakers))
            for place, emotion in enumerate(judged.emotions):
                low, high = (np.nan, np.nan) if note else interval(samples[:, place], len(speakers))
                x, y = judged.predictions[here, place], judged.shares[here, place]
                slope = np.cov(x, y)[0, 1] / np.var(x, ddof=1) if np.std(x) > 0 else np.nan
                row = {"emotion": emotion, "offset": error[:, place].mean(), "low": low}
                rows.append(about | row | {"high": high, "slope": slope, "note": note})
    return pd.DataFrame(rows)
