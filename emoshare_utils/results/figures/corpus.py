"""What a corpus holds: shares and durations."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.results.figures.style import (
    COLUMN_IN,
    PAGE_IN,
    SPLIT_COLOURS,
    _grid,
    _panels,
    is_simulated,
    style,
)


def share_distributions(clips: pd.DataFrame, emotions: Sequence[str], listeners: str) -> Figure:
    """How the shares of each emotion are distributed, and how many are exactly zero.

    Args:
        clips: the clip table; null shares (a masked test split) are left out.
        emotions: the corpus's emotions, in its order.
        listeners: who rated, for the picture.
    """
    rows, columns = _grid(len(emotions))
    edges = np.linspace(0, 1, 11) + 1e-9  # (0, .1], (.1, .2], …: zeros apart
    with mpl.rc_context(style(PAGE_IN if columns > 1 else COLUMN_IN, 1.35 * rows + 0.6)):
        figure, panels = _panels(rows, columns, len(emotions), sharex=True, sharey=True)
        for axes, emotion in zip(panels, emotions):
            shares = clips[emotion].dropna().to_numpy(float)
            zero = np.mean(shares == 0) if len(shares) else 0.0
            counts, _ = np.histogram(shares, edges)
            percent = 100 * counts / max(len(shares), 1)
            axes.bar(edges[:-1] + 0.05, percent, 0.092, color=SPLIT_COLOURS["test"])
            axes.bar(-0.05, 100 * zero, 0.092, color="black")
            axes.set_title(emotion, loc="left", fontweight="bold", pad=3)
            mean = shares.mean() if len(shares) else np.nan
            about = f"{100 * zero:.0f} % exactly 0\nmean {mean:.2f}\nn = {len(shares):,}"
            axes.text(0.98, 0.97, about, transform=axes.transAxes, ha="right", va="top")
            axes.set(xlim=(-0.12, 1.02), xticks=[-0.05, 0.5, 1])
            axes.set_xticklabels(["0", "0.5", "1"])
        figure.supxlabel("share (black: exactly 0)", fontsize=7)
        figure.supylabel("clips (%)", fontsize=7)
        figure.suptitle(f"Shares of {listeners}")
    return figure


def durations(clips: pd.DataFrame, *, listeners: str = "listeners") -> Figure:
    """How long the clips of each split are, in seconds.

    Raises:
        ValueError: no clip has a duration yet.
    """
    known = clips.dropna(subset=["duration_s"])
    if known.empty:
        raise ValueError(
            "no clip has a duration_s: run the audio check of notebooks/01_data_preparation.ipynb"
        )
    splits = [split for split in SPLIT_COLOURS if (known["split"] == split).any()]
    with mpl.rc_context(style(height_in=1.9)):
        figure = Figure()
        axes = figure.subplots()
        sns.histplot(
            known,
            x="duration_s",
            hue="split",
            hue_order=splits,
            palette=SPLIT_COLOURS,
            stat="percent",
            common_norm=False,
            element="step",
            fill=False,
            binwidth=0.5,
            binrange=(0, 0.5 * np.ceil(known["duration_s"].max() / 0.5)),
            legend=False,
            linewidth=1.2,
            ax=axes,
        )
        groups = [known[known["split"] == split] for split in splits]
        names = [
            f"{split}: {len(group):,} clips, {_time(group['duration_s'].sum())}"
            for split, group in zip(splits, groups)
        ]
        handles = [Line2D([], [], color=SPLIT_COLOURS[split]) for split in splits]
        title = listeners if is_simulated(listeners) else None
        figure.legend(handles, names, loc="outside upper center", handlelength=1.2, title=title)
        axes.set(xlabel="length of a clip (s)", ylabel="clips of the split (%)")
        axes.set_xlim(left=0)
    return figure


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
