"""Rho of k listeners, and where a system stands on that curve."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emoshare_utils.names import ARCHITECTURES
from emoshare_utils.results.figures import style
from emoshare_utils.results.listeners import TARGET, worth_in_words

CURVE = {"color": "black", "marker": "o", "ms": 2.5, "lw": 0.8, "elinewidth": 0.6, "capsize": 1.5}
HEAD = {"ms": 5, "mew": 0, "clip_on": False, "zorder": 4}
PANEL = {"color": style.GREY, "linewidth": 0.6, "linestyle": (0, (1, 1.5))}


def worth(table: pd.DataFrame, architecture: int, split: str = "devel") -> Figure:
    """Draw rho of 1, 2, ... other listeners, of other panels, and of a system: its worth.

    Args:
        table: what `results.listeners.worth_in_listeners` returned.
        architecture: the system's, for its colour.
        split: whose clips these are.

    Raises:
        ValueError: the table is empty.
    """
    if table.empty:
        raise ValueError("no listeners to draw: the corpus has no single votes for these clips")
    is_curve = table["listeners"].notna()
    *panels, system = table[~is_curve].itertuples()
    caption = _caption(table, split)
    with style.drawing(style.COLUMN_IN, 2.3 + style.LINE_IN * caption.count("\n")) as figure:
        axes = figure.subplots()
        curve = table[is_curve]
        error = [curve["rho"] - curve["ci_speakers_low"], curve["ci_speakers_high"] - curve["rho"]]
        known = curve["ci_speakers_low"].notna().all()
        axes.errorbar(curve["listeners"], curve["rho"], error if known else None, **CURVE)
        for panel in panels:
            axes.axhline(panel.rho, **PANEL)
        axes.set_xlim(0, len(curve) + 0.5)
        axes.set_xticks(range(len(curve) + 1))
        axes.set(xlabel="other listeners", ylabel=f"mean ρ against {TARGET} listeners")
        colour = ARCHITECTURES[architecture].colour
        _system(axes, system, colour, len(curve) + 0.5)
        _names(axes, [*panels, system], {system.who: colour})
        figure.supxlabel(caption)
    return figure


def _system(axes: Axes, system: tuple, colour: str, right: float) -> None:
    """A line at its rho, and down from where it meets the curve, with both intervals.

    The interval of its worth is a bar on the x axis, an arrow where it ends beyond the curve.
    """
    meets = min(system.worth, right)
    line = {"color": colour, "linewidth": 1}
    axes.plot([0, meets], [system.rho] * 2, **line)
    if np.isfinite(system.ci_speakers_low):
        interval = system.ci_speakers_low, system.ci_speakers_high
        axes.axhspan(*interval, color=colour, alpha=0.15, linewidth=0)
        ends = np.minimum([system.worth_low, system.worth_high], right)
        foot = {"linewidth": 3, "solid_capstyle": "butt", "clip_on": False, "zorder": 3}
        axes.plot(ends, [0, 0], transform=axes.get_xaxis_transform(), color=colour, **foot)
        if system.worth_high > right:
            axes.plot(right, 0, ">", transform=axes.get_xaxis_transform(), color=colour, **HEAD)
    low = axes.get_ylim()[0]
    if np.isfinite(system.worth):
        axes.plot([meets] * 2, [low, system.rho], **line)
    axes.set_ylim(bottom=low)


def _names(axes: Axes, rows: list[tuple], colours: dict[str, str]) -> None:
    """The names at the right, the lowest first, each far enough above the one before."""
    low, high = axes.get_ylim()
    y = -np.inf
    for row in sorted(rows, key=lambda row: row.rho):
        name = style.wrapped(row.who, 22)
        y = max(row.rho, y + 0.065 * (high - low) * (1 + name.count("\n")))
        style.at_right(axes, y, name, colours.get(row.who, "black"))


def _caption(table: pd.DataFrame, split: str) -> str:
    first, system = table.iloc[0], table.iloc[-1]
    of = f" of {first['n_speakers']} speakers" if first["n_speakers"] else ""
    lines = [
        f"mean over emotions, {split}, n = {first['n']:,} clips{of}",
        f"worth: {worth_in_words(table).iloc[-1]}",
    ]
    if np.isfinite(system["ci_speakers_low"]):
        lines.append("error bars, band and brackets: 95 % interval over speakers")
    if np.isfinite(system["worth_low"]):
        beyond = " (arrow: no end)" if np.isinf(system["worth_high"]) else ""
        lines.append(f"bar on the x axis: interval of the worth{beyond}")
    return style.caption(lines, style.COLUMN_IN)
