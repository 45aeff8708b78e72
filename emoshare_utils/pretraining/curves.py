"""Pictures of a pretraining."""

from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from emoshare_utils.results.figures.style import PAGE_IN, is_simulated, style
from emoshare_utils.studies.probe_figures import _colour

CURVES = {
    "loss": "loss",
    "accuracy": "hidden frames told right",
    "use": "clusters or codebook\nentries in use",
}


def pretraining_curves(history: pd.DataFrame, *, listeners: str) -> Figure:
    """Loss, masked accuracy and the use of clusters or codebook, by update.

    A line is one encoder in one iteration; a second iteration goes on to the right of the first,
    with one target more and new maps to the clusters: its loss and accuracy start anew.

    Args:
        history: objective, seed, iteration, update, loss, accuracy, use.
        listeners: none listen to pretraining; for the picture.
    """
    with mpl.rc_context(style(PAGE_IN, 2.2)):
        figure = Figure()
        panels = figure.subplots(1, len(CURVES))
        for (objective, _), encoder in history.groupby(["objective", "seed"]):
            before = 0
            for number, iteration in encoder.groupby("iteration"):
                x = before + iteration["update"].to_numpy()
                for axes, measure in zip(panels, CURVES):
                    axes.plot(x, iteration[measure], "-o", ms=1.5, lw=0.9, color=_colour(objective))
                    if number > 1:
                        axes.axvline(before, color=_colour(objective), lw=0.5, ls=":")
                before = x.max()
        for axes, name in zip(panels, CURVES.values()):
            axes.set(xlabel="update", ylabel=name)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.set_ylim(0, 1.05 * axes.dataLim.ymax)
        panels[1].yaxis.set_major_formatter(PercentFormatter(1))
        _legend(figure, history["objective"].unique(), listeners)
    return figure


def _legend(figure: Figure, objectives: Sequence[str], listeners: str) -> None:
    handles = [mpl.lines.Line2D([], [], color=_colour(name)) for name in objectives]
    names = [{"hubert": "HuBERT", "wav2vec2": "wav2vec2.0"}.get(name, name) for name in objectives]
    title = listeners if is_simulated(listeners) else None
    figure.legend(handles, names, loc="outside upper center", ncols=2, title=title)
