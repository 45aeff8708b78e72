"""Pictures of what a system is worth to each group of speakers."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.results.figures import style
from emoshare_utils.results.figures.forest import OVER_SPEAKERS


def fractions(table: pd.DataFrame) -> Figure:
    """Rho and its ceiling in each group, and beside them the fraction that is reached.

    Args:
        table: as `groups.by_group` returns it.
    """
    rows = table.reset_index(drop=True)
    names = rows["group"].where(rows["by"] == "all", rows["by"] + ": " + rows["group"])
    with style.drawing(style.PAGE_IN, 0.95 + 0.22 * len(rows)) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for y, row in enumerate(rows.itertuples()):
            for axes, value, low, high in (
                (left, row.rho, row.rho_low, row.rho_high),
                (right, row.of_ceiling, row.of_ceiling_low, row.of_ceiling_high),
            ):
                axes.plot([low, high], [y, y], **OVER_SPEAKERS)
                face = "white" if row.note else "black"
                axes.plot(value, y, "o", ms=4, mew=0.7, mec="black", mfc=face, zorder=3)
            left.plot(row.ceiling, y, "|", ms=9, mew=1.2, color=style.SHARES)
        style.name_rows(left, [f"{name} ({n})" for name, n in zip(names, rows["n_speakers"])])
        right.tick_params(axis="y", length=0)
        right.spines["left"].set_visible(False)
        left.set_xlabel("mean ρ")
        right.set_xlabel("fraction of the ceiling")
        right.axvline(rows["of_ceiling"].iloc[0], color="black", lw=0.5, ls=":")
        keys = {
            "95 % interval over speakers": Line2D([], [], **OVER_SPEAKERS),
            "ρ of the expected share": Line2D([], [], marker="|", ls="", color=style.SHARES, ms=8),
        }
        style.legend(figure, keys)
        figure.supxlabel(
            "in brackets: speakers; hollow: too few for an interval, an open question; dotted: all"
        )
    return figure


def offset_panels(table: pd.DataFrame) -> Figure:
    """Predicted less observed share: a panel per emotion, a row per group.

    Args:
        table: as `groups.offsets` returns it.
    """
    emotions = list(table["emotion"].unique())
    first = table[table["emotion"] == emotions[0]]
    names = list(first["by"] + ": " + first["group"])
    rows, columns = style.grid(len(emotions))
    height = rows * (0.45 + 0.17 * len(names)) + 0.4
    with style.drawing(style.PAGE_IN, height) as figure:
        panels = style.panels(figure, emotions)
        for axes, emotion in zip(panels, emotions):
            of = table[table["emotion"] == emotion]
            for y, row in enumerate(of.itertuples()):
                axes.plot([row.low, row.high], [y, y], **OVER_SPEAKERS)
                face = "black" if row.low > 0 or row.high < 0 else "white"
                axes.plot(row.offset, y, "o", ms=3.5, mew=0.7, mec="black", mfc=face, zorder=3)
            axes.axvline(0, color="black", lw=0.6, zorder=1)
            style.name_rows(axes, names)
        for axes in np.array(panels)[[place % columns > 0 for place in range(len(panels))]]:
            axes.tick_params(axis="y", labelleft=False)
        figure.supxlabel(
            "predicted less observed share, mean over clips; lines: 95 % intervals over speakers "
            "(none: too few); filled: leaves out 0"
        )
    return figure
