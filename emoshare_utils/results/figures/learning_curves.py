"""Devel rho and training MSE by epoch."""

import re

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from emoshare_utils.names import ARCHITECTURES, ordered
from emoshare_utils.results.figures import style
from emoshare_utils.results.metrics import METRICS

TRAINING = {"train_mse": "training MSE", "train_loss": "training loss"}
MOST_COLUMNS = 5
LOSS_WORDS = {"mse": "MSE", "ccc": "CCC", "poisson": "Poisson", "beta binomial": "beta-binomial"}


def loss_name(loss: str) -> str:
    """A loss as a reader should see it: "soft rank, recalibrated" for "soft_rank recalibrated"."""
    name = loss.replace("_", " ").replace(" recalibrated", ", recalibrated")
    for code, words in LOSS_WORDS.items():
        name = re.sub(rf"\b{code}\b", words, name)
    return name


def learning_curves(history: pd.DataFrame, loss: str = "", one_trunk: bool = False) -> Figure:
    """Devel rho and training MSE by epoch, a panel of each per encoder.

    A thin line is one network, a dot its best epoch, a thick line the mean over the networks of
    an architecture, those that stopped early counting with their last epoch.

    Args:
        history: encoder, architecture, emotion, seed, epoch, train_mse, devel_rho; further
            devel_<metric>, and train_loss of a loss that is not the MSE, are drawn beneath.
        loss: what train_loss is, by its name in LOSSES.
        one_trunk: whether a system's emotions share one trunk: a line is then one emotion of it.
    """
    measures = {name: _label(name) for name in history if name.startswith("devel_")}
    measures |= {name: TRAINING[name] for name in TRAINING if name in history}
    if loss and "train_loss" in measures:
        measures["train_loss"] = f"training loss\n({loss_name(loss)})"
    encoders = ordered(history["encoder"])
    blocks = -(-len(encoders) // MOST_COLUMNS)
    columns = -(-len(encoders) // blocks)
    width = max(style.PAGE_IN * columns / MOST_COLUMNS, style.COLUMN_IN)
    with style.drawing(width, 1.45 * len(measures) * blocks + 0.7) as figure:
        grid = figure.subplots(len(measures) * blocks, columns, sharex=True, squeeze=False)
        for place, encoder in enumerate(encoders):
            block, column = divmod(place, columns)
            panels = grid[block * len(measures) :, column]
            panels[0].set_title(style.wrapped(style.readable(encoder)), pad=3)
            for axes, first, measure in zip(panels, grid[:, 0], measures):
                if place:
                    axes.sharey(first)
                _curves(axes, history[history["encoder"] == encoder], measure)
                axes.tick_params(labelleft=column == 0, labelbottom=True)
                axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
                if column == 0:
                    axes.set_ylabel(measures[measure])
        for axes in grid.flat:
            if axes.get_ylim()[0] < 0 < axes.get_ylim()[1]:
                axes.axhline(0, color=style.GREY, linewidth=0.5, zorder=0)
        for axes in grid[-len(measures) :, len(encoders) - columns * (blocks - 1) :].flat:
            axes.set_axis_off()
        figure.supxlabel(_caption(history, one_trunk))
        style.legend(figure, style.architecture_keys(history["architecture"]))
    return figure


def _caption(history: pd.DataFrame, one_trunk: bool) -> str:
    """What the lines are, and how many networks an architecture has in a panel."""
    each = ["encoder", "architecture"]
    counts = history[[*each, "emotion", "seed"]].drop_duplicates().groupby(each).size()
    few, many = counts.min(), counts.max()
    n = f"n = {many}" if few == many else f"n = {few} to {many}"
    if one_trunk:
        seeds = history.groupby(each)["seed"].nunique().max()
        trunks = "one trunk" if seeds == 1 else f"{seeds} trunks"
        return f"epoch\nthin: one emotion, dot: its best epoch;\nthick: mean of {n}, of {trunks}"
    return f"epoch\nthin: one network, dot: its best epoch;\nthick: mean of {n} networks"


def _label(measure: str) -> str:
    return f"devel {METRICS[measure.removeprefix('devel_')].label}"


def _curves(axes: Axes, history: pd.DataFrame, measure: str) -> None:
    metric = METRICS[measure.removeprefix("devel_")] if measure not in TRAINING else None
    for architecture, group in history.groupby("architecture"):
        colour = ARCHITECTURES[architecture].colour
        wide = group.pivot(index="epoch", columns=["emotion", "seed"], values=measure)
        axes.plot(wide.index, wide, color=colour, linewidth=0.5, alpha=0.5)
        known = wide.dropna(axis="columns", how="all")
        if metric and known.size:
            best = known.idxmax() if metric.higher_is_better else known.idxmin()
            values = [known.at[epoch, network] for network, epoch in best.items()]
            axes.plot(best, values, ".", ms=4, mew=0, color=colour)
        last = group.groupby(["emotion", "seed"])["epoch"].max()
        stopped = wide.index.to_numpy()[:, None] > last.loc[wide.columns].to_numpy()
        held = wide.where(~stopped, wide.ffill())
        axes.plot(held.index, held.mean(axis=1), color=colour, linewidth=1.4)
