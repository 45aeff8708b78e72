"""Table 1 and Table 2 in the paper's layout, as data frames; `rendering` writes them to files.

In both, `source` is "ours" or "paper", and `note` becomes a footnote.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from emoshare_utils.corpora.clip_table import PAPER_EMOTIONS
from emoshare_utils.names import label, ordered
from emoshare_utils.results.metrics import mean_note, mean_over_emotions
from emoshare_utils.results.paper import PAPER_CORPUS, paper_table1, paper_table2
from emoshare_utils.results.scores import emotions_in_means

_SVR_PREFIX = "svr:"  # before the feature set, where Table 2's baseline is an SVR
# The two readings of an encoder's average rho, and the column of each one's change.
_READINGS = {"mean_rho": "change_percent", "max_rho": "max_change_percent"}
_ACOUSTIC_NOTE = "the paper names this row MFCC Features and describes 40 mel bands"


def table1(
    results: pd.DataFrame,
    emotions: Sequence[str],
    split: str = "devel",
    paper: bool | None = None,
) -> pd.DataFrame:
    """Table 1: rho of every encoder and architecture, one column per emotion, and their mean.

    Seeds are averaged. Means follow the rule of `metrics.mean_over_emotions`, for the paper's rows
    too; where a rho is missing, `note` says why, and what that does to the mean.

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
) -> pd.DataFrame:
    """Table 2: the average rho of each encoder (a), of a baseline (b), and 100 (a - b) / b.

    The paper averages the highest rho of any architecture per emotion, which is no single system's
    score. Both readings are given: the best single architecture (`mean_rho`), and the best
    architecture per emotion (`max_rho`); a measured baseline is read in the same way. Averages
    follow the rule of `metrics.mean_over_emotions`; where either is missing, the change is too. The
    printed baseline has none to compare with where an emotion is left out. An SVR (Architecture 0)
    has a row of its own and does not count in an encoder's average.

    Args:
        results, emotions, split: as in `table1`.
        baseline: "svr:fbank" for the SVR on that feature set, "svr" for the best SVR, an encoder
            in the results, or "paper" for the printed .500. By default "paper" on the paper's own
            corpus; on any other "svr", without one "fbank", or else the first encoder.
        corpus: the corpus's name; the paper's numbers are added on "compare23" only.

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
        against = dict.fromkeys(_READINGS, printed if len(kept) == len(emotions) else np.nan)
    else:
        against = table[table["name"] == baseline].iloc[0]
    theirs = _paper_rows(systems["encoder"], emotions, kept)
    if _is_papers(corpus, split) and len(theirs):
        theirs = _averages(theirs, kept)
        table = pd.concat([table, theirs.assign(note=theirs["encoder"].map(_as_printed))])
    remarks, columns = set(), ["encoder", "source", "architecture"]
    for reading, change in _READINGS.items():
        a, b = table[reading], against[reading]
        if b <= 0:
            remarks.add("no percentage of a baseline below zero")
        if np.isnan(b):
            remarks.add("the baseline has no mean over these emotions")
        table[f"baseline_{reading}"] = b
        table[change] = 100 * (a - b) / (b if b > 0 else np.nan)
        columns += [reading, f"baseline_{reading}", change]
    said = [[note, *sorted(remarks)] for note in table["note"]]
    table = table.assign(baseline=baseline, note=["; ".join(filter(None, each)) for each in said])
    return _sorted(table, ["encoder", "name", "source"])[[*columns, "baseline", "seeds", "note"]]


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
        svr = "a linear SVR on the mean over time of " if baseline.startswith(_SVR_PREFIX) else ""
        what = f"{svr}{label(baseline.removeprefix(_SVR_PREFIX))}, measured here on the same clips"
    return (
        f"Table 2: Average ρ over emotions on {split}, and its change against a baseline, {what}. "
        "Two readings: the best single architecture (named), and the best architecture per "
        "emotion, which is no single system's score. Both are chosen on the split that is shown."
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
    """Say which emotions of one system lack a rho, why, and what that does to its mean."""
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
        if rows.empty or len(missing):
            lacking.add(emotion)
    mean = bool(kept) and not lacking & set(kept)
    return mean_note(reasons, len(emotions) - len(kept), len(emotions), mean)


def _paper_rows(encoders: Iterable[str], emotions: list[str], kept: list[str]) -> pd.DataFrame:
    table = paper_table1()
    table = table[table["encoder"].isin(list(encoders))]
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
        return column.str.startswith(_SVR_PREFIX) if column.name == "name" else column

    return rows.sort_values(list(keys), key=key).reset_index(drop=True)


def _averages(systems: pd.DataFrame, kept: list[str]) -> pd.DataFrame:
    """Return both readings of each encoder's average rho over the emotions `kept`.

    `name` is what a baseline is called: the encoder, or "svr:" and the encoder. No architecture is
    the best of several that have no mean.
    """
    columns = ["encoder", "source", "architecture", "mean", "seeds", "note"]
    svr = systems["architecture"].eq(0)
    names = systems["encoder"].where(~svr, _SVR_PREFIX + systems["encoder"]).rename("name")
    key = [systems["encoder"], names, systems["source"]]
    table = systems[columns].assign(name=names, several=systems.groupby(key).transform("size") > 1)
    table = table.sort_values(["mean", "architecture"], ascending=[False, True])
    table = table.drop_duplicates(["encoder", "name", "source"]).rename(
        columns={"mean": "mean_rho"}
    )
    table["architecture"] = table["architecture"].mask(table["several"] & table["mean_rho"].isna())
    highest = systems.groupby(key)[kept].max()
    averages = pd.Series(mean_over_emotions(highest), highest.index, name="max_rho")
    table = table.join(averages, on=["encoder", "name", "source"]).drop(columns="several")
    return _sorted(table, ["encoder", "name", "source"])


def _baseline(table: pd.DataFrame, asked: str | None, corpus: str, split: str) -> str:
    """Return the name of Table 2's baseline: the one asked for, or the default."""
    found = table["name"].tolist()
    svrs = table[table["architecture"] == 0].sort_values("mean_rho", na_position="first")
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
