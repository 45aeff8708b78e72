"""Pictures of linear probes."""

from itertools import cycle

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from emoshare_utils.names import label
from emoshare_utils.results.figures.style import GREY, PAGE_IN, is_simulated, style

# Okabe and Ito's, as in `figures`, where two of them are the architectures'.
COLOURS = {"hubert": "#009E73", "wav2vec2": "#CC79A7", "untrained": GREY}
MARKERS = "osD^vP"


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
