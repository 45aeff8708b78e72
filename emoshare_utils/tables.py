"""Table 1 and Table 2 in the paper's layout, as CSV, Markdown and LaTeX.

`table1` and `table2` make data frames from the results; `markdown`, `latex` and `write` turn a
data frame into text by the columns it has: `source` tells a row of the "paper" from "ours", `note`
becomes a footnote, float columns are numbers and the rest are names.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import pandas as pd

from emoshare_utils.corpus import PAPER_EMOTIONS
from emoshare_utils.encoders import POOLED, split_layer

PAPER_CORPUS = "compare23"

# In the order of a table's rows; encoders without a label follow the paper's four.
LABELS = {
    "wav2vec2-base": "wav2vec2.0 (Base)",
    "wav2vec2-large": "wav2vec2.0 (Large)",
    "hubert-base": "HuBERT (Base)",
    "hubert-large": "HuBERT (Large)",
    "wav2vec2-mini": "wav2vec2-mini",
    "hubert-mini": "HuBERT-mini",
    "untrained": "untrained",
    "mfcc": "MFCC",
    "fbank": "Mel filterbank",
    "spectrogram": "Spectrogram",
    "egemaps": "eGeMAPS",
    "baseline": "Baseline",
}

_HEADERS = {
    "encoder": "Features",
    "architecture": "Regression model",
    "mean": "Mean",
    "mean_rho": "Average ρ (a)",
    "baseline_mean_rho": "Baseline (b)",
    "change_percent": "Change (%) 100(a−b)/b",
    "max_rho": "Average of the better per emotion (a)",
    "baseline_max_rho": "Baseline (b), same reading",
    "max_change_percent": "Change (%), same reading",
    "ci_low": "low (clips)",
    "ci_high": "high (clips)",
    "ci_speakers_low": "low (speakers)",
    "ci_speakers_high": "high (speakers)",
}
_HIDDEN = ("source", "baseline", "n_emotions", "seeds", "note")
_SVR = "svr:"  # before the feature set, where a table's baseline is an SVR
_CHANGES = {"mean_rho": "change_percent", "max_rho": "max_change_percent"}
_MEANS = ("mean", "mean_rho", "max_rho")
_ACOUSTIC_NOTE = "the paper names this row MFCC Features and describes 40 mel bands"
_PAPER_NOTE = (
    "(paper): as printed in the paper or computed from its Table 1, measured on its own corpus "
    "(ComParE 2023, devel); these rows do not compete for bold."
)
_SVR_NOTE = (
    "SVR: the challenge's baseline, a clip's mean over time and a linear support vector regression."
)


def label(encoder: str) -> str:
    """The name of a feature set as a reader should see it; an unknown id stays itself."""
    model, layer = split_layer(encoder)
    name = LABELS.get(model, model)
    if layer is None:
        return name
    return f"{name}, all layers" if layer == POOLED else f"{name}, layer {layer}"


def regression_model(architecture: int) -> str:
    """The name of Architecture 1, Architecture 2, or the challenge's baseline, which is 0."""
    return f"Architecture {architecture}" if architecture else "SVR"


def system(encoder: str, architecture: int) -> str:
    """A short name for a feature set under an architecture, as "MFCC A2"."""
    return f"{label(encoder)} {f'A{architecture}' if architecture else 'SVR'}"


def ordered(encoders: Iterable[str]) -> list[str]:
    """Each encoder once: the paper's four, any others by name, the small ones, acoustic ones.

    The layers of an encoder follow it by number.
    """
    rank = {name: place for place, name in enumerate(LABELS)}
    others = rank["hubert-large"] + 0.5

    def place(encoder: str) -> tuple:
        model, layer = split_layer(encoder)
        return rank.get(model, others), model, layer is not None, isinstance(layer, str), layer

    return sorted(set(encoders), key=place)


def paper_table1() -> pd.DataFrame:
    """The paper's Table 1, tidy: encoder, architecture (null for "baseline"), emotion, rho.

    The paper names one acoustic row, MFCC Features, and describes 40 mel bands: it stands here
    once as "mfcc" and once as "fbank".
    """
    table = _packaged("paper_table1.csv").astype({"architecture": "Int64"})
    filterbank = table[table["encoder"] == "mfcc"].assign(encoder="fbank")
    return pd.concat([table, filterbank], ignore_index=True)


