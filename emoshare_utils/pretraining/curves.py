"""Pictures of a pretraining."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from emoshare_utils.results.figures import style

CURVES = {  # the history's columns
    "loss": "loss",
    "accuracy": "accuracy on masked frames",
    "use": "perplexity of clusters\nor codebook entries",
}
NAMES = {"hubert": "HuBERT", "wav2vec2": "wav2vec2.0"}


def pretraining_curves(history: pd.DataFrame) -> Figure:
    """Loss, accuracy on masked frames, and perplexity of the clusters or the codebook, by update.

    A line is one encoder in one iteration; a second iteration follows to the right of the first,
    with one target more and new maps to the clusters: its loss and accuracy start again.

    Args:
        history: objective, seed, iteration, update, loss, accuracy, use (the perplexity).
    """
    with style.drawing(style.PAGE_IN, 2.2) as figure:
        panels = figure.subplots(1, len(CURVES))
        for (objective, _), encoder in history.groupby(["objective", "seed"]):
            look = {"color": style.family_colour(objective), "lw": 0.9, "marker": "o", "ms": 1.5}
            before = 0
            for number, iteration in encoder.groupby("iteration"):
                updates = before + iteration["update"].to_numpy()
                for axes, measure in zip(panels, CURVES):
                    axes.plot(updates, iteration[measure], **look)
                    if number > 1:
                        axes.axvline(before, color=look["color"], lw=0.5, ls=":")
                before = updates.max()
        for axes, name in zip(panels, CURVES.values()):
            axes.set(xlabel="update", ylabel=name, ylim=(0, 1.05 * axes.dataLim.ymax))
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        objectives = history["objective"].unique()
        colours = {NAMES.get(name, name): style.family_colour(name) for name in objectives}
        style.legend(figure, {name: Line2D([], [], color=colours[name]) for name in colours})
    return figure
