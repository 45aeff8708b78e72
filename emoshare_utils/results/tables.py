"""Table 1 and Table 2 in the paper's layout, as CSV, Markdown and LaTeX.

`table1` and `table2` make data frames from the results; `markdown`, `latex` and `write` turn a
data frame into text by the columns it has: `source` tells a row of the "paper" from "ours", `note`
becomes a footnote, float columns are numbers and the rest are names.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from emoshare_utils.corpora.clip_table import PAPER_EMOTIONS
from emoshare_utils.names import label, ordered
from emoshare_utils.results.paper import PAPER_CORPUS, paper_table1, paper_table2

_SVR = "svr:"  # before the feature set, where a table's baseline is an SVR
_CHANGES = {"mean_rho": "change_percent", "max_rho": "max_change_percent"}
_ACOUSTIC_NOTE = "the paper names this row MFCC Features and describes 40 mel bands"


def table1(
    results: pd.DataFrame,
    emotions: Sequence[str],
    split: str = "devel",
    paper: bool | None = None,
) -> pd.DataFrame:
    """Table 1: rho of every encoder and architecture, one column an emotion, and their mean.

    Seeds are averaged. A missing rho stays missing: it takes no part in the mean, and `note`
    says why it is missing and over how many emotions the mean is.

    Args:
        results: one row an encoder, architecture, emotion, seed and split.
        emotions: the corpus's emotions, in its order.
        split: the split to show.
        paper: put the paper's rows after ours, for the encoders that both have, and its
            baseline last. By default on devel, where the emotions are the paper's nine.

    Returns:
        encoder, architecture, source ("ours" or "paper"), a column an emotion, mean,
        n_emotions (in the mean), seeds, note.

    Raises:
        ValueError: no result in this split, two results for one network, or `paper` asked for
            with other emotions.
    """
    emotions = list(emotions)
    ours = _systems(_of_split(results, split), emotions)
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
    theirs = _paper_rows([*ours["encoder"].unique(), "baseline"], emotions)
    return _sorted(pd.concat([ours, theirs], ignore_index=True))


def table2(
    results: pd.DataFrame,
    emotions: Sequence[str],
    baseline: str | None = None,
    corpus: str = "",
    split: str = "devel",
) -> pd.DataFrame:
    """Table 2: the average rho of each encoder (a), of a baseline (b), and 100 (a - b) / b.

    The paper's averages are per emotion the larger of the two architectures, which is no single
    system's score, so both readings are given: the better single architecture (`mean_rho`) and
    the better architecture for each emotion (`max_rho`). A measured baseline is read the same
    way as what it is compared with. Where either average lacks an emotion the change is missing.
    An SVR (Architecture 0) has a row of its own and takes no part in an encoder's average.

    Args:
        results: one row an encoder, architecture, emotion, seed and split.
        emotions: the corpus's emotions.
        baseline: "svr:fbank" for the SVR on that feature set, "svr" for the best SVR, an encoder
            in the results, or "paper" for the printed .500. By default "paper" on the paper's own
            corpus; on any other "svr", without one "fbank", or else the first encoder.
        corpus: the corpus's name; the paper's numbers stand beside ours on "compare23" only.
        split: the split to show.

    Returns:
        encoder, source, architecture (the better one), mean_rho, baseline_mean_rho,
        change_percent, max_rho, baseline_max_rho, max_change_percent, baseline, seeds, note.

    Raises:
        ValueError: the baseline is not among the results, or is the paper's on another corpus.
    """
    emotions = list(emotions)
    on_paper_corpus = corpus == PAPER_CORPUS and split == "devel"
    ours = _systems(_of_split(results, split), emotions)
    table = _averages(ours, emotions)
    found = _sorted(table, ["encoder", "name"])["name"].tolist()
    svrs = table[table["architecture"] == 0].sort_values(["n_mean_rho", "mean_rho"])
    measured = "svr" if len(svrs) else "fbank" if "fbank" in found else found[0]
    baseline = baseline or ("paper" if on_paper_corpus else measured)
    if baseline == "svr" and len(svrs):
        baseline = svrs["name"].iloc[-1]
    if baseline == "paper" and not on_paper_corpus:
        raise ValueError(
            f"the paper's baseline was measured on the devel split of {PAPER_CORPUS!r}, not on "
            f"{split} of {corpus!r}: name a baseline measured here, one of {', '.join(found)}"
        )
    if baseline not in ("paper", *found):
        raise ValueError(
            f"no {split} result for the baseline {baseline!r}: expected one of {', '.join(found)}"
        )
    if on_paper_corpus:
        theirs = _averages(_paper_rows(ours["encoder"], emotions), emotions)
        theirs["note"] = theirs["encoder"].map(_as_printed)
        table = pd.concat([table, theirs])
    if baseline == "paper":
        b = dict.fromkeys(_CHANGES, paper_table2()["baseline_mean_rho"].iloc[0])
        complete = dict.fromkeys(_CHANGES, True)
    else:
        row = table[(table["name"] == baseline) & (table["source"] == "ours")].iloc[0]
        b = {reading: row[reading] for reading in _CHANGES}
        complete = {reading: row[f"n_{reading}"] == len(emotions) for reading in _CHANGES}
    for reading, change in _CHANGES.items():
        table[f"baseline_{reading}"] = b[reading]
        table[change] = 100 * (table[reading] - b[reading]) / b[reading]
        if b[reading] <= 0 or not complete[reading]:
            table[change] = np.nan
        table.loc[table[f"n_{reading}"] < len(emotions), change] = np.nan
    if min(b.values()) <= 0:
        table["note"] = table["note"].map(_joined("no percentage of a baseline below zero"))
    if not all(complete.values()):
        table["note"] = table["note"].map(_joined("the baseline lacks emotions"))
    table["baseline"] = baseline
    columns = ["encoder", "source", "architecture"]
    columns += ["mean_rho", "baseline_mean_rho", "change_percent"]
    columns += ["max_rho", "baseline_max_rho", "max_change_percent", "baseline", "seeds", "note"]
    return _sorted(table, ["encoder", "name", "source"])[columns]


def table1_caption(split: str = "devel") -> str:
    """The caption of Table 1."""
    return (
        f"Table 1: Spearman's ρ per emotion on {split}, and the mean over emotions. "
        "Architecture 1: CNN + LSTM + FFNN; Architecture 2: CNN + LSTM + attention + FFNN. "
        "Best in bold."
    )


def table2_caption(table: pd.DataFrame, split: str = "devel") -> str:
    """The caption of Table 2, which says what the baseline is."""
    baseline = table["baseline"].iloc[0]
    if baseline == "paper":
        what = "the challenge's baseline as the paper prints it"
    else:
        svr = "a linear SVR on the mean over time of " if baseline.startswith(_SVR) else ""
        what = f"{svr}{label(baseline.removeprefix(_SVR))}, measured here on the same clips"
    return (
        f"Table 2: Average ρ over emotions on {split}, and its change against a baseline, {what}. "
        "Two readings: the better single architecture (named), and per emotion the better of the "
        "two, which is no single system's score. Both are chosen on the split that is shown."
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


def _systems(results: pd.DataFrame, emotions: list[str]) -> pd.DataFrame:
    """One row an encoder and architecture, seeds averaged."""
    rows = []
    for (encoder, architecture), group in results.groupby(["encoder", "architecture"]):
        of_emotion = {name: group[group["emotion"] == name] for name in emotions}
        rho = {name: part["rho"].mean() for name, part in of_emotion.items()}
        row = {"encoder": encoder, "architecture": architecture, "source": "ours", **rho}
        row["seeds"] = group["seed"].nunique()
        row["note"] = _why_missing(of_emotion)
        rows.append(row)
    return _sorted(_with_mean(pd.DataFrame(rows), emotions))


def _with_mean(rows: pd.DataFrame, emotions: list[str]) -> pd.DataFrame:
    rows["architecture"] = rows["architecture"].astype("Int64")
    rows["mean"] = rows[emotions].mean(axis=1)
    rows["n_emotions"] = rows[emotions].notna().sum(axis=1)
    columns = ["encoder", "architecture", "source", *emotions, "mean", "n_emotions", "seeds"]
    return rows[[*columns, "note"]]


def _why_missing(of_emotion: dict[str, pd.DataFrame]) -> str:
    reasons: dict[str, list[str]] = {}
    left = 0
    for emotion, rows in of_emotion.items():
        missing = rows[rows["rho"].isna()]
        left += len(rows) > len(missing)
        if rows.empty:
            reasons.setdefault("no result", []).append(emotion)
        for note, part in missing.fillna({"note": ""}).groupby("note"):
            seeds = f" ({len(part)} of {len(rows)} seeds)" if len(rows) > 1 else ""
            reasons.setdefault(note or "no rho", []).append(emotion + seeds)
    said = [f"{reason}: {', '.join(names)}" for reason, names in reasons.items()]
    if left < len(of_emotion):
        said.append(f"mean over {left} of {len(of_emotion)} emotions")
    return "; ".join(said)


def _paper_rows(encoders: Iterable[str], emotions: list[str]) -> pd.DataFrame:
    table = paper_table1()
    table = table[table["encoder"].isin(list(encoders))]
    rows = table.pivot(index=["encoder", "architecture"], columns="emotion", values="rho")
    rows = rows.reset_index().rename_axis(columns=None).assign(source="paper", seeds=1)
    rows["note"] = np.where(rows["encoder"].isin(["mfcc", "fbank"]), _ACOUSTIC_NOTE, "")
    return _sorted(_with_mean(rows, emotions))


def _sorted(
    rows: pd.DataFrame, keys: Sequence[str] = ("encoder", "architecture", "source")
) -> pd.DataFrame:
    place = {name: number for number, name in enumerate(ordered(rows["encoder"]))}

    def key(column: pd.Series) -> pd.Series:
        if column.name == "encoder":
            return column.map(place)
        return column.str.startswith(_SVR) if column.name == "name" else column

    return rows.sort_values(list(keys), key=key).reset_index(drop=True)


def _averages(systems: pd.DataFrame, emotions: list[str]) -> pd.DataFrame:
    """Both readings of each encoder's average rho, and over how many emotions each is.

    `name` tells what is averaged: an encoder's networks, or the SVR on its mean frames.
    """
    svr = systems["architecture"].eq(0)
    systems = systems.assign(name=systems["encoder"].where(~svr, _SVR + systems["encoder"]))
    rows = [
        {"encoder": encoder, "name": name, "source": source, **_readings(group, emotions)}
        for (encoder, name, source), group in systems.groupby(["encoder", "name", "source"])
    ]
    return pd.DataFrame(rows)


def _readings(group: pd.DataFrame, emotions: list[str]) -> dict[str, object]:
    better = group.sort_values(
        ["n_emotions", "mean", "architecture"], ascending=[False, False, True]
    ).iloc[0]
    largest = group[emotions].max()
    return {
        "architecture": better["architecture"],
        "mean_rho": better["mean"],
        "n_mean_rho": better["n_emotions"],
        "max_rho": largest.mean(),
        "n_max_rho": largest.notna().sum(),
        "seeds": better["seeds"],
        "note": better["note"],
    }


def _as_printed(encoder: str) -> str:
    printed = paper_table2().set_index("encoder")
    name = "mfcc" if encoder == "fbank" else encoder
    rho, change = printed.loc[name, ["mean_rho", "change_percent"]]
    note = f"the paper prints {rho:.3f} and {change:+.1f} %"
    return f"{note}; {_ACOUSTIC_NOTE}" if name == "mfcc" else note


def _joined(more: str) -> Callable[[str], str]:
    return lambda note: f"{note}; {more}" if note else more
