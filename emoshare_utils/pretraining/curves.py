"""Pictures of a pretraining."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from emoshare_utils.results.figures import style

# The history's columns, and what they are in each objective: no two can be compared.
MEASURES = {
    "hubert": {
        "loss": "cross-entropy (nats)",
        "accuracy": "accuracy: the cluster\nof a masked frame (%)",
        "use": "perplexity of the\npredicted clusters",
    },
    "wav2vec2": {
        "loss": "contrastive and\ndiversity loss (nats)",
        "accuracy": "accuracy: a masked frame\namong others (%)",
        "use": "perplexity of the\ncodebooks' entries",
    },
}
NAMES = {"hubert": "HuBERT", "wav2vec2": "wav2vec2.0"}
FEWEST = 3  # checkpoints of an encoder in an iteration, for a curve


def too_few_to_draw(history: pd.DataFrame) -> str:
    """Why there is no curve to draw, in a sentence; "" where there is one.

    Args:
        history: objective, seed, iteration and update of each checkpoint; further columns that
            tell encoders apart (cell) count too.
    """
    keys = [name for name in ("cell", "objective", "seed", "iteration") if name in history]
    fewest = int(history.groupby(keys).size().min())
    if fewest >= FEWEST:
        return ""
    return (
        f"nothing to draw: an encoder has {fewest} checkpoint{'s' * (fewest > 1)} in an iteration, "
        f"and a curve takes {FEWEST} (checkpoint_every)"
    )


def pretraining_curves(history: pd.DataFrame) -> Figure:
    """Loss, accuracy on masked frames and perplexity by update: a row of panels per objective.

    A line is one encoder in one iteration; a second iteration follows to the right of the first,
    with one target more and new maps to the clusters: its loss and accuracy start again.

    Args:
        history: objective, seed, iteration, update, loss, accuracy, use (the perplexity).

    Raises:
        ValueError: too few checkpoints for a curve.
    """
    if few := too_few_to_draw(history):
        raise ValueError(few)
    history = history.assign(accuracy=100 * history["accuracy"])
    objectives = list(history["objective"].unique())
    with style.drawing(style.PAGE_IN, 1.75 * len(objectives) + 0.3) as figure:
        grid = figure.subplots(len(objectives), 3, squeeze=False, sharex=True)
        for panels, objective in zip(grid, objectives):
            rows = history[history["objective"] == objective]
            encoders, colour = rows.groupby("seed"), style.family_colour(objective)
            for axes, (measure, name) in zip(panels, MEASURES[objective].items()):
                for _, encoder in encoders:
                    _curve(axes, encoder, measure, colour)
                axes.set(ylabel=name, ylim=(0, 1.05 * axes.dataLim.ymax), xlim=(0, None))
                axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            n = f"n = {encoders.ngroups} encoder{'s' if encoders.ngroups > 1 else ''}"
            name = f"{NAMES[objective]}, {n}"
            panels[0].set_title(name, loc="left", color=colour, fontweight="bold", pad=3)
        second = "\ndotted: the second iteration begins" if history["iteration"].max() > 1 else ""
        figure.supxlabel(f"update{second}")
    return figure


def _curve(axes: Axes, encoder: pd.DataFrame, measure: str, colour: str) -> None:
    """One encoder, its iterations one after the other."""
    before = 0
    for number, iteration in encoder.groupby("iteration"):
        updates = before + iteration["update"].to_numpy()
        axes.plot(updates, iteration[measure], color=colour, lw=0.9, marker="o", ms=1.5)
        if number > 1:
            axes.axvline(before, color=colour, lw=0.5, ls=":")
        before = updates.max()