def paper_table2() -> pd.DataFrame:
    """The paper's Table 2 as printed: encoder, mean_rho, baseline_mean_rho, change_percent."""
    return _packaged("paper_table2.csv")


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


def write(
    table: pd.DataFrame,
    folder: Path,
    name: str,
    caption: str,
    *,
    listeners: str = "listeners",
    notes: Sequence[str] = (),
    best: Sequence[str] | None = None,
) -> None:
    """Write `<name>.csv` (every column, unrounded), `<name>.md` and `<name>.tex` into `folder`.

    The other arguments are those of `markdown`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    text = {"listeners": listeners, "notes": notes, "best": best}
    (folder / f"{name}.md").write_text(markdown(table, caption, **text), encoding="utf-8")
    latex_text = latex(table, caption, name=name, **text)
    (folder / f"{name}.tex").write_text(latex_text, encoding="utf-8")


def markdown(
    table: pd.DataFrame,
    caption: str,
    *,
    listeners: str = "listeners",
    notes: Sequence[str] = (),
    best: Sequence[str] | None = None,
) -> str:
    """A table as Markdown: caption, rows, footnotes.

    Args:
        table: what `table1` or `table2` returned, or any other data frame.
        caption: one paragraph.
        listeners: "simulated listeners" adds that the shares are theirs.
        notes: sentences to put beneath the table.
        best: the columns whose largest value among our own rows is set in bold, ties included,
            decided before rounding. By default every float column but those named baseline_….
    """
    header, numeric, rows, footnotes = _layout(table, best)
    lines = [_caption(caption, listeners), ""]
    lines.append("| " + " | ".join(_escape_markdown(name) for name in header) + " |")
    lines.append("|" + "|".join("---:" if number else ":---" for number in numeric) + "|")
    for row in rows:
        lines.append("| " + " | ".join(cell.markdown() for cell in row) + " |")
    below = [f"<sup>{mark}</sup> {_escape_markdown(text)}." for mark, text in footnotes]
    for note in [*below, *_notes(table, notes)]:
        lines += ["", note]
    return "\n".join(lines) + "\n"


def latex(
    table: pd.DataFrame,
    caption: str,
    *,
    name: str = "",
    listeners: str = "listeners",
    notes: Sequence[str] = (),
    best: Sequence[str] | None = None,
) -> str:
    """A table as LaTeX, labelled tab:<name>; needs the booktabs and adjustbox packages.

    The other arguments are those of `markdown`.
    """
    header, numeric, rows, footnotes = _layout(table, best)
    title = _caption(caption, listeners)
    if title.startswith("Table ") and ": " in title:  # LaTeX numbers its tables itself
        title = title.partition(": ")[2]
    lines = [
        "% needs \\usepackage{booktabs, adjustbox}",
        "\\begin{table*}[t]",
        "\\centering\\small",
        "\\setlength{\\tabcolsep}{3.5pt}",
        f"\\caption{{{_escape_latex(title)}}}",
    ]
    if name:
        lines.append(f"\\label{{tab:{name}}}")
    lines.append("\\begin{adjustbox}{max width=\\textwidth}")
    lines.append(f"\\begin{{tabular}}{{{''.join('r' if number else 'l' for number in numeric)}}}")
    lines += ["\\toprule", " & ".join(_escape_latex(part) for part in header) + " \\\\"]
    lines.append("\\midrule")
    lines += [" & ".join(cell.latex() for cell in row) + " \\\\" for row in rows]
    lines += ["\\bottomrule", "\\end{tabular}", "\\end{adjustbox}"]
    below = [f"\\textsuperscript{{{mark}}} {_escape_latex(text)}." for mark, text in footnotes]
    below += [_escape_latex(note) for note in _notes(table, notes)]
    if below:
        lines += ["\\par\\smallskip\\footnotesize", " \\\\\n".join(below)]
    return "\n".join([*lines, "\\end{table*}"]) + "\n"


@dataclass
class _Cell:
    text: str
    bold: bool = False
    mark: str = ""

    def markdown(self) -> str:
        text = _escape_markdown(self.text)
        text = f"**{text}**" if self.bold else text
        return f"{text}<sup>{self.mark}</sup>" if self.mark else text

    def latex(self) -> str:
        text = _escape_latex(self.text)
        text = f"\\textbf{{{text}}}" if self.bold else text
        return f"{text}\\textsuperscript{{{self.mark}}}" if self.mark else text


def _packaged(name: str) -> pd.DataFrame:
    with (files("emoshare_utils") / "data" / name).open(encoding="utf-8") as file:
        return pd.read_csv(file)


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


def _caption(caption: str, listeners: str) -> str:
    if listeners.startswith("simulated") and listeners not in caption:
        return f"{caption} Shares are those of {listeners}."
    return caption


def _notes(table: pd.DataFrame, notes: Sequence[str]) -> list[str]:
    automatic = []
    if "seeds" in table and table["seeds"].max() > 1:
        networks = (table["source"] == "ours") & (table["architecture"] != 0)
        few, many = table.loc[networks, "seeds"].agg(["min", "max"])
        seeds = f"{many}" if few == many else f"{few} to {many}"
        automatic.append(f"Our numbers are means over {seeds} seeds.")
    if "source" in table and (table["source"] == "paper").any():
        automatic.append(_PAPER_NOTE)
    if "architecture" in table and (table["architecture"] == 0).any():
        automatic.append(_SVR_NOTE)
    return [*automatic, *notes]


def _layout(
    table: pd.DataFrame, best: Sequence[str] | None
) -> tuple[list[str], list[bool], list[list[_Cell]], list[tuple[str, str]]]:
    """Header, which columns are numbers, the rows, and the footnotes (mark, text)."""
    shown = [column for column in table.columns if column not in _HIDDEN]
    floats = [column for column in shown if pd.api.types.is_float_dtype(table[column])]
    if best is None:
        best = [column for column in floats if not column.startswith("baseline_")]
    bold = {column: _winners(table, column, floats) for column in best}
    marks = iter([*ascii_lowercase, *map("".join, product(ascii_lowercase, repeat=2))])
    footnotes: dict[str, str] = {}
    rows = []
    for position, (_, row) in enumerate(table.iterrows()):
        note = row.get("note", "")
        if note and note not in footnotes:
            footnotes[note] = next(marks)
        mark = footnotes.get(note, "")
        lacks = bool(row[floats].isna().any())
        cells = []
        for column in shown:
            cell = _Cell(_text(row[column], column, column in floats))
            cell.bold = column in bold and bool(bold[column][position])
            about_missing = lacks and column in floats
            if about_missing and (pd.isna(row[column]) or column in _MEANS):
                cell.mark = mark
            cells.append(cell)
        if row.get("source") == "paper":
            named = shown.index("architecture") if pd.notna(row.get("architecture")) else 0
            cells[named].text += " (paper)"
        if not lacks:
            cells[0].mark = mark
        rows.append(cells)
    header = [_HEADERS.get(column, column) for column in shown]
    numeric = [pd.api.types.is_numeric_dtype(table[c]) and c != "architecture" for c in shown]
    return header, numeric, rows, [(mark, text) for text, mark in footnotes.items()]


def _winners(table: pd.DataFrame, column: str, floats: list[str]) -> np.ndarray:
    """Which rows hold the column's largest value, (rows,); the paper's rows do not compete."""
    values = table[column].to_numpy(float, copy=True)
    if "source" in table:
        values[table["source"] == "paper"] = np.nan
    if column in _MEANS:  # a mean over fewer emotions is another quantity
        values[table[floats].isna().any(axis=1)] = np.nan
    if np.isnan(values).all():
        return np.zeros(len(table), bool)
    return np.isclose(values, np.nanmax(values), rtol=0, atol=1e-12)


def _text(value: object, column: str, is_float: bool) -> str:
    if pd.isna(value):
        return "–" if is_float else ""
    if column == "encoder":
        return label(str(value))
    if column == "architecture":
        return regression_model(value)
    if is_float:
        return f"{value:+.1f}" if column.endswith("percent") else f"{value:.3f}"
    return str(value)


def _escape_markdown(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "|*<" else letter for letter in text)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "ρ": r"$\rho$",
    "–": "--",
    "−": "$-$",
    "…": r"\ldots{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
