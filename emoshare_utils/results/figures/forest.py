"""Differences between systems with their intervals."""

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

OVER_CLIPS = {"color": style.GREY, "linewidth": 2.2, "solid_capstyle": "butt"}
OVER_SPEAKERS = {"color": "black", "linewidth": 0.7}


def forest(differences: pd.DataFrame, *, over_seeds: bool = False) -> Figure:
    """Differences in mean rho with their intervals, one row per comparison of systems.

    A filled dot has a sign: its intervals leave out 0.

    Args:
        differences: what `results.comparisons.compare` returned.
        over_seeds: whether its intervals are over seeds too.

    Raises:
        ValueError: nothing was compared.
    """
    if differences.empty:
        raise ValueError("no differences to draw: pass `compare` the contrast of two systems")
    names = [style.wrapped(name, 46) for name in differences["contrast"]]
    lines = sum(name.count("\n") + 1 for name in names)
    caption = _caption(differences, over_seeds)
    height = 0.8 + 0.1 * lines + 0.12 * len(names) + style.LINE_IN * (caption.count("\n") - 1)
    with style.drawing(style.PAGE_IN, height) as figure:
        axes = figure.subplots()
        for y, row in enumerate(differences.itertuples()):
            _difference(axes, row, y)
        axes.axvline(0, color="black", linewidth=0.6, zorder=1)
        style.name_rows(axes, names)
        figure.supxlabel(caption)
        keys = {"95 % interval over clips": Line2D([], [], **OVER_CLIPS)}
        if differences["ci_speakers_low"].notna().any():
            keys["over speakers (and in brackets)"] = Line2D([], [], **OVER_SPEAKERS)
        style.legend(figure, keys)
    return figure


def _difference(axes: Axes, row: NamedTuple, y: float) -> None:
    """One row: thick over clips, thin over speakers, a dot, the numbers at the right."""
    clips = row.ci_low, row.ci_high
    speakers = row.ci_speakers_low, row.ci_speakers_high
    axes.plot(clips, [y, y], **OVER_CLIPS)
    axes.plot(speakers, [y, y], **OVER_SPEAKERS)
    face = "black" if row.sign else "white"
    axes.plot(row.difference, y, "o", ms=4, mew=0.7, mec="black", mfc=face, zorder=3)
    low, high = map(style.signed, speakers if np.isfinite(speakers[0]) else clips)
    known = np.isfinite(row.difference)
    style.at_right(axes, y, f"{style.signed(row.difference)} [{low}, {high}]" if known else "no ρ")


def _caption(differences: pd.DataFrame, over_seeds: bool) -> str:
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
    return "\n".join(
        [
            f"difference in mean ρ, {first['split']}, n = {first['n']:,.0f} clips{of}; {trained}",
            "; ".join(["filled: all intervals leave out 0", *short]),
            *(textwrap.fill(note, 110) for note in notes),
        ]
    )
