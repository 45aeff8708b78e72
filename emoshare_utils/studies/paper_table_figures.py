"""Pictures of how sure the numbers of the paper's Table 1 are."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.names import ARCHITECTURES, label
from emoshare_utils.results.figures import style
from emoshare_utils.studies.paper_table import CLIPS, LISTENERS, fisher_interval

BAND = "0.85"
PROPOSED = ARCHITECTURES[2]  # the paper's own, which it sets against the others


def draw_means(systems: pd.DataFrame) -> Figure:
    """The means of Table 1 with their 95 % intervals, the best feature set first.

    A mean over nine emotions scatters as one emotion does if the nine errors are the same (thin
    line), and a third as much if they are independent (thick line); the truth is between.

    Args:
        systems: what `paper_table.means` returned.
    """
    best = systems.groupby("encoder")["mean"].max()
    encoders = list(best.sort_values(ascending=False).index)
    with style.drawing(style.COLUMN_IN, 2.9) as figure:
        axes = figure.subplots()
        for place, encoder in enumerate(encoders):
            rows = systems[systems["encoder"] == encoder]
            for row, offset in zip(rows.itertuples(), style.side_by_side(len(rows), 0.4)):
                of_baseline, y = pd.isna(row.architecture), place + offset
                colour = style.GREY if of_baseline else ARCHITECTURES[row.architecture].colour
                ends = np.array(fisher_interval(row.mean))
                axes.plot(ends, [y, y], color=colour, linewidth=0.8)
                axes.plot(row.mean + (ends - row.mean) / 3, [y, y], color=colour, linewidth=2.8)
                axes.plot(row.mean, y, "o", markersize=2, color="white", mew=0, zorder=3)
                style.at_right(axes, y, f"{row.mean:.4f}")
                if of_baseline:
                    axes.axvline(row.mean, color=style.GREY, linewidth=0.6, linestyle=":", zorder=0)
        style.name_rows(axes, [label(name) for name in encoders])
        figure.supxlabel(
            f"mean ρ over nine emotions as printed, n = {CLIPS:,} clips,\n{LISTENERS}; lines: "
            "95 % intervals if the emotions' errors\nare independent (thick) or the same (thin); "
            "dotted: the baseline"
        )
        style.legend(figure, style.architecture_keys(systems["architecture"].dropna()))
    return figure


def draw_differences(widths: pd.DataFrame, gaps: pd.DataFrame) -> Figure:
    """What difference of two systems on the same clips lies beyond its 95 % interval.

    Args:
        widths: what `paper_table.differences` returned.
        gaps: what `paper_table.gaps` returned; those above zero are drawn, others are named.
    """
    shown = gaps[gaps["gap"] > 0].sort_values("gap")
    colours = {
        name: style.GREY if name == label("baseline") else PROPOSED.colour
        for name in shown["against"]
    }
    between, one, nine = (widths[c] for c in ("between", "one_emotion", "nine_emotions"))
    height = 2.4 + style.LINE_IN * (_of_differences(gaps).count("\n") + 1)
    with style.drawing(style.COLUMN_IN, height) as figure:
        axes = figure.subplots()
        axes.fill_between(between, nine, one, color=BAND, linewidth=0)
        axes.plot(between, one, color="black", linewidth=1)
        axes.plot(between, nine, color="black", linewidth=1, linestyle="--")
        for row in shown.itertuples():
            axes.axhline(row.gap, color=colours[row.against], linewidth=0.8)
        _name_gaps(axes, shown, colours)
        axes.set(xlim=(between.min(), 1), ylim=(0, None), ylabel="difference in ρ")
        axes.set_xlabel("ρ between the two systems' predictions")
        keys = {
            f"{PROPOSED.name} − {name}": Line2D([], [], color=colour)
            for name, colour in colours.items()
        }
        style.legend(figure, keys)
        figure.supxlabel(_of_differences(gaps))
    return figure


def _of_differences(gaps: pd.DataFrame) -> str:
    """The caption, with the differences that are below 0 and so have no line."""
    below = [
        f"{PROPOSED.name} − {against} of "
        + ", ".join(f"{label(row.encoder)} (−{abs(row.gap):.4f})" for row in rows.itertuples())
        for against, rows in gaps[gaps["gap"] <= 0].groupby("against", sort=False)
    ]
    lines = [
        "half a 95 % interval: of one emotion's difference (solid), of the mean over nine with "
        "independent errors (dashed); grey: between the two, as errors are more or less alike",
        f"below 0, not drawn: {'; '.join(below)}" if below else "",
        f"{LISTENERS}, n = {CLIPS:,} clips",
    ]
    return style.caption(lines, style.COLUMN_IN)


def _name_gaps(axes: Axes, shown: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """The lines' names beside them, the lowest first; one text for lines that are close."""
    apart = shown["gap"].diff() > 0.08 * shown["gap"].max()
    for _, rows in shown.groupby(apart.cumsum()):
        names = [f"{label(row.encoder)}\n{row.gap:.4f}" for row in rows[::-1].itertuples()]
        side = "top" if len(names) == 1 else "bottom"
        beside = {"transform": axes.get_yaxis_transform(), "va": side, "fontsize": 6}
        axes.text(
            *(1.02, rows["gap"].mean(), "\n".join(names)),
            color=colours[rows["against"].iloc[0]],
            **beside,
        )
