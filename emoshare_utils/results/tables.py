"""Table 1 and Table 2 in the paper's layout, as data frames; `rendering` writes them to files.

In both, `source` is "ours" or "paper", and `note` becomes a footnote.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from emoshare_utils.corpora.clip_table import PAPER_EMOTIONS
from emoshare_utils.names import label, ordered
from emoshare_utils.results.changes import READINGS, SVR_PREFIX, unresolved
from emoshare_utils.results.enough import FLAT, are_flat, are_unranked, as_reason, unranked
from emoshare_utils.results.metrics import mean_note, mean_over_emotions
from emoshare_utils.results.paper import PAPER_CORPUS, paper_table1, paper_table2
from emoshare_utils.results.scores import emotions_in_means

_TABLE2 = ["encoder", "source", "architecture"]
_TABLE2 += [c for reading in READINGS for c in (reading, f"baseline_{reading}", READINGS[reading])]
_TABLE2 += ["baseline", "seeds", "note"]
_ACOUSTIC_NOTE = "the paper names this row MFCC Features and describes 40 mel bands"


def table1(
    results: pd.DataFrame,
    emotions: Sequence[str],
    split: str = "devel",
    paper: bool | None = None,
) -> pd.DataFrame:
    """Table 1: rho of every encoder and architecture, one column per emotion, and their mean.

    Seeds are averaged. Means follow the rule of `metrics.mean_over_emotions`, for the paper's rows
    too; where a rho is missing, `note` says why, and what that does to the mean. It also names the
    emotions for which predictions hardly vary (`enough.flat`): these are never bold.

    Args:
        results: one row per encoder, architecture, emotion, seed and split.
        emotions: the corpus's emotions, in its order.
        split: the split to show.
        paper: add the paper's rows after ours, for the encoders that both have, and its baseline
            last. By default on devel, where the emotions are the paper's nine.

    Returns:
        encoder, architecture, source, a column per emotion, mean, n_emotions (that means are over),
        seeds, note.

    Raises:
        ValueError: there is no result in this split, a network has two results, or `paper` is
            asked for with other emotions.
    """
    emotions = list(emotions)
    found = _of_split(results, split)
    kept = emotions_in_means(found, emotions)
    ours = _systems(found, emotions, kept)
    same_emotions = set(emotions) == set(PAPER_EMOTIONS)
    if paper is None:
        paper = same_emotions and split == "devel"
    if not paper:
        return ours
    if not same_emotions:
        raise ValueError(
            f"the paper's rows are for {', '.join(PAPER_EMOTIONS)}, this corpus has "
            f"{', '.join(emotions)}: pass paper=False"
        )
    theirs = _paper_rows([*ours["encoder"].unique(), "baseline"], emotions, kept)
    return _sorted(pd.concat([ours, theirs], ignore_index=True))


def table2(
    results: pd.DataFrame,
    emotions: Sequence[str],
    baseline: str | None = None,
    corpus: str = "",
    split: str = "devel",
    *,
    predictions: pd.DataFrame | None = None,
    resamples: int = 1000,
    speakers: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Table 2: the average rho of each encoder (a), of a baseline (b), and 100 (a - b) / b.

    The paper averages the highest rho of any architecture per emotion, which is no single system's
    score. Both readings are given: the best single architecture (`mean_rho`), and the best
    architecture per emotion (`max_rho`); a measured baseline is read in the same way. Averages
    follow the rule of `metrics.mean_over_emotions`; where either is missing, the change is too. The
    printed baseline has none to compare with where an emotion is left out. An SVR (Architecture 0)
    has a row of its own and does not count in an encoder's average.

    A change is given where its paired interval leaves out 0 (`changes.unresolved`), and not for, or
    against, a system that is not ranked (`enough.unranked`); such a system is the best one only
    where there is no other. Otherwise `note` says why there is none.

    Args:
        results, emotions, split: as in `table1`.
        baseline: "svr:fbank" for the SVR on that feature set, "svr" for the best SVR, an encoder
            in the results, or "paper" for the printed .500. By default "paper" on the paper's own
            corpus; on any other "svr", without one "fbank", or else the first encoder.
        corpus: the corpus's name; the paper's numbers are added on "compare23" only.
        predictions: what the results were measured from, for the intervals of the changes; None:
            there are none (as for numbers from print), and no interval decides.
        resamples, speakers: as in `scores.score`.

    Returns:
        encoder, source, architecture (the best one), mean_rho, baseline_mean_rho, change_percent,
        max_rho, baseline_max_rho, max_change_percent, baseline, seeds, note.

    Raises:
        ValueError: the baseline is not in the results, or is the paper's on another corpus.
    """
    emotions, found = list(emotions), _of_split(results, split)
    kept = emotions_in_means(found, emotions)
    systems = _systems(found, emotions, kept)
    table = _averages(systems, kept)
    baseline = _baseline(table, baseline, corpus, split)
    if baseline == "paper":
        printed = paper_table2()["baseline_mean_rho"].iloc[0]
        against = dict.fromkeys(READINGS, printed if len(kept) == len(emotions) else np.nan)
        against["unranked"] = against["any_unranked"] = False
    else:
        against = table[table["name"] == baseline].iloc[0]
    theirs = _paper_rows(systems["encoder"], emotions, kept)
    if _is_papers(corpus, split) and len(theirs):
        theirs = _averages(theirs, kept)
        table = pd.concat([table, theirs.assign(note=theirs["encoder"].map(_as_printed))])
    table = table.assign(baseline=baseline, **{f"baseline_{one}": against[one] for one in READINGS})
    why = dict.fromkeys(READINGS, [""] * len(table))
    if predictions is not None:
        rows = predictions[predictions["split"] == split]
        why = unresolved(table, baseline, rows, emotions, kept, resamples, speakers)
    return _sorted(_changed(table, against, why), ["encoder", "name", "source"])[_TABLE2]


