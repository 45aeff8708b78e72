"""Fig. 3: the mean rho of each feature set and architecture."""

import textwrap

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.names import ARCHITECTURES, architecture_name, label, ordered
from emoshare_utils.results.figures.style import (
    GREY,
    _ceiling,
    _number,
    _wrapped,
    is_simulated,
    style,
)
from emoshare_utils.results.paper import paper_table1


def bars(
    summary: pd.DataFrame,
    *,
    listeners: str,
    split: str = "devel",
    ceiling: float | None = None,
    ceiling_kind: str = "",
    paper: bool = False,
    interval: str = "95 % bootstrap interval over clips",
) -> Figure:
    """Fig. 3: the mean rho of each feature set under Architecture 1 and Architecture 2.

    The challenge's baseline, Architecture 0, stands beside them where it was measured. Several
    seeds are averaged, their intervals too, and each seed is a dot.

    Args:
        summary: one row a system: encoder, architecture, seed, split, n, mean_rho, ci_low,
            ci_high.
        listeners: who rated, for the picture.
        split: the split to draw.
        ceiling: the mean rho a perfect model would reach.
        ceiling_kind: "exact" or "estimated", for the picture.
        paper: mark the paper's own means where it has them.
        interval: what ci_low and ci_high are, for the picture.

    Raises:
        ValueError: no row in this split.
    """
    rows = summary[summary["split"] == split]
    if rows.empty:
        found = ", ".join(sorted(summary["split"].unique())) or "none"
        raise ValueError(f"no system in the split {split!r}: splits with results are {found}")
    encoders = ordered(rows["encoder"])
    theirs = paper_table1().groupby(["encoder", "architecture"])["rho"].mean() if paper else {}
    seeds = rows.groupby(["encoder", "architecture"])["seed"].nunique().max()
    colours = {0: GREY} if rows["architecture"].eq(0).any() else {}
    colours |= ARCHITECTURE_COLOURS
    with mpl.rc_context(style(height_in=1.1 + 0.18 * len(colours) * len(encoders))):
        figure = Figure()
        axes = figure.subplots()
        for place, encoder in enumerate(encoders):
            systems = rows[rows["encoder"] == encoder].groupby("architecture")
            for number, (architecture, group) in enumerate(systems):
                y = place + 0.8 / len(colours) * (number - (systems.ngroups - 1) / 2)
                printed = theirs.get((encoder, architecture))
                _bar(axes, group, y, 0.76 / len(colours), colours[architecture], printed)
        axes.axvline(0, color="black", linewidth=0.6)
        if ceiling is not None:
            axes.axvline(ceiling, color="black", linewidth=0.8, linestyle=(0, (4, 2)))
            axes.text(
                ceiling,
                1.0,
                _ceiling(ceiling, ceiling_kind),
                transform=axes.get_xaxis_transform(),
                ha="right",
                va="bottom",
                fontsize=6.5,
            )
        axes.margins(x=0.02)
        axes.spines["left"].set_visible(False)
        axes.set_yticks(range(len(encoders)), [_wrapped(label(name)) for name in encoders])
        axes.set_ylim(len(encoders) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        counts = rows["n"].dropna().unique()
        n = f", n = {int(counts[0]):,} clips" if len(counts) == 1 else ""
        said = [f"mean ρ over emotions, {split}{n}", f"lines: {interval}"]
        if rows["mean_rho"].isna().any():
            said.append("no ρ: not every emotion has one (constant predictions)")
        if seeds > 1:
            said.append(f"dots: {seeds} seeds; bars and lines: their means")
        caption = "\n".join(textwrap.fill(line, 56) for line in said)
        figure.supxlabel(caption, fontsize=7)
        handles = [
            Line2D([], [], color=colour, marker="s", markersize=5, linestyle="none")
            for colour in colours.values()
        ]
        names = [architecture_name(architecture) for architecture in colours]
        if paper:
            handles.append(_paper_marker())
            names.append("paper (its corpus)")
        figure.legend(
            handles,
            names,
            loc="outside upper center",
            ncols=len(names),
            handletextpad=0.2,
            columnspacing=1,
            title=listeners if is_simulated(listeners) else None,
            title_fontsize=7,
        )
    return figure


def _bar(
    axes: Axes,
    seeds: pd.DataFrame,
    y: float,
    height: float,
    colour: str,
    printed: float | None,
) -> None:
    """One system: its bar, interval, seeds, the paper's value, and the number at the right."""
    rho, low, high = (seeds[column].mean() for column in ("mean_rho", "ci_low", "ci_high"))
    if not np.isnan(rho):
        axes.barh(y, rho, height, color=colour)
    if not np.isnan(low + high):
        axes.errorbar(
            rho,
            y,
            xerr=[[rho - low], [high - rho]],
            ecolor="black",
            elinewidth=0.7,
            capsize=1.5,
            capthick=0.7,
            fmt="none",
        )
    if len(seeds) > 1:
        axes.plot(seeds["mean_rho"], [y] * len(seeds), "o", ms=2, mew=0.4, mfc="white", mec="black")
    if printed is not None:
        axes.add_line(_paper_marker(printed, y))
    known = int(seeds["mean_rho"].notna().sum())
    said = _number(rho) if known else "no ρ"
    if 0 < known < len(seeds):
        said += f" ({known} of {len(seeds)})"
    axes.text(1.01, y, said, transform=axes.get_yaxis_transform(), va="center", fontsize=6.5)


def _paper_marker(x: float | None = None, y: float | None = None) -> Line2D:
    at = ([], []) if x is None else ([x], [y])
    return Line2D(
        *at,
        marker="D",
        markersize=3.2,
        markerfacecolor="white",
        markeredgecolor="black",
        markeredgewidth=0.7,
        linestyle="none",
        zorder=5,
    )
