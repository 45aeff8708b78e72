"""Differences between systems with their intervals, a row each."""

import re
import textwrap
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.names import ARCHITECTURES
from emoshare_utils.results.figures import style

OVER_SPEAKERS = {"color": "0.65", "linewidth": 3, "solid_capstyle": "butt"}
OVER_CLIPS = {"color": "black", "linewidth": 0.7}


def forest(differences: pd.DataFrame, *, over_seeds: bool = False) -> Figure:
    """Differences in mean rho with their intervals, the largest first.

    A filled dot has a sign: its intervals leave out 0. For every two of many systems there is
    `matrix`.

    Args:
        differences: what `results.comparisons.compare` returned.
        over_seeds: whether its intervals are over seeds too.

    Raises:
        ValueError: nothing was compared.
    """
    if differences.empty:
        raise ValueError("no differences to draw: pass `compare` the contrast of two systems")
    rows = differences.sort_values("difference", ascending=False, kind="stable")
    names = [style.wrapped(name, 46) for name in rows["contrast"]]
    lines = sum(name.count("\n") + 1 for name in names)
    keys = {
        "95 % interval over speakers": (OVER_SPEAKERS, rows["ci_speakers_low"]),
        "95 % interval over clips": (OVER_CLIPS, rows["ci_low"]),
    }
    keys = {name: Line2D([], [], **look) for name, (look, low) in keys.items() if low.notna().any()}
    filled = "filled: all intervals leave out 0" if keys else ""
    caption = about(rows, filled, style.PAGE_IN, over_seeds)
    height = 0.8 + 0.1 * lines + 0.12 * len(names) + style.LINE_IN * (caption.count("\n") - 1)
    with style.drawing(style.PAGE_IN, height) as figure:
        axes = figure.subplots()
        for y, row in enumerate(rows.itertuples()):
            _difference(axes, row, y)
        axes.axvline(0, color="black", linewidth=0.6, zorder=1)
        style.name_rows(axes, names)
        figure.supxlabel(caption)
        if keys:
            first, *others = keys
            style.legend(
                figure, {f"{first} (in brackets)": keys[first]} | {o: keys[o] for o in others}
            )
    return figure


def _difference(axes: Axes, row: NamedTuple, y: float) -> None:
    """One row: thick over speakers, thin over clips, a dot, the numbers at the right."""
    axes.plot([row.ci_speakers_low, row.ci_speakers_high], [y, y], **OVER_SPEAKERS)
    axes.plot([row.ci_low, row.ci_high], [y, y], **OVER_CLIPS)
    face = "black" if row.sign else "white"
    axes.plot(row.difference, y, "o", ms=4, mew=0.7, mec="black", mfc=face, zorder=3)
    style.at_right(axes, y, " ".join(in_words(row)))


def in_words(row: NamedTuple) -> list[str]:
    """A difference, and in brackets its interval: over speakers where known, else over clips."""
    if not np.isfinite(row.difference):
        return ["no ρ"]
    for low, high in ((row.ci_speakers_low, row.ci_speakers_high), (row.ci_low, row.ci_high)):
        if np.isfinite(low):
            return [style.signed(row.difference), f"[{style.signed(low)}, {style.signed(high)}]"]
    return [style.signed(row.difference)]


def about(differences: pd.DataFrame, marks: str, width_in: float, over_seeds: bool = False) -> str:
    """The caption: what is compared on how much, what marks a sign, names in short, and notes."""
    first, seeds = differences.iloc[0], differences["seeds"].min()
    of = f" of {first['n_speakers']:.0f} speakers" if first["n_speakers"] else ""
    trained = "one seed each" if seeds == 1 else f"means over {seeds:.0f} seeds or more"
    trained += ", resampled too" if over_seeds and seeds > 1 else ""
    contrasts = "\n".join(differences["contrast"])
    short = [
        f"{look.short}: {look.name}"
        for look in ARCHITECTURES.values()
        if look.short != look.name and re.search(rf"\b{re.escape(look.short)}\b", contrasts)
    ]
    notes = [note for note in differences.get("note", pd.Series(dtype=str)).unique() if note]
    lines = [
        f"difference in mean ρ, {first['split']}, n = {first['n']:,.0f} clips{of}; {trained}",
        "; ".join(filter(None, [marks, *short])),
        *notes,
    ]
    width = round(style.LETTERS_PER_INCH * width_in)
    return "\n".join(textwrap.fill(line, width) for line in filter(None, lines))
