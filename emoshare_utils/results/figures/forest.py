"""Differences between systems with their intervals."""

import re
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


def forest(differences: pd.DataFrame) -> Figure:
    """Differences in mean rho with their intervals, one row per comparison of systems.

    A filled dot has a sign: its intervals leave out 0.

    Args:
        differences: what `results.comparisons.compare` returned.

    Raises:
        ValueError: nothing was compared.
    """
    if differences.empty:
        raise ValueError("no differences to draw: pass `compare` the contrast of two systems")
    names = [style.wrapped(name, 46) for name in differences["contrast"]]
    lines = sum(name.count("\n") + 1 for name in names)
    with style.drawing(style.PAGE_IN, 0.8 + 0.1 * lines + 0.12 * len(names)) as figure:
        axes = figure.subplots()
        for y, row in enumerate(differences.itertuples()):
            _difference(axes, row, y)
        axes.axvline(0, color="black", linewidth=0.6, zorder=1)
        style.name_rows(axes, names)
        figure.supxlabel(_caption(differences))
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


def _caption(differences: pd.DataFrame) -> str:
    first, seeds = differences.iloc[0], differences["seeds"].min()
    of = f" of {first['n_speakers']} speakers" if first["n_speakers"] else ""
    trained = "one seed each" if seeds == 1 else f"means over {seeds} seeds or more"
    contrasts = "\n".join(differences["contrast"])
    short = [
        f"{look.short}: {look.name}"
        for look in ARCHITECTURES.values()
        if look.short != look.name and re.search(rf"\b{re.escape(look.short)}\b", contrasts)
    ]
    return (
        f"difference in mean ρ, {first['split']}, n = {first['n']:,} clips{of}; {trained}\n"
        + "; ".join(["filled: all intervals leave out 0", *short])
    )
