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

NAME_IN, CELL_IN = 1.15, (0.84, 0.32)  # the rows' names; width and height of a cell
SHADES = mpl.colormaps["Greys"].resampled(256)
LIGHTEST, DARKEST = 0.08, 0.4  # of the shades: black text is read on all of them


def matrix(differences: pd.DataFrame, systems: Sequence[str]) -> Figure:
    """Differences in mean rho, column less row: a cell for every two systems, the best first.

    A cell has the difference and its 95 % interval, over speakers where they are known, else over
    clips. It is bold and shaded, the darker the larger, where all intervals leave out 0.

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
    width = max(NAME_IN + CELL_IN[0] * (len(systems) - 1), style.COLUMN_IN)
    caption = about(differences, _marks(differences), width)
    height = 0.1 + CELL_IN[1] * len(systems) + style.LINE_IN * (caption.count("\n") + 1)
    with style.drawing(width, height) as figure:
        axes = figure.subplots()
        largest = differences["difference"].abs().max()
        for (column, row), cell in zip(pairs, differences.itertuples()):
            _cell(axes, cell, column, row, largest)
        for column, name in enumerate(systems[:-1]):
            axes.text(column, column, style.wrapped(name, 15), ha="center", va="center", size=6.5)
        style.name_rows(axes, ["", *(style.wrapped(name, 20) for name in systems[1:])])
        axes.set(xlim=(-0.5, len(systems) - 1.5), xticks=[])
        axes.spines["bottom"].set_visible(False)
        figure.supxlabel(caption)
    return figure


def _cell(axes: Axes, cell: NamedTuple, column: int, row: int, largest: float) -> None:
    """One difference, and its interval below it."""
    known = np.isfinite(cell.difference)
    face = "white"
    if known and cell.sign:
        face = SHADES(LIGHTEST + (DARKEST - LIGHTEST) * abs(cell.difference) / largest)
    box = {"facecolor": face, "edgecolor": "0.8", "linewidth": 0.5, "clip_on": False}
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **box))
    said = in_words(cell)
    for line, words in enumerate(said):
        y = row + 0.2 * (2 * line - len(said) + 1)
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
