"""Differences between every two feature sets, each with its interval."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from emoshare_utils.results.figures import style
from emoshare_utils.results.figures.forest import about, in_words

NAME_IN, NAME_LETTERS = 1.25, 24  # of a row's name, or of a header's line
CELL_IN, NARROW_IN = (0.84, 0.32), 0.4  # a cell's width and height, and that of a narrow one
HEADER_LINE_IN, HEADER_PAD = 0.115, 0.06  # of a header's line; beside it, in cells
SHADES = mpl.colormaps["Greys"].resampled(256)
LIGHTEST, DARKEST = 0.08, 0.4  # of the shades: black text is read on all of them


def matrix(differences: pd.DataFrame, systems: Sequence[str]) -> Figure:
    """Differences in mean rho, column less row: a cell for every two systems, the best first.

    A cell has the difference and its 95 % interval, over speakers where they are known, else over
    clips. It is bold and shaded, the darker the larger, where all intervals leave out 0. A column's
    name starts above its first cell and runs to the right, where no cells are.

    Args:
        differences: what `results.comparisons.compare` returned for every two systems, "a − b"
            with a before b in `systems`, in the order of `itertools.combinations`.
        systems: their names, the best first.

    Raises:
        ValueError: fewer than two systems, or other contrasts than theirs.
    """
    pairs = list(combinations(range(len(systems)), 2))
    expected = [f"{systems[column]} − {systems[row]}" for column, row in pairs]
    if not pairs or list(differences["contrast"]) != expected:
        raise ValueError(
            f"{len(differences)} differences of {len(systems)} systems: expected two systems or "
            f"more and one difference for every two, {', '.join(expected[:2]) or 'none'}, ..."
        )
    whole = NAME_IN + CELL_IN[0] * (len(systems) - 1)
    width = min(max(whole, style.COLUMN_IN), style.PAGE_IN)
    narrow = whole > style.PAGE_IN
    caption = about(differences, _marks(differences), width)
    names = [style.wrapped(name, NAME_LETTERS) for name in systems]
    tallest = HEADER_LINE_IN * max(name.count("\n") + 1 for name in names) + 0.04
    row_in = max(NARROW_IN if narrow else CELL_IN[1], tallest)
    height = 0.1 + row_in * len(systems) + style.LINE_IN * (caption.count("\n") + 1)
    with style.drawing(width, height) as figure:
        axes = figure.subplots()
        largest = differences["difference"].abs().max()
        for (column, row), cell in zip(pairs, differences.itertuples()):
            _cell(axes, cell, column, row, largest, narrow)
        for column, name in enumerate(names[:-1]):
            place = column - 0.5 + HEADER_PAD, column + 0.5 - HEADER_PAD
            axes.text(*place, name, ha="left", va="bottom", size=6.5)
        style.name_rows(axes, ["", *names[1:]])
        axes.set(xlim=(-0.5, len(systems) - 1.5), xticks=[])
        axes.spines["bottom"].set_visible(False)
        figure.supxlabel(caption)
    return figure


def _cell(
    axes: Axes, cell: NamedTuple, column: int, row: int, largest: float, narrow: bool
) -> None:
    """One difference, and its interval below it: on a line, in a narrow cell on two."""
    known = np.isfinite(cell.difference)
    face = "white"
    if known and cell.sign:
        face = SHADES(LIGHTEST + (DARKEST - LIGHTEST) * abs(cell.difference) / largest)
    box = {"facecolor": face, "edgecolor": "0.8", "linewidth": 0.5, "clip_on": False}
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **box))
    said = in_words(cell)
    if narrow:
        said = [part for words in said for part in style.wrapped(words, 9).split("\n")]
    step = 0.2 if len(said) < 3 else 0.14
    for line, words in enumerate(said):
        y = row + step * (2 * line - len(said) + 1)
        look = {"fontweight": "bold"} if cell.sign and not line else {}
        size = 5.5 if line else 6.5
        axes.text(column, y, words, ha="center", va="center", fontsize=size, **look)


def _marks(differences: pd.DataFrame) -> str:
    """Which interval a cell has, and what bold means."""
    said = "column − row, and its 95 % interval over"
    if differences["ci_speakers_low"].notna().any():
        return f"{said} speakers; bold: this and the one over clips leave out 0"
    if differences["ci_low"].notna().any():
        return f"{said} clips; bold: it leaves out 0"
    return "column − row"
