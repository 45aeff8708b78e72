"""A data frame as a table to read: pandas Styler for the notebooks, and CSV, HTML and LaTeX files.

Some columns have a meaning: `source` tells the "paper" rows from "ours", `note` becomes a footnote,
float columns are numbers with three decimals. Whatever stands in a cell, heading, caption or note
is text: Styler escapes it for HTML and LaTeX.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from emoshare_utils.files import atomic, checksum, write_csv
from emoshare_utils.names import ARCHITECTURES, label
from emoshare_utils.results.enough import UNRANKED, flat_emotions
from emoshare_utils.results.metrics import METRICS
from emoshare_utils.results.shared_clips import BOUNDS

_HEADERS = {
    "encoder": "Features",
    "architecture": "Regression model",
    "mean": "Mean",
    "mean_rho": "Average ρ (a)",
    "baseline_mean_rho": "Baseline (b)",
    "change_percent": "Change (%) 100(a−b)/b",
    "max_rho": "Average of the best per emotion (a)",
    "baseline_max_rho": "Baseline (b), same reading",
    "max_change_percent": "Change (%), same reading",
    "n": "clips",
    "n_speakers": "speakers",
    "ci_low": "low (clips)",
    "ci_high": "high (clips)",
    "ci_speakers_low": "low (speakers)",
    "ci_speakers_high": "high (speakers)",
}
_HIDDEN = ["source", "baseline", "n_emotions", "seeds", "note"]
_MEANS = ["mean", "mean_rho", "max_rho"]
_BASELINES = ["baseline_mean_rho", "baseline_max_rho"]
_PERCENTAGES = ["change_percent", "max_change_percent"]
FONT = "0.8em"  # so that nine emotions fit beside JupyterLab's list of files
_UNRESOLVED = "not resolved"  # a percentage that could be computed, and says nothing
_PAPER_NOTE = (
    "(paper): as printed in the paper or computed from its Table 1, measured on its own corpus "
    "(ComParE 2023, devel); these rows do not compete for bold."
)
_SVR_NOTE = (
    "SVR: the challenge's baseline, a clip's mean over time and a linear support vector regression."
)
_LATEX_LETTERS = {"ρ": r"$\rho$", "–": "--", "−": "$-$", "…": r"\ldots{}"}
_LATEX_LETTERS |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}


def style(
    table: pd.DataFrame,
    caption: str,
    *,
    listeners: str = "listeners",
    notes: Sequence[str] = (),
    best: Sequence[str] | None = None,
) -> Styler:
    """Style a table for display: caption and notes are below it.

    Args:
        table: what `table1` or `table2` returned, or any other data frame.
        caption: one paragraph.
        listeners: whose shares they are, as `Corpus.listeners`; the caption says so, unless they
            are just "listeners".
        notes: sentences below the table.
        best: the columns whose best value among our own rows is bold, ties included, decided before
            rounding. By default every float column but a baseline's.
    """
    if table.empty:
        caption = f"{caption} (There is none here.)"
    styler, align, caption, below = _styled("html", table, caption, listeners, notes, best)
    left = [f".col{place}" for place, side in enumerate(align) if side == "l"]
    css = {"": f"font-size: {FONT}", "th, td": "text-align: right; padding: 0.4em 0.25em"}
    css |= {", ".join(left): "text-align: left"} if left else {}
    css["caption"] = "caption-side: bottom; text-align: left"
    styler.set_table_styles([{"selector": name, "props": css[name]} for name in css])
    # Without this class JupyterLab would typeset what stands between two dollar signs.
    styler.set_table_attributes('class="tex2jax_ignore mathjax_ignore"')
    return styler.set_caption("<br>\n".join([caption, *below]))


def scores(table: pd.DataFrame, caption: str, **options: Any) -> Styler:
    """Style systems' mean scores for display: an interval is one column, such as "0.31 to 0.42".

    Args:
        table: rows of a summary of `score`, or of anything with columns named as there.
        caption, options: as in `style`; nothing is bold.
    """
    table = table.rename(columns={"mean_rho": "mean ρ"})
    for (low, high), over in zip((BOUNDS[:2], BOUNDS[2:]), ("clips", "speakers")):
        ends = zip(table[low], table[high])
        texts = [f"{a:.3f} to {b:.3f}" if pd.notna(a) else "–" for a, b in ends]
        table.insert(table.columns.get_loc(low), f"95 % ({over})", texts)
        table = table.drop(columns=[low, high])
    return style(table, caption, best=(), **options)


def write(table: pd.DataFrame, folder: Path, name: str, caption: str, **options: Any) -> Styler:
    """Write `<name>.csv` (every column, unrounded), `<name>.html` and `<name>.tex`.

    Args:
        table, caption, options: as in `style`.

    Returns:
        The table for display, as from `style`.
    """
    styler = style(table, caption, **options)
    texts = {"html": styler.to_html(doctype_html=True)}
    texts["tex"] = _latex(table, name, caption, **options)
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / f"{name}.csv", table)
    for ending, text in texts.items():
        with atomic(folder / f"{name}.{ending}") as file:
            file.write(text.encode())
    return styler


def _latex(table: pd.DataFrame, name: str, caption: str, **options: Any) -> str:
    if caption.startswith("Table ") and ": " in caption:  # LaTeX numbers its tables itself
        caption = caption.partition(": ")[2]
    styler, align, caption, below = _styled("latex", table, caption, **options)
    named = {"caption": caption, "label": f"tab:{name}", "column_format": align}
    place = {"environment": "table*", "position": "t", "position_float": "centering"}
    text = styler.to_latex(**named, **place, hrules=True, convert_css=True)
    begin, end = r"\begin{tabular}", "\\end{tabular}\n"
    text = text.replace(begin, "\\begin{adjustbox}{max width=\\textwidth}\n" + begin)
    notes = "\\par\\smallskip\\footnotesize\n" + " \\\\\n".join(below) + "\n" if below else ""
    text = text.replace(end, end + "\\end{adjustbox}\n" + notes)
    for letter, command in _LATEX_LETTERS.items():
        text = text.replace(letter, command)
    # LaTeX takes what follows the end of a row for its option, also on the next line.
    text = re.sub(r"(\\\\|\\\w+rule)\n([*\[])", r"\1\n{\2}", text)
    return "% needs \\usepackage{booktabs, adjustbox}\n" + text


def _styled(
    mode: str,
    table: pd.DataFrame,
    caption: str,
    listeners: str = "listeners",
    notes: Sequence[str] = (),
    best: Sequence[str] | None = None,
) -> tuple[Styler, str, str, list[str]]:
    """Return the cells, the columns' sides ("llrr"), the caption and the notes, all escaped.

    `mode` is "html" or "latex".
    """
    given = table.reset_index(drop=True)
    table = pd.DataFrame({"source": "ours", "note": ""}, given.index).assign(**given)
    shown = [column for column in table if column not in _HIDDEN]
    numbers = [column for column in shown if pd.api.types.is_float_dtype(table[column])]
    if "mean" in numbers:  # before the emotions, so that it is seen without scrolling
        shown.remove("mean")
        shown.insert(
            next(i for i, column in enumerate([*shown, "mean"]) if column in numbers), "mean"
        )
    right = [pd.api.types.is_numeric_dtype(table[c]) and c != "architecture" for c in shown]
    if listeners != "listeners" and listeners not in caption:
        caption = f"{caption} Shares are those of {listeners}."
    cells = pd.DataFrame({c: [_text(value, c, c in numbers) for value in table[c]] for c in shown})
    for row in table.index[table["source"] == "paper"]:
        named = "architecture" if cells.get("architecture", {}).get(row) else shown[0]
        cells.loc[row, named] += " (paper)"
    for a, b, change in zip(_MEANS[1:], _BASELINES, _PERCENTAGES):
        if change in cells:
            known = table[a].notna() & table[b].notna() & table[change].isna()
            cells[change] = cells[change].mask(known, _UNRESOLVED)
    bold = _best(table, numbers, best).reindex(columns=shown, fill_value=False)
    styler = Styler(cells, uuid=checksum(f"{caption}{cells.to_csv()}".encode()), cell_ids=False)
    styler.hide(axis="index").format(escape=mode)
    styler.format_index(lambda column: _escape(_header(column), mode), axis="columns")
    styler.apply(lambda _: np.where(bold, "font-weight: bold", ""), axis=None)
    marks = _footnote_marks(table["note"], mode)
    for row, note in enumerate(table["note"]):
        where = _concerned(table.loc[row], numbers, note) or shown[:1]
        mark = marks.get(note, "")
        # Not text + mark: Styler's escaped text would escape the mark too.
        styler.format(lambda text, mark=mark: f"{text}{mark}", ([row], where), escape=mode)
    below = [f"{mark} {_escape(note, mode)}." for note, mark in marks.items()]
    below += [_escape(note, mode) for note in [*_automatic_notes(table), *notes]]
    return styler, "".join("lr"[side] for side in right), _escape(caption, mode), below


def _escape(text: str, mode: str) -> str:
    """Escape as Styler does, which escapes cells only: by way of a table of one cell."""
    cell = Styler(pd.DataFrame([text])).hide(axis="index").hide(axis="columns")
    return cell.format(escape=mode).to_string().rstrip("\n")


def _text(value: object, column: str, is_float: bool) -> str:
    if pd.isna(value):
        return "–" if is_float else ""
    if column == "encoder":
        return label(str(value))
    if column == "architecture":
        return ARCHITECTURES[value].name
    if is_float:
        return f"{value:+.1f}" if column in _PERCENTAGES else f"{value:.3f}"
    return str(value)


def _header(column: str) -> str:
    """Return the heading of a column; "mean_mae" becomes "mean MAE"."""
    metric = column.removeprefix("mean_")
    if column in _HEADERS or metric not in METRICS:
        return _HEADERS.get(column, column)
    return f"{'mean ' if metric != column else ''}{METRICS[metric].label}"


def _concerned(row: pd.Series, numbers: list[str], note: str) -> list[str]:
    """The columns of numbers that a row's note is about: missing ones, those that hardly vary.

    The means stand out with them, but not for a missing percentage alone.
    """
    concerned = {column for column in numbers if pd.isna(row[column])}
    if concerned - {*_PERCENTAGES} or UNRANKED in note:
        concerned |= {*_MEANS}
    concerned |= {*flat_emotions(note, numbers)}
    return [column for column in numbers if column in concerned]


def _best(table: pd.DataFrame, numbers: list[str], best: Sequence[str] | None) -> pd.DataFrame:
    """Find the best values of each column; not the paper's rows, nor what hardly varies."""
    if best is None:
        best = [column for column in numbers if column not in (*_BASELINES, *_PERCENTAGES)]
    values = table[list(best)].astype(float)
    for column in values:
        metric = column.removeprefix("mean_")
        if metric in METRICS and not METRICS[metric].higher_is_better:
            values[column] *= -1
    values[table["source"] == "paper"] = np.nan
    for row, note in table["note"].fillna("").items():
        hardly = {*flat_emotions(note, list(values)), *(_MEANS if UNRANKED in note else ())}
        values.loc[row, [column for column in values if column in hardly]] = np.nan
    return values >= values.max() - 1e-12


def _footnote_marks(notes: pd.Series, mode: str) -> dict[str, str]:
    """Return each note once, and its mark: a, b, ..., z, aa, bb, ..."""
    superscript = {"html": "<sup>{}</sup>", "latex": r"\textsuperscript{{{}}}"}[mode]
    marks = [
        letter * times for times in range(1, len(notes) // 26 + 2) for letter in ascii_lowercase
    ]
    return dict(zip(filter(None, notes.unique()), map(superscript.format, marks)))


def _automatic_notes(table: pd.DataFrame) -> list[str]:
    notes = []
    architecture = table.get("architecture", pd.Series(dtype="Int64"))
    if "seeds" in table and table["seeds"].max() > 1:
        networks = (table["source"] == "ours") & (architecture != 0)
        few, many = table.loc[networks, "seeds"].agg(["min", "max"])
        seeds = f"{many}" if few == many else f"{few} to {many}"
        notes.append(f"Our numbers are means over {seeds} seeds.")
    notes += [_PAPER_NOTE] if (table["source"] == "paper").any() else []
    return notes + ([_SVR_NOTE] if (architecture == 0).any() else [])
