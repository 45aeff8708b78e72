"""Differences between systems with their intervals."""

import textwrap
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.results.figures.style import GREY, PAGE_IN, _signed, is_simulated, style


def forest(differences: pd.DataFrame, *, listeners: str) -> Figure:
    """Differences in mean rho with their intervals, one row a comparison of systems.

    A filled dot has a sign: its intervals leave out 0.

    Args:
        differences: what `metrics.compare` returned.
        listeners: who rated, for the picture.

    Raises:
        ValueError: nothing was compared.
    """
    if differences.empty:
        raise ValueError("no differences to draw: pass metrics.compare two systems or more")
    by_speaker = bool(differences["ci_speakers_low"].notna().any())
    wrapped = [textwrap.fill(name, 46) for name in differences["contrast"]]
    lines = sum(name.count("\n") + 1 for name in wrapped)
    with mpl.rc_context(style(PAGE_IN, 0.8 + 0.1 * lines + 0.12 * len(wrapped))):
        figure = Figure()
        axes = figure.subplots()
        for y, row in enumerate(differences.itertuples()):
            _difference(axes, row, y)
        axes.axvline(0, color="black", linewidth=0.6, zorder=1)
        axes.spines["left"].set_visible(False)
        axes.set_yticks(range(len(wrapped)), wrapped)
        axes.set_ylim(len(wrapped) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        first = differences.iloc[0]
        of = f" of {first['n_speakers']} speakers" if first["n_speakers"] else ""
        seeds = differences["seeds"].min()
        trained = "one seed each" if seeds == 1 else f"means over {seeds} seeds or more"
        axes.set_xlabel(
            f"difference in mean ρ, {first['split']}, n = {first['n']:,} clips{of}; {trained}\n"
            "A1, A2: Architecture 1, 2; filled: all intervals leave out 0"
        )
        handles = [Line2D([], [], color=GREY, linewidth=2.2)]
        names = ["95 % interval over clips"]
        if by_speaker:
            handles.append(Line2D([], [], color="black", linewidth=0.7))
            names.append("over speakers (and in brackets)")
        title = listeners if is_simulated(listeners) else None
        figure.legend(
            handles, names, loc="outside upper center", ncols=2, title=title, title_fontsize=7
        )
    return figure


def _difference(axes: Axes, row: NamedTuple, y: float) -> None:
    """One row of a forest: thick over clips, thin over speakers, a dot, the numbers at right."""
    axes.plot([row.ci_low, row.ci_high], [y, y], color=GREY, linewidth=2.2, solid_capstyle="butt")
    widest = [row.ci_speakers_low, row.ci_speakers_high]
    axes.plot(widest, [y, y], color="black", linewidth=0.7)
    face = "black" if row.sign else "white"
    axes.plot(row.difference, y, "o", ms=4, mew=0.7, mec="black", mfc=face, zorder=3)
    low, high = widest if np.isfinite(widest[0]) else (row.ci_low, row.ci_high)
    said = "no ρ"
    if np.isfinite(row.difference):
        said = f"{_signed(row.difference)} [{_signed(low)}, {_signed(high)}]"
    axes.text(1.01, y, said, transform=axes.get_yaxis_transform(), va="center", fontsize=6.5)