def _changed(
    table: pd.DataFrame, against: Mapping[str, object], why: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Add the changes against a baseline, and to each note why there is none."""
    said = [[note] for note in table["note"]]
    for (reading, change), apart in zip(READINGS.items(), ("unranked", "any_unranked")):
        a, b = table[reading], against[reading]
        reasons = pd.Series(why[reading], table.index)
        if against[apart]:
            reasons[:] = f"the baseline's {FLAT}"
        elif b <= 0:
            reasons[:] = "no percentage of a baseline below zero"
        elif np.isnan(b):
            reasons[:] = "the baseline has no mean over these emotions"
        table[change] = (100 * (a - b) / b).where(reasons.eq("") & ~table[apart])
        for each, reason in zip(said, reasons):
            each.append(reason)
    notes = ["; ".join(dict.fromkeys(filter(None, each))) for each in said]
    return table.assign(note=notes)


def table1_caption(split: str = "devel") -> str:
    """Return the caption of Table 1."""
    return (
        f"Table 1: Spearman's ρ per emotion on {split}, and the mean over emotions. "
        "Architecture 1: CNN + LSTM + FFNN; Architecture 2: CNN + LSTM + attention + FFNN. "
        "Best in bold."
    )


def table2_caption(table: pd.DataFrame, split: str = "devel") -> str:
    """Return the caption of Table 2, which names the baseline."""
    baseline = table["baseline"].iloc[0]
    if baseline == "paper":
        what = "the challenge's baseline as the paper prints it"
    else:
        svr = "a linear SVR on the mean over time of " if baseline.startswith(SVR_PREFIX) else ""
        what = f"{svr}{label(baseline.removeprefix(SVR_PREFIX))}, measured here on the same clips"
    return (
        f"Table 2: Average ρ over emotions on {split}, and its change against a baseline, {what}. "
        "Two readings: the best single architecture (named), and the best architecture per "
        "emotion, which is no single system's score. Both are chosen on the split that is shown. A "
        "change is given where the 95 % interval of the difference leaves out 0."
    )


def _of_split(results: pd.DataFrame, split: str) -> pd.DataFrame:
    rows = results[results["split"] == split]
    if rows.empty:
        found = ", ".join(sorted(results["split"].unique())) or "none"
        raise ValueError(f"no result in the split {split!r}: splits with results are {found}")
    key = ["encoder", "architecture", "emotion", "seed"]
    twice = rows[rows.duplicated(key)]
    if len(twice):
        network = ", ".join(f"{column} {twice.iloc[0][column]}" for column in key)
        raise ValueError(f"{len(twice)} results stand twice in {split}, first {network}")
    return rows


def _systems(results: pd.DataFrame, emotions: list[str], kept: list[str]) -> pd.DataFrame:
    """Average the seeds: one row per encoder and architecture."""
    rows = []
    for (encoder, architecture), group in results.groupby(["encoder", "architecture"]):
        row = {"encoder": encoder, "architecture": architecture, "source": "ours"}
        means = group.groupby("emotion")["rho"].mean(skipna=False)
        row |= {name: means.get(name, np.nan) for name in emotions}
        note = _note(group, emotions, kept)
        rows.append(row | {"seeds": group["seed"].nunique(), "note": note})
    return _with_mean(pd.DataFrame(rows), emotions, kept)


def _note(results: pd.DataFrame, emotions: list[str], kept: list[str]) -> str:
    """Say which emotions of one system lack a rho and why, or are flat, and if it has no mean."""
    reasons: dict[str, list[str]] = {}
    lacking = set()
    for emotion in emotions:
        rows = results[results["emotion"] == emotion]
        missing = rows[rows["rho"].isna()]
        if rows.empty:
            reasons.setdefault("no result", []).append(emotion)
        for note, part in missing.fillna({"note": ""}).groupby("note"):
            seeds = f" ({len(part)} of {len(rows)} seeds)" if len(part) < len(rows) else ""
            reasons.setdefault(note or "no rho", []).append(emotion + seeds)
        hardly = rows[are_flat(rows["note"])]
        if len(hardly):
            _, name = as_reason(emotion, hardly["note"].iloc[0])
            seeds = f"{emotion} ({len(hardly)} of {len(rows)} seeds)"
            reasons.setdefault(FLAT, []).append(name if len(rows) == 1 else seeds)
        if rows.empty or len(missing):
            lacking.add(emotion)
    mean = bool(kept) and not lacking & set(kept)
    said = mean_note(reasons, len(emotions) - len(kept), len(emotions), mean)
    return "; ".join(filter(None, [said, unranked(len(reasons.get(FLAT, ())), len(kept))]))


def _paper_rows(encoders: Iterable[str], emotions: list[str], kept: list[str]) -> pd.DataFrame:
    """The paper's rows for these encoders; its one acoustic row after the bands it describes."""
    table, named = paper_table1(), set(encoders)
    table = table[table["encoder"].isin(named - {"mfcc"} if "fbank" in named else named)]
    rows = table.pivot(index=["encoder", "architecture"], columns="emotion", values="rho")
    rows = rows.reindex(columns=emotions).reset_index().assign(source="paper", seeds=1)
    rows["note"] = np.where(rows["encoder"].isin(["mfcc", "fbank"]), _ACOUSTIC_NOTE, "")
    return _with_mean(rows, emotions, kept)


def _with_mean(rows: pd.DataFrame, emotions: list[str], kept: list[str]) -> pd.DataFrame:
    rows["architecture"] = rows["architecture"].astype("Int64")
    rows["mean"] = mean_over_emotions(rows[kept])
    rows["n_emotions"] = len(kept)
    columns = ["encoder", "architecture", "source", *emotions, "mean", "n_emotions", "seeds"]
    return _sorted(rows[[*columns, "note"]])


def _sorted(
    rows: pd.DataFrame, keys: Sequence[str] = ("encoder", "architecture", "source")
) -> pd.DataFrame:
    place = {name: number for number, name in enumerate(ordered(rows["encoder"]))}

    def key(column: pd.Series) -> pd.Series:
        if column.name == "encoder":
            return column.map(place)
        return column.str.startswith(SVR_PREFIX) if column.name == "name" else column

    return rows.sort_values(list(keys), key=key).reset_index(drop=True)


def _averages(systems: pd.DataFrame, kept: list[str]) -> pd.DataFrame:
    """Return both readings of each encoder's average rho over the emotions `kept`.

    `name` is what a baseline is called: the encoder, or "svr:" and the encoder. No architecture is
    the best of several that have no mean. `unranked`: that best one is not ranked
    (`enough.unranked`); `any_unranked`: some architecture is not.
    """
    columns = ["encoder", "source", "architecture", "mean", "seeds", "note"]
    svr = systems["architecture"].eq(0)
    names = systems["encoder"].where(~svr, SVR_PREFIX + systems["encoder"]).rename("name")
    key = [systems["encoder"], names, systems["source"]]
    apart = are_unranked(systems["note"])
    table = systems[columns].assign(
        name=names, unranked=apart, any_unranked=apart.groupby(key).transform("any")
    )
    table["several"] = names.groupby(key).transform("size") > 1
    table = table.sort_values(["unranked", "mean", "architecture"], ascending=[True, False, True])
    table = table.drop_duplicates(["encoder", "name", "source"]).rename(
        columns={"mean": "mean_rho"}
    )
    table["architecture"] = table["architecture"].mask(table["several"] & table["mean_rho"].isna())
    ranked = systems[kept].mask(apart).groupby(key).max()
    highest = ranked.fillna(systems[kept].where(apart).groupby(key).max())
    averages = pd.Series(mean_over_emotions(highest), highest.index, name="max_rho")
    table = table.join(averages, on=["encoder", "name", "source"]).drop(columns="several")
    return _sorted(table, ["encoder", "name", "source"])


def _baseline(table: pd.DataFrame, asked: str | None, corpus: str, split: str) -> str:
    """Return the name of Table 2's baseline: the one asked for, or the default."""
    found = table["name"].tolist()
    svrs = table[table["architecture"] == 0]
    svrs = svrs.sort_values(["unranked", "mean_rho"], ascending=[False, True], na_position="first")
    measured = "svr" if len(svrs) else "fbank" if "fbank" in found else found[0]
    baseline = asked or ("paper" if _is_papers(corpus, split) else measured)
    if baseline == "svr" and len(svrs):
        baseline = svrs["name"].iloc[-1]
    if baseline == "paper" and not _is_papers(corpus, split):
        raise ValueError(
            f"the paper's baseline was measured on the devel split of {PAPER_CORPUS!r}, not on "
            f"{split} of {corpus!r}: name a baseline measured here, one of {', '.join(found)}"
        )
    if baseline not in ("paper", *found):
        raise ValueError(
            f"no {split} result for the baseline {baseline!r}: expected one of {', '.join(found)}"
        )
    return baseline


def _is_papers(corpus: str, split: str) -> bool:
    return corpus == PAPER_CORPUS and split == "devel"


def _as_printed(encoder: str) -> str:
    printed = paper_table2().set_index("encoder")
    name = "mfcc" if encoder == "fbank" else encoder
    rho, change = printed.loc[name, ["mean_rho", "change_percent"]]
    note = f"the paper prints {rho:.3f} and {change:+.1f} %"
    return f"{note}; {_ACOUSTIC_NOTE}" if name == "mfcc" else note
