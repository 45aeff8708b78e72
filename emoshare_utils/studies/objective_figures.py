"""Pictures of the study of objectives (notebook 09)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from emoshare_utils.pretraining.curves import too_few_to_draw
from emoshare_utils.results.figures import style
from emoshare_utils.results.figures.forest import OVER_SPEAKERS
from emoshare_utils.studies.objective_cells import ALL, CELLS, cell_label

LINES = ("-", "--", "-.", ":")
CELLS_OF = {  # what a contrast sets against what
    "objective": "HuBERT − wav2vec2.0",
    "iteration": "2 − 1 iterations",
    "targets": f"{ALL} − 1 clusterings",
    "iteration × targets": f"(2 − 1) with {ALL} − with 1",
}
MASKED = {"hubert": "which cluster", "wav2vec2": "which of 101 frames"}


def histories(history: pd.DataFrame) -> Figure:
    """Accuracy at masked frames by update, a panel per objective, a line per encoder.

    Args:
        history: cell, objective, seed, iteration, update, accuracy, as `pretrain_cell` has them.

    Raises:
        ValueError: too few checkpoints for a curve (`pretraining.curves.too_few_to_draw`).
    """
    if few := too_few_to_draw(history):
        raise ValueError(few)
    objectives = list(history["objective"].unique())
    most = history.groupby("objective")["cell"].nunique().max()
    with style.drawing(style.PAGE_IN, 2.4 + style.LINE_IN * most) as figure:
        for axes, objective in zip(np.atleast_1d(figure.subplots(1, len(objectives))), objectives):
            rows, keys = history[history["objective"] == objective], {}
            for line, (cell, encoders) in zip(LINES, rows.groupby("cell", sort=False)):
                look = {"color": style.family_colour(objective), "lw": 0.9, "ls": line}
                look |= {"marker": "o", "ms": 1.2}
                for _, encoder in encoders.groupby(["seed", "iteration"]):
                    before = 0 if encoder["iteration"].iloc[0] == 1 else encoders["update"].max()
                    axes.plot(before + encoder["update"], 100 * encoder["accuracy"], **look)
                keys[cell_label(cell)] = Line2D([], [], **look | {"marker": ""})
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.set(xlim=(0, None), ylim=(0, None), xlabel="update")
            place = {"loc": "lower left", "bbox_to_anchor": (0, 1.06), "borderaxespad": 0}
            axes.legend(keys.values(), keys, handlelength=4.5, **place)
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


def contrasts(table: pd.DataFrame, n: int, n_speakers: int, seeds: int) -> Figure:
    """Each contrast with its interval by itself (thick), and that of all together (thin).

    Args:
        table: as `objective_contrasts.contrast` returns it.
        n, n_speakers, seeds: clips scored, their speakers, and pretraining seeds.
    """
    names = [f"{name}:\n{CELLS_OF.get(name, '')}" for name in table["contrast"]]
    caption = (
        f"95 % intervals, n = {n:,} clips of {n_speakers} speakers, {seeds} pretraining seeds: "
        f"thick, each by itself; thin, all {len(table)} together; filled: leaves out 0"
    )
    caption = style.caption([caption], style.COLUMN_IN)
    height = 0.65 + 0.32 * len(table) + style.LINE_IN * caption.count("\n")
    with style.drawing(style.COLUMN_IN, height) as figure:
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
        axes.xaxis.set_major_locator(MaxNLocator(4))
        style.name_rows(axes, names)
        axes.set_xlabel("difference in mean ρ")
        figure.supxlabel(caption)
    return figure
