"""Pictures of what the released code does otherwise."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.names import ARCHITECTURES
from emoshare_utils.results.figures.style import (
    GREY,
    PAGE_IN,
    _number,
    _signed,
    is_simulated,
    style,
)


def variants(
    table: pd.DataFrame, labels: Mapping[str, str], *, listeners: str, split: str = "devel"
) -> Figure:
    """The change in mean rho against the paper's text, a row a variant, with paired intervals.

    The axis covers the variants without a constant prediction; an arrow stands for one beyond it.

    Args:
        table: architecture, variant, networks, constant, mean_rho, difference, ci_low, ci_high,
            as `released.compare` makes it.
        labels: what each variant is called.
        listeners: who rated, for the picture.
        split: the split of the table, for the picture.
    """
    names = [name for name in labels if name in set(table["variant"]) - {"paper"}]
    with mpl.rc_context(style(PAGE_IN * 0.7, 1.2 + 0.3 * len(names))):
        figure = Figure()
        axes = figure.subplots()
        papers, alive = [], table[table["constant"] == 0]
        axes.plot([alive["ci_low"].min(), alive["ci_high"].max()], [0, 0], alpha=0)  # its limits
        left, right = axes.get_xlim() if len(alive) else (-1, 1)
        for architecture, rows in table.groupby("architecture"):
            colour = ARCHITECTURE_COLOURS.get(architecture, GREY)
            rows = rows.set_index("variant")
            papers.append(f"{_number(rows.loc['paper', 'mean_rho'])} (Architecture {architecture})")
            for name, row in rows.drop(index="paper").iterrows():
                y = names.index(name) + (-0.17 if architecture == 1 else 0.17)
                axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, linewidth=1)
                beyond = row["difference"] < left
                at = left if beyond else row["difference"]
                axes.plot(at, y, "<" if beyond else "o", ms=3.5, color=colour, clip_on=False)
                said = _signed(row["difference"])
                if row["constant"]:
                    said += f" ({row['constant']:.0f} of {row['networks']:.0f} constant)"
                axes.text(1.01, y, said, transform=axes.get_yaxis_transform(), va="center")
        axes.axvline(0, color="black", linewidth=0.6)
        axes.set_yticks(range(len(names)), [labels[name] for name in names])
        axes.set(xlim=(left, right), ylim=(len(names) - 0.5, -0.5))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        lines = [
            f"change in mean ρ over emotions, {split}, n = {table['n'].max():,} clips",
            "lines: paired 95 % bootstrap interval over clips; a constant prediction counts as 0",
            f"0 is the paper's text: mean ρ {', '.join(papers)}",
        ]
        figure.supxlabel("\n".join(lines), fontsize=7)
        handles = [
            Line2D([], [], color=ARCHITECTURE_COLOURS.get(a, GREY), marker="o", markersize=3.5)
            for a in table["architecture"].unique()
        ]
        figure.legend(
            handles,
            [f"Architecture {a}" for a in table["architecture"].unique()],
            loc="outside upper center",
            ncols=2,
            title=listeners if is_simulated(listeners) else None,
            title_fontsize=7,
        )
    return figure


def dead_starts(zeros: pd.DataFrame, *, listeners: str = "listeners") -> Figure:
    """The share of outputs that are 0 before training, a dot a seed, sorted.

    Args:
        zeros: one column an architecture, one row a seed, from 0 to 1 (a dead start).
        listeners: who rated, for the picture.
    """
    with mpl.rc_context(style(height_in=1.9)):
        figure = Figure()
        axes = figure.subplots()
        for architecture, column in zeros.items():
            values = np.sort(column.to_numpy())
            dead = int((values == 1).sum())
            axes.plot(
                np.arange(1, len(values) + 1) + (0.15 if architecture == 2 else -0.15),
                100 * values,
                "o",
                ms=3,
                mew=0,
                color=ARCHITECTURE_COLOURS.get(architecture, GREY),
                label=f"Architecture {architecture}: {dead} of {len(values)} dead",
            )
        axes.set(xlabel="seed, sorted", ylabel="outputs that start at 0 (%)", ylim=(-5, 105))
        title = listeners if is_simulated(listeners) else None
        figure.legend(loc="outside upper center", ncols=2, handletextpad=0.2, title=title)
    return figure
