"""Pictures of what a system is worth to each group of speakers."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.results.figures import style
from emoshare_utils.results.figures.forest import OVER_SPEAKERS, each_by_itself
from emoshare_utils.studies.groups import comparisons

NOTHING = "an open question here: no group has speakers enough for an interval (5)"


def can_be_drawn(table: pd.DataFrame) -> bool:
    """Whether a group has an interval, in a table of `groups.by_group` or `groups.offsets`."""
    low = "rho_low" if "rho_low" in table else "low"
    return bool(table.loc[table["by"] != "all", low].notna().any())


def fractions(table: pd.DataFrame, of: str = "") -> Figure:
    """Rho and that of the expected share in each group, and beside them the fraction reached.

    Args:
        table: as `groups.by_group` returns it.
        of: the system, for the caption.

    Raises:
        ValueError: no group has an interval.
    """
    _require_intervals(table)
    rows = table.reset_index(drop=True)
    names = rows["group"].where(rows["by"] == "all", rows["by"] + ": " + rows["group"])
    known = rows["of_ceiling"].notna().any()
    caption = _caption(rows, of)
    height = 0.85 + 0.22 * len(rows) + style.LINE_IN * caption.count("\n")
    with style.drawing(style.PAGE_IN, height) as figure:
        left, *others = figure.subplots(1, 1 + known, sharey=True, squeeze=False)[0]
        for y, row in enumerate(rows.itertuples()):
            _mark(left, y, row.rho, row.rho_low, row.rho_high)
            if known:
                left.plot([row.ceiling] * 2, [y - 0.4, y + 0.4], **style.EXPECTED)
            for right in others:
                _mark(right, y, row.of_ceiling, row.of_ceiling_low, row.of_ceiling_high)
        style.name_rows(left, [f"{name} ({n})" for name, n in zip(names, rows["n_speakers"])])
        left.set_xlabel("mean ρ")
        for right in others:
            right.tick_params(axis="y", length=0)
            right.spines["left"].set_visible(False)
            right.set_xlabel(style.FRACTION_NAME)
            right.axvline(rows["of_ceiling"].iloc[0], color=style.GREY, lw=0.6, ls=":", zorder=0)
        keys = {"95 % interval over speakers": Line2D([], [], **OVER_SPEAKERS)}
        keys |= {style.EXPECTED_NAME: Line2D([], [], **style.EXPECTED)} if known else {}
        style.legend(figure, keys | _no_interval(rows["rho_low"]))
        figure.supxlabel(caption)
    return figure


def _mark(axes: Axes, y: float, value: float, low: float, high: float, filled: bool = True) -> None:
    """A dot on its interval; a grey cross where there is none."""
    if np.isnan(low):
        axes.plot(value, y, **style.NO_INTERVAL)
        return
    axes.plot([low, high], [y, y], **OVER_SPEAKERS)
    face = "black" if filled else "white"
    axes.plot(value, y, "o", ms=4, mew=0.7, mec="black", mfc=face, zorder=3)


def _no_interval(low: pd.Series) -> dict[str, Line2D]:
    few = low.isna().any()
    return {"too few speakers for an interval": Line2D([], [], **style.NO_INTERVAL)} if few else {}


def _require_intervals(table: pd.DataFrame) -> None:
    if not can_be_drawn(table):
        raise ValueError(NOTHING)


def _caption(rows: pd.DataFrame, of: str) -> str:
    """Whose shares these are, of how many; which intervals are alone, which together."""
    first, groups = rows.iloc[0], rows.iloc[1:]
    counted = f"n = {first['n']:,} clips of {first['n_speakers']} speakers"
    alone = each_by_itself(int(groups["rho_low"].notna().sum()))
    alone = alone.replace("intervals", "groups with intervals", 1)
    lines = [
        "; ".join(filter(None, [of, counted])),
        "; ".join(filter(None, ["in brackets: speakers; dotted: all", alone])),
        _compared(groups),
    ]
    return style.caption(lines, style.PAGE_IN)


def _compared(groups: pd.DataFrame) -> str:
    """Which groups differ from all other speakers, all comparisons together."""
    known = groups[groups["difference_all_low"].notna()]
    if known.empty:
        return ""
    apart = known[(known["difference_all_low"] > 0) | (known["difference_all_high"] < 0)]
    said = f"only {', '.join(apart['by'] + ': ' + apart['group'])}" if len(apart) else "none"
    k = comparisons(groups, known.index)
    together = f"{k} comparisons together (Bonferroni)" if k > 1 else "one comparison"
    return f"fraction less that of all other speakers, {together}: {said} leaves out 0"


def offset_panels(table: pd.DataFrame, of: str = "") -> Figure:
    """Predicted less observed share: a panel per emotion, a row per group.

    Args:
        table: as `groups.offsets` returns it.
        of: the system, for the caption.

    Raises:
        ValueError: no group has an interval.
    """
    _require_intervals(table)
    emotions = list(table["emotion"].unique())
    first = table[table["emotion"] == emotions[0]]
    names = list(first["by"] + ": " + first["group"])
    rows, columns = style.grid(len(emotions))
    lines = [
        "; ".join(filter(None, [of, "predicted less observed share, mean over clips"])),
        "grey: 95 % intervals over speakers; filled: leaves out 0, hollow: does not",
        each_by_itself(int(table["low"].notna().sum())),
    ]
    caption = style.caption(lines, style.PAGE_IN)
    height = rows * (0.45 + 0.17 * len(names)) + 0.6 + style.LINE_IN * caption.count("\n")
    with style.drawing(style.PAGE_IN, height) as figure:
        panels = style.panels(figure, emotions)
        for axes, emotion in zip(panels, emotions):
            for y, row in enumerate(table[table["emotion"] == emotion].itertuples()):
                _mark(axes, y, row.offset, row.low, row.high, row.low > 0 or row.high < 0)
            axes.axvline(0, color="black", lw=0.6, zorder=1)
            style.name_rows(axes, names)
        for axes in np.array(panels)[[place % columns > 0 for place in range(len(panels))]]:
            axes.tick_params(axis="y", labelleft=False)
        if keys := _no_interval(table["low"]):
            style.legend(figure, keys)
        figure.supxlabel(caption)
    return figure
