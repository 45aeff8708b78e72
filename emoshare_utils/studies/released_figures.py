"""Pictures of what the released code does otherwise."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.names import ARCHITECTURES
from emoshare_utils.results.figures import style


def variant_differences(
    table: pd.DataFrame, labels: Mapping[str, str], *, split: str = "devel"
) -> Figure:
    """The change in mean rho from the paper's text, one row per variant, with paired intervals.

    The axis covers the variants without a constant prediction; an arrow stands for one beyond it.

    Args:
        table: architecture, variant, networks, constant, mean_rho, difference, ci_low, ci_high,
            as `released_code.compare_variants` makes it.
        labels: what each variant is called.
        split: the split of the table.
    """
    changed = table[table["variant"] != "paper"]
    variants = [name for name in labels if name in set(changed["variant"])]
    alive = table.loc[table["constant"] == 0, ["ci_low", "ci_high"]]
    low, high = (alive.min(axis=None), alive.max(axis=None)) if len(alive) else (-1, 1)
    limits = low - 0.05 * (high - low), high + 0.05 * (high - low)
    most = max(changed.groupby("variant").size().max(), 2)
    with style.drawing(style.PAGE_IN * 0.7, 1.2 + 0.15 * most * len(variants)) as figure:
        axes = figure.subplots()
        for place, variant in enumerate(variants):
            rows = changed[changed["variant"] == variant].sort_values("architecture")
            for (_, row), offset in zip(
                rows.iterrows(), style.side_by_side(len(rows), 0.68 / most)
            ):
                _difference(axes, row, place + offset, limits)
        axes.axvline(0, color="black", linewidth=0.6)
        axes.set_xlim(limits)
        style.name_rows(axes, [labels[name] for name in variants])
        axes.tick_params(axis="y", pad=6)  # an arrow stands on the edge
        papers = table[table["variant"] == "paper"]
        texts = [
            f"{style.number(row.mean_rho)} ({ARCHITECTURES[row.architecture].name})"
            for row in papers.itertuples()
        ]
        lines = [
            f"change in mean ρ over emotions, {split}, n = {table['n'].max():,} clips",
            "lines: paired 95 % bootstrap interval over clips; a constant prediction counts as 0",
            f"0 is the paper's text: mean ρ {', '.join(texts)}",
        ]
        figure.supxlabel("\n".join(lines))
        style.legend(figure, style.architecture_keys(table["architecture"], marker="o", ms=3.5))
    return figure


def _difference(axes: Axes, row: pd.Series, y: float, limits: tuple[float, float]) -> None:
    colour = ARCHITECTURES[row["architecture"]].colour
    axes.plot(row[["ci_low", "ci_high"]], [y, y], color=colour, linewidth=1)
    beyond = row["difference"] < limits[0]
    at, marker = (limits[0], "<") if beyond else (row["difference"], "o")
    axes.plot(at, y, marker, ms=3.5, color=colour, clip_on=False)
    constant = f" ({row['constant']:.0f} of {row['networks']:.0f} constant)"
    style.at_right(axes, y, style.signed(row["difference"]) + (constant if row["constant"] else ""))


def dead_starts(zeros: pd.DataFrame) -> Figure:
    """The fraction of outputs that are 0 before training, one dot per seed, sorted.

    Args:
        zeros: one column per architecture, one row per seed, from 0 to 1 (a dead start).
    """
    with style.drawing(style.COLUMN_IN, 1.9) as figure:
        axes = figure.subplots()
        keys = {}
        offsets = style.side_by_side(zeros.shape[1], 0.6 / zeros.shape[1])
        for (architecture, column), offset in zip(zeros.items(), offsets):
            look = {"marker": "o", "ms": 3, "mew": 0, "ls": "none"}
            look["color"] = ARCHITECTURES[architecture].colour
            seeds = np.arange(1, len(column) + 1)
            axes.plot(seeds + offset, 100 * np.sort(column), **look)
            dead = f"{(column == 1).sum()} of {len(column)} dead"
            keys[f"{ARCHITECTURES[architecture].name}: {dead}"] = Line2D([], [], **look)
        axes.set(xlabel="seed, sorted", ylabel="outputs that\nstart at 0 (%)", ylim=(-5, 105))
        style.legend(figure, keys)
    return figure
