"""How rho grows with clips, speakers and listeners (notebook 14)."""

import pandas as pd
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


def planning(table: pd.DataFrame, widths: pd.DataFrame) -> Figure:
    """Mean rho by how many, a panel for each kind; and the interval's width by devel speakers.

    Args:
        table: as `planning.curve` returns it.
        widths: as `planning.interval_width` returns it.
    """
    kinds = [kind for kind in KINDS if (table["kind"] == kind).any()]
    with style.drawing(style.PAGE_IN, 2.2) as figure:
        *panels, last = figure.subplots(1, len(kinds) + 1)
        for axes, kind in zip(panels, kinds):
            rows = table[table["kind"] == kind].astype({"number": float}).sort_values("number")
            for row in rows.itertuples():
                axes.plot([row.number] * 2, [row.low, row.high], **OVER_SPEAKERS)
                axes.plot([row.number] * 2, [row.lowest, row.highest], **SEEDS)
            axes.plot(rows["number"], rows["mean_rho"].astype(float), **POINTS)
            axes.set_xscale("log", base=2)
            axes.set_xticks(rows["number"], [f"{n:,.0f}" for n in rows["number"]], rotation=45)
            axes.minorticks_off()
            axes.set(xlabel=NAMES[kind], title="", ylim=_limits(table))
        panels[0].set_ylabel("mean devel ρ")
        last.plot(widths["speakers"], widths["width"], **POINTS)
        last.set_xscale("log", base=2)
        last.set_xticks(widths["speakers"], [f"{n}" for n in widths["speakers"]])
        last.minorticks_off()
        last.set(xlabel="devel speakers", ylabel="width of the 95 % interval of ρ")
        last.set_ylim(bottom=0)
        seeds = int(table["seeds"].min())
        figure.supxlabel(
            f"means of {seeds} seeds, from the lowest to the highest; grey: 95 % interval over "
            "devel speakers, first seed"
        )
    return figure


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """One scale for all panels."""
    low = table[["low", "lowest"]].astype(float).min(axis=None)
    high = table[["high", "highest"]].astype(float).max(axis=None)
    return low - 0.02, high + 0.02
