"""Pictures of linear probes."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from emoshare_utils.names import label
from emoshare_utils.results.figures import style
from emoshare_utils.results.figures.forest import each_by_itself
from emoshare_utils.studies.probes import SPEAKER

MARKERS = "osD^vP"
LINES = ("-", "--", "-.", ":")  # of encoders of one colour
TARGETS = {"intended": "intended emotion"}  # columns of the clip table, in words
MEASURES = {"rho": "ρ"}


def layers(table: pd.DataFrame, n: int, n_speakers: int) -> Figure:
    """Mean rho of a linear probe by layer, one line per encoder.

    Args:
        table: encoder, layer (0: what enters the transformer), rho.
        n, n_speakers: the clips of train, and their speakers, over whom the probes are
            cross-validated (0: not known).
    """
    keys, styles = {}, {}
    said = [f"cross-validated over {_counted(n, n_speakers)} of train", "no intervals"]
    caption = style.caption(said, style.COLUMN_IN)
    with style.drawing(style.COLUMN_IN, 2.25 + style.LINE_IN * caption.count("\n")) as figure:
        axes = figure.subplots()
        for (encoder, rows), marker in zip(table.groupby("encoder", sort=False), cycle(MARKERS)):
            if len(rows) == 1:
                line = axes.axhline(rows["rho"].item(), lw=0.8, ls="--", color="black")
            else:
                colour = style.family_colour(encoder)
                dashes = next(styles.setdefault(colour, cycle(LINES)))
                look = {"marker": marker, "ms": 3, "lw": 1, "color": colour, "ls": dashes}
                (line,) = axes.plot(rows["layer"], rows["rho"], **look)
            keys[label(encoder)] = line
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="layer (0: what enters the transformer)", ylabel="mean ρ of a linear probe")
        figure.supxlabel(caption)
        style.legend(figure, keys, columns=2, handlelength=3.5)
    return figure


def probes(table: pd.DataFrame, n: int, n_speakers: int) -> Figure:
    """How well a linear probe predicts each target: a mark and interval per encoder, and chance.

    Each measure has its own panel.

    Args:
        table: encoder, target, measure, score, ci_low, ci_high, chance, as `probes.probe` has it.
        n, n_speakers: the clips of devel, and their speakers, over whom the intervals are (0: not
            known).
    """
    targets = table.drop_duplicates("target")
    measures, most = targets["measure"].value_counts(sort=False), max(table["encoder"].nunique(), 4)
    caption = f"linear probes on the mean frame; devel, n = {_counted(n, n_speakers)}"
    if known := int(table["ci_low"].notna().sum()):
        of_speaker = " (speaker: over clips)" if (targets["target"] == SPEAKER).any() else ""
        caption += f"; lines: 95 % intervals over speakers{of_speaker}"
    caption = style.caption([caption, each_by_itself(known)], style.PAGE_IN * 0.7)
    height = 0.6 + 0.1 * most * len(targets) + 0.35 * len(measures)
    height += style.LINE_IN * caption.count("\n")
    with style.drawing(style.PAGE_IN * 0.7, height) as figure:
        grid = figure.subplots(len(measures), 1, squeeze=False, height_ratios=list(measures))
        for axes, measure in zip(grid[:, 0], measures.index):
            keys = _probed(axes, table[table["measure"] == measure], table["encoder"].unique())
            axes.set_xlabel(MEASURES.get(measure, measure))
        figure.supxlabel(caption)
        style.legend(figure, keys)
    return figure


def _probed(axes: Axes, table: pd.DataFrame, encoders: Sequence[str]) -> dict[str, Line2D]:
    """Draw the targets of one measure, a row each; returns the legend's keys."""
    keys, targets = {}, table.drop_duplicates("target")
    offsets = style.side_by_side(len(encoders), 0.7 / max(len(encoders), 4))
    for encoder, offset, marker in zip(encoders, offsets, cycle(MARKERS)):
        rows = table[table["encoder"] == encoder].set_index("target").reindex(targets["target"])
        y, colour = np.arange(len(targets)) + offset, style.family_colour(encoder)
        axes.hlines(y, rows["ci_low"], rows["ci_high"], lw=1.1, color=colour)
        look = {"marker": marker, "ms": 2.6, "ls": "none", "color": colour}
        (keys[label(encoder)],) = axes.plot(rows["score"], y, **look)
    axes.plot(targets["chance"], range(len(targets)), "|", ms=14, color=style.GREY)
    keys["chance"] = Line2D([], [], marker="|", ms=7, ls="none", color=style.GREY)
    style.name_rows(axes, [TARGETS.get(name, name) for name in targets["target"]])
    axes.set_xlim(None, 1.02)
    return keys


def _counted(n: int, n_speakers: int) -> str:
    return f"{n:,} clips" + (f" of {n_speakers:,} speakers" if n_speakers else "")
