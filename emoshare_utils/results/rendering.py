"""A data frame as a table to read: CSV, HTML and LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import pandas as pd

from emoshare_utils.names import architecture_name, label

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
_MEANS = ("mean", "mean_rho", "max_rho")
_PAPER_NOTE = (
    "(paper): as printed in the paper or computed from its Table 1, measured on its own corpus "
    "(ComParE 2023, devel); these rows do not compete for bold."
)
_SVR_NOTE = (
    "SVR: the challenge's baseline, a clip's mean over time and a linear support vector regression."
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
        return architecture_name(value)
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
