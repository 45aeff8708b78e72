"""Pictures of pretraining and of what its objectives keep, in the style of `figures`."""

from collections.abc import Sequence
from itertools import cycle

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from emoshare_utils.figures import GREY, PAGE_IN, is_simulated, style
from emoshare_utils.tables import label

# Okabe and Ito's, as in `figures`, where two of them are the architectures'.
COLOURS = {"hubert": "#009E73", "wav2vec2": "#CC79A7", "untrained": GREY}
MARKERS = "osD^vP"
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


def layers(table: pd.DataFrame, *, listeners: str) -> Figure:
    """Mean rho of a linear probe by layer, a line an encoder.

    Args:
        table: encoder, layer (0: what enters the transformer), rho.
        listeners: who rated, for the picture.
    """
    with mpl.rc_context(style(height_in=2.1)):
        figure = Figure()
        axes = figure.subplots()
        for (encoder, rows), marker in zip(table.groupby("encoder", sort=False), cycle(MARKERS)):
            name = label(encoder)
            if rows["layer"].nunique() == 1:
                axes.axhline(rows["rho"].iloc[0], lw=0.8, ls="--", color="black", label=name)
                continue
            look = {"marker": marker, "ms": 3, "lw": 1, "color": _colour(encoder)}
            axes.plot(rows["layer"], rows["rho"], **look, label=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="layer (0: what enters the transformer)", ylabel="mean ρ of a linear probe")
        title = listeners if is_simulated(listeners) else None
        figure.legend(loc="outside upper center", ncols=2, title=title, title_fontsize=7)
    return figure


def probes(table: pd.DataFrame, *, listeners: str) -> Figure:
    """What a linear probe tells of each target: a dot and interval an encoder, a tick at chance.

    Args:
        table: encoder, target, measure, score, ci_low, ci_high, chance, as `probes.probe` has it.
        listeners: who rated, for the picture.
    """
    targets = list(table["target"].unique())
    encoders = list(table["encoder"].unique())
    with mpl.rc_context(style(PAGE_IN * 0.7, 0.9 + 0.33 * len(targets))):
        figure = Figure()
        axes = figure.subplots()
        for place, (encoder, marker) in enumerate(zip(encoders, cycle(MARKERS))):
            rows = table[table["encoder"] == encoder].set_index("target").loc[targets]
            y = np.arange(len(targets)) + 0.15 * (place - (len(encoders) - 1) / 2)
            colour = _colour(encoder)
            axes.plot(rows["score"], y, marker, ms=3.5, color=colour, label=label(encoder))
            axes.hlines(y, rows["ci_low"], rows["ci_high"], lw=0.7, color=colour)
        chance = table.drop_duplicates("target").set_index("target").loc[targets, "chance"]
        axes.plot(chance, range(len(targets)), "|", ms=14, color="black", label="chance")
        measures = table.drop_duplicates("target").set_index("target")["measure"]
        names = [f"{target} ({_measure(measures[target])})" for target in targets]
        axes.set_yticks(range(len(targets)), names)
        axes.set(xlabel="score of a linear probe on the mean frame, devel", xlim=(None, 1.02))
        axes.set_ylim(len(targets) - 0.5, -0.5)
        title = listeners if is_simulated(listeners) else None
        figure.legend(loc="outside upper center", ncols=3, title=title, title_fontsize=7)
    return figure


def _measure(measure: str) -> str:
    return "ρ" if measure == "rho" else measure


def _colour(name: str) -> str:
    return next((colour for part, colour in COLOURS.items() if name.startswith(part)), "black")


def _legend(figure: Figure, objectives: Sequence[str], listeners: str) -> None:
    handles = [mpl.lines.Line2D([], [], color=_colour(name)) for name in objectives]
    names = [{"hubert": "HuBERT", "wav2vec2": "wav2vec2.0"}.get(name, name) for name in objectives]
    title = listeners if is_simulated(listeners) else None
    figure.legend(handles, names, loc="outside upper center", ncols=2, title=title)
