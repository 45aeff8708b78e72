"""How rho grows with clips, speakers and listeners (notebook 14)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emoshare_utils.results.figures import style
from emoshare_utils.results.figures.forest import OVER_SPEAKERS
from emoshare_utils.studies.planning import KINDS

NAMES = {
    "clips": "train clips",
    "speakers": "train speakers",
    "listeners": "listeners of each clip",
}
POINTS = {"color": "black", "marker": "o", "ms": 3, "lw": 0.8}
SEEDS = {"color": "black", "lw": 0.8}
LETTER = 0.075  # the width of a tick's letter in a panel


def planning(table: pd.DataFrame, widths: pd.DataFrame, n_speakers: int, of: str = "") -> Figure:
    """Mean rho by how many, a panel for each kind; and the interval's width by devel speakers.

    Args:
        table: as `planning.curve` returns it.
        widths: as `planning.interval_width` returns it.
        n_speakers: of devel, from whom the width's are drawn.
        of: the system, for the caption.
    """
    kinds = [kind for kind in KINDS if (table["kind"] == kind).any()]
    seeds = int(table["seeds"].min())
    lines = [
        of,
        f"left: means of {seeds} seeds, from the lowest to the highest; grey: 95 % interval over "
        "devel speakers, first seed",
        f"right: devel speakers drawn with replacement from {n_speakers}"
        if len(widths)
        else "right: too few devel speakers to draw from",
    ]
    caption = style.caption(lines, style.PAGE_IN)
    with style.drawing(style.PAGE_IN, 2.1 + style.LINE_IN * caption.count("\n")) as figure:
        ratios = [1] * len(kinds) + [1.1]
        *panels, last = figure.subplots(1, len(kinds) + 1, width_ratios=ratios)
        for axes, kind in zip(panels, kinds):
            if axes is not panels[0]:
                axes.sharey(panels[0])
                axes.tick_params(labelleft=False)
            rows = table[table["kind"] == kind].astype({"number": float}).sort_values("number")
            for row in rows.itertuples():
                axes.plot([row.number] * 2, [row.low, row.high], **OVER_SPEAKERS)
                axes.plot([row.number] * 2, [row.lowest, row.highest], **SEEDS)
            axes.plot(rows["number"], rows["mean_rho"].astype(float), **POINTS)
            axes.set_xscale("log", base=2)
            _ticks(axes, rows["number"])
            axes.set(xlabel=NAMES[kind], ylim=_limits(table))
        panels[0].set_ylabel("mean devel ρ")
        last.plot(widths["speakers"], widths["width"], **POINTS)
        last.set_xscale("log", base=2)
        _ticks(last, widths["speakers"])
        last.set(xlabel="devel speakers", ylabel="width of the 95 % interval of ρ")
        last.set_ylim(bottom=0)
        figure.supxlabel(caption)
    return figure


def _ticks(axes: Axes, numbers: pd.Series) -> None:
    """A tick at each number, named where it does not touch the one before; a margin beside."""
    places = sorted(numbers)
    axes.minorticks_off()
    if not places:
        return
    reach = max(np.log2(places[-1] / places[0]), 1)
    axes.set_xlim(places[0] / 2 ** (0.12 * reach), places[-1] * 2 ** (0.12 * reach))
    names, end = [], -np.inf
    for place in places:
        name, at = f"{place:,.0f}", np.log2(place) / reach
        half = LETTER * len(name) / 2
        names.append(name if at - half > end else "")
        end = at + half if names[-1] else end
    axes.set_xticks(places, names)


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """One scale for all panels."""
    low = table[["low", "lowest"]].astype(float).min(axis=None)
    high = table[["high", "highest"]].astype(float).max(axis=None)
    return low - 0.02, high + 0.02
