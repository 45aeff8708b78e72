"""What a corpus holds: shares and durations."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.results.figures import style

# Bins centred on tenths: a single vote of k is in one bin, of 7 listeners or of 19.
EDGES = (2 * np.arange(12) - 1) / 20 - 1e-9
BIN_S = 0.5  # seconds
OUTLINE = {"stat": "percent", "element": "step", "fill": False, "linewidth": 1.2}
BARS = {"stat": "percent", "color": style.SHARES, "alpha": 1, "linewidth": 0, "shrink": 0.92}
ZERO = {"color": "black", "width": 0.092, "linewidth": 0}
LINES = {"train": "-", "devel": "--", "test": ":"}


def share_distributions(clips: pd.DataFrame, emotions: Sequence[str]) -> Figure:
    """How the shares of each emotion are distributed, and how many are exactly zero.

    Args:
        clips: the clip table; null shares (a masked test split) are left out, and the caption
            says which splits have some.
        emotions: the corpus's emotions, in its order.
    """
    rows, columns = style.grid(len(emotions))
    width = style.PAGE_IN if columns > 1 else style.COLUMN_IN
    counted = clips.dropna(subset=list(emotions), how="all")["split"].unique()
    splits = [split for split in style.SPLIT_COLOURS if split in counted]
    with style.drawing(width, 1.5 * rows + 0.4 + style.LINE_IN) as figure:
        for axes, emotion in zip(style.panels(figure, emotions), emotions):
            shares = clips[emotion].dropna().to_numpy(float)
            sns.histplot(x=shares, bins=EDGES, ax=axes, **BARS)
            if len(shares):
                axes.bar(0, 100 * np.mean(shares == 0), **ZERO)
            said = _zeros(shares)
            axes.set_title(axes.get_title("left"), loc="left", fontweight="bold", pad=11)
            axes.text(0, 1, said, transform=axes.transAxes, va="bottom", fontsize=6.5)
            axes.set(xlim=(-0.07, 1.07), ylabel="")
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        figure.supxlabel(
            "share of the listeners (black: exactly 0; bins centred on tenths)\n"
            f"clips of {' and '.join(splits) or 'no split'}"
        )
        figure.supylabel("clips (%)")
    return figure


def _zeros(shares: np.ndarray) -> str:
    """How many clips there are, and of how many the share is exactly zero."""
    if not len(shares):
        return "n = 0"
    zeros = np.sum(shares == 0)
    part = f"{zeros:,} of {len(shares):,} are 0 ({100 * zeros / len(shares):.0f} %)"
    return f"{part}; mean {shares.mean():.2f}"


def durations(clips: pd.DataFrame) -> Figure:
    """How long the clips of each split are, in seconds.

    Raises:
        ValueError: no clip has a duration yet.
    """
    known = clips.dropna(subset=["duration_s"])
    if known.empty:
        raise ValueError(
            "no clip has a duration_s: run the audio check of notebooks/01_data_preparation.ipynb"
        )
    by_split = known.groupby("split")["duration_s"]
    splits = [split for split in style.SPLIT_COLOURS if split in by_split.groups]
    edges = np.arange(0, known["duration_s"].max() + BIN_S, BIN_S)
    with style.drawing(style.COLUMN_IN, 1.6 + 0.13 * len(splits)) as figure:
        axes = figure.subplots()
        keys = {}
        for split in splits:
            seconds, colour = by_split.get_group(split), style.SPLIT_COLOURS[split]
            look = {"color": colour, "linestyle": LINES[split]}
            sns.histplot(x=seconds, bins=edges, ax=axes, **OUTLINE, **look)
            name = f"{split}: {len(seconds):,} clips, {_time(seconds.sum())}"
            keys[name] = Line2D([], [], **look)
        style.legend(figure, keys, columns=1)
        axes.set(xlabel="length of a clip (s)", ylabel="clips of the split (%)")
        axes.set_xlim(left=0)
    return figure


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
