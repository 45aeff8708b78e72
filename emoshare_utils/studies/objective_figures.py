"""Pictures of the study of objectives (notebook 09)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from emoshare_utils.results.figures import style
from emoshare_utils.results.figures.forest import OVER_SPEAKERS
from emoshare_utils.studies.objective_cells import CELLS, cell_label

LINES = ("-", "--", "-.", ":")
MASKED = {"hubert": "which cluster", "wav2vec2": "which of 101 frames"}


def histories(history: pd.DataFrame) -> Figure:
    """Accuracy at masked frames by update, a panel per objective, a line per encoder.

    Args:
        history: cell, objective, seed, iteration, update, accuracy, as `pretrain_cell` has them.
    """
    objectives = list(history["objective"].unique())
    with style.drawing(style.PAGE_IN, 2.4) as figure:
        for axes, objective in zip(np.atleast_1d(figure.subplots(1, len(objectives))), objectives):
            rows, keys = history[history["objective"] == objective], {}
            for line, (cell, encoders) in zip(LINES, rows.groupby("cell", sort=False)):
                look = {"color": style.family_colour(objective), "lw": 0.9, "ls": line}
                look |= {"marker": "o", "ms": 1.2}
                for _, encoder in encoders.groupby(["seed", "iteration"]):
                    before = 0 if encoder["iteration"].iloc[0] == 1 else encoders["update"].max()
                    axes.plot(before + encoder["update"], 100 * encoder["accuracy"], **look)
                keys[cell_label(cell)] = Line2D([], [], **look)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.set(xlim=(0, None), ylim=(0, None), xlabel="update")
            axes.legend(keys.values(), keys)
            axes.set_ylabel("accuracy, masked frames (%)")
            axes.set_title(MASKED[objective], loc="left", pad=3)
        figure.supxlabel(f"a line is one encoder; n = {history['seed'].nunique()} per cell")
    return figure


def cells(scored: pd.DataFrame, n: int, n_speakers: int) -> Figure:
    """Mean rho of every cell: a dot per pretraining seed, a line at their mean.

    Args:
        scored: cell, pretraining_seed, networks, rho, as `score_cells` returns it.
        n, n_speakers: the clips that are scored, and their speakers.
    """
    names = [cell for cell in CELLS if cell in set(scored["cell"])]
    with style.drawing(style.COLUMN_IN, 0.75 + 0.24 * len(names)) as figure:
        axes = figure.subplots()
        for y, cell in enumerate(names):
            rho, colour = scored.loc[scored["cell"] == cell, "rho"], style.family_colour(cell)
            axes.plot(rho, np.full(len(rho), y), "o", ms=3.5, mfc="none", color=colour)
            axes.plot([rho.mean()] * 2, [y - 0.3, y + 0.3], color=colour, lw=1.2)
        style.name_rows(axes, [cell_label(cell) for cell in names])
        axes.set_xlabel("mean ρ over emotions")
        seeds, networks = scored["pretraining_seed"].nunique(), scored["networks"].min()
        figure.supxlabel(
            f"circle: one of {seeds} pretrainings, mean of {networks} networks; bar: their mean\n"
            f"n = {n:,} clips of {n_speakers} speakers, who chose nothing"
        )
    return figure


def contrasts(table: pd.DataFrame, n_speakers: int, seeds: int) -> Figure:
    """Each contrast with its interval by itself (thick), and that of all together (thin).

    Args:
        table: as `objective_contrasts.contrast` returns it.
        n_speakers, seeds: speakers scored, and pretraining seeds.
    """
    with style.drawing(style.COLUMN_IN, 0.95 + 0.26 * len(table)) as figure:
        axes = figure.subplots()
        for y, row in enumerate(table.itertuples()):
            axes.plot([row.ci_low, row.ci_high], [y, y], **OVER_SPEAKERS)
            axes.plot([row.ci_all_low, row.ci_all_high], [y, y], color="black", lw=0.7)
            filled = row.ci_all_low > 0 or row.ci_all_high < 0
            axes.plot(
                row.difference, y, "o", ms=4, mew=0.7, mec="black", mfc="k" if filled else "w"
            )
            style.at_right(axes, y, style.signed(row.difference))
        axes.axvline(0, color="black", lw=0.6, zorder=1)
        style.name_rows(axes, list(table["contrast"]))
        axes.set_xlabel("difference in mean ρ")
        figure.supxlabel(
            f"95 % intervals over {n_speakers} speakers and {seeds} pretraining seeds:\n"
            "thick, each by itself; thin, all four together; filled: leaves out 0"
        )
    return figure
