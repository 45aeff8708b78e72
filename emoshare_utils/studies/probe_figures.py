"""Pictures of linear probes."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from emoshare_utils.names import label
from emoshare_utils.results.figures import style
from emoshare_utils.studies.probes import SPEAKER

MARKERS = "osD^vP"


def layers(table: pd.DataFrame, n: int, n_speakers: int) -> Figure:
    """Mean rho of a linear probe by layer, one line per encoder.

    Args:
        table: encoder, layer (0: what enters the transformer), rho.
        n, n_speakers: the clips of train, and their speakers, over whom the probes are
            cross-validated (0: not known).
    """
    keys = {}
    with style.drawing(style.COLUMN_IN, 2.25) as figure:
        axes = figure.subplots()
        for (encoder, rows), marker in zip(table.groupby("encoder", sort=False), cycle(MARKERS)):
            if len(rows) == 1:
                line = axes.axhline(rows["rho"].item(), lw=0.8, ls="--", color="black")
            else:
                look = {"marker": marker, "ms": 3, "lw": 1, "color": style.family_colour(encoder)}
                (line,) = axes.plot(rows["layer"], rows["rho"], **look)
            keys[label(encoder)] = line
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="layer (0: what enters the transformer)", ylabel="mean ρ of a linear probe")
        figure.supxlabel(f"cross-validated over {_counted(n, n_speakers)} of train")
        style.legend(figure, keys, columns=2)
    return figure


def probes(table: pd.DataFrame, n: int, n_speakers: int) -> Figure:
    """How well a linear probe predicts each target: a mark and interval per encoder, and chance.

    Args:
        table: encoder, target, measure, score, ci_low, ci_high, chance, as `probes.probe` has it.
        n, n_speakers: the clips of devel, and their speakers, over whom the intervals are (0: not
            known).
    """
    encoders, targets = table["encoder"].unique(), table.drop_duplicates("target")
    keys = {}
    most = max(len(encoders), 4)
    with style.drawing(style.PAGE_IN * 0.7, 1.05 + 0.083 * most * len(targets)) as figure:
        axes = figure.subplots()
        offsets = style.side_by_side(len(encoders), 0.6 / most)
        for encoder, offset, marker in zip(encoders, offsets, cycle(MARKERS)):
            rows = table[table["encoder"] == encoder].set_index("target").loc[targets["target"]]
            y, colour = np.arange(len(targets)) + offset, style.family_colour(encoder)
            axes.hlines(y, rows["ci_low"], rows["ci_high"], lw=0.7, color=colour)
            look = {"marker": marker, "ms": 3.5, "ls": "none", "color": colour}
            (keys[label(encoder)],) = axes.plot(rows["score"], y, **look)
        axes.plot(targets["chance"], range(len(targets)), "|", ms=14, color=style.GREY)
        keys["chance"] = Line2D([], [], marker="|", ms=7, ls="none", color=style.GREY)
        measures = targets["measure"].replace("rho", "ρ")
        style.name_rows(axes, targets["target"] + " (" + measures + ")")
        axes.set(xlabel="score of a linear probe on the mean frame", xlim=(None, 1.02))
        caption = f"devel, n = {_counted(n, n_speakers)}"
        if table["ci_low"].notna().any():
            of_speaker = " (speaker: over clips)" if (targets["target"] == SPEAKER).any() else ""
            caption += f"; lines: 95 % intervals over speakers{of_speaker}"
        figure.supxlabel(caption)
        style.legend(figure, keys)
    return figure


def _counted(n: int, n_speakers: int) -> str:
    return f"{n:,} clips" + (f" of {n_speakers:,} speakers" if n_speakers else "")
