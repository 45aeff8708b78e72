"""Training loss and devel rho by epoch."""

from collections.abc import Iterator

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from emoshare_utils.names import ARCHITECTURES, label, ordered
from emoshare_utils.results.figures.style import (
    COLUMN_IN,
    GREY,
    PAGE_IN,
    _wrapped,
    is_simulated,
    style,
)


def learning_curves(history: pd.DataFrame, *, listeners: str = "listeners") -> Figure:
    """Training loss and devel rho by epoch, one column of panels an encoder.

    A thin line is one network, a dot its best epoch, a thick line the mean over the networks of
    an architecture, those that stopped early counting with their last epoch.

    Args:
        history: encoder, architecture, emotion, seed, epoch, train_mse, devel_rho.
        listeners: who rated, for the picture.
    """
    encoders = ordered(history["encoder"])
    columns = min(len(encoders), 5)
    blocks = -(-len(encoders) // columns)
    width = max(PAGE_IN * columns / 5, COLUMN_IN)
    with mpl.rc_context(style(width, 2.9 * blocks + 0.6)):
        figure = Figure()
        grid = figure.subplots(2 * blocks, columns, sharex=True, sharey=False, squeeze=False)
        measures = {"devel_rho": "devel ρ", "train_mse": "training MSE"}
        for row, measure in enumerate(list(measures) * blocks):
            for column in range(columns):
                axes = grid[row, column]
                axes.sharey(grid[row % 2, 0]) if (row, column) != (row % 2, 0) else None
                place = row // 2 * columns + column
                if place >= len(encoders):
                    axes.set_axis_off()
                    continue
                of_encoder = history[history["encoder"] == encoders[place]]
                _curves(axes, of_encoder, measure)
                axes.tick_params(labelleft=column == 0, labelbottom=True)
                axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
                if measure == "devel_rho":
                    axes.axhline(0, color=GREY, linewidth=0.5, zorder=0)
                    axes.set_title(_wrapped(label(encoders[place])), pad=3)
            grid[row, 0].set_ylabel(measures[measure])
        figure.supxlabel("epoch\nthin: one network, dot: its best epoch; thick: mean", fontsize=7)
        handles = [Line2D([], [], color=colour) for colour in ARCHITECTURE_COLOURS.values()]
        names = [f"Architecture {architecture}" for architecture in ARCHITECTURE_COLOURS]
        title = listeners if is_simulated(listeners) else None
        figure.legend(handles, names, loc="outside upper center", ncols=2, title=title)
    return figure


def _curves(axes: Axes, history: pd.DataFrame, measure: str) -> None:
    for architecture, group in _by_architecture(history):
        colour = ARCHITECTURE_COLOURS.get(architecture, GREY)
        wide = group.pivot(index="epoch", columns=["emotion", "seed"], values=measure)
        axes.plot(wide.index, wide, color=colour, linewidth=0.4, alpha=0.4)
        if measure == "devel_rho" and wide.notna().any(axis=None):
            known = wide.dropna(axis="columns", how="all")
            axes.plot(known.idxmax(), known.max(), ".", ms=4, mew=0, color=colour)
        last = group.groupby(["emotion", "seed"])["epoch"].max()
        stopped = wide.index.to_numpy()[:, None] > last.loc[wide.columns].to_numpy()
        held = wide.where(~stopped, wide.ffill())
        axes.plot(held.index, held.mean(axis=1), color=colour, linewidth=1.4)


def _by_architecture(history: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    yield from history.groupby("architecture")
