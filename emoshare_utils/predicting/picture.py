"""A recording and its shares as one picture."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from emoshare_utils.corpora.audio import SAMPLE_RATE
from emoshare_utils.files import atomic
from emoshare_utils.names import GREY
from emoshare_utils.results.figures.quickstart import spectrogram
from emoshare_utils.results.figures.style import COLUMN_IN, SHARES, drawing, style, wrapped


def draw(samples: np.ndarray, shares: pd.DataFrame, title: str = "") -> Figure:
    """The waveform, the spectrogram and the shares with their intervals.

    Args:
        samples: (n,) at 16 kHz.
        shares: emotion, share, low, high, as `predict` returned them.
        title: what the recording is called.
    """
    seconds = np.arange(len(samples)) / SAMPLE_RATE
    with drawing(COLUMN_IN, 2.3 + 0.17 * len(shares)) as figure:
        rows = [1, 1.5, 0.27 * len(shares) + 0.3]
        wave, spectrum, bars = figure.subplots(3, 1, height_ratios=rows)
        wave.plot(seconds, samples, color=GREY, linewidth=0.4, rasterized=True)
        wave.set(ylabel="amplitude", xticklabels=[])
        spectrogram(spectrum, samples)
        spectrum.set_xlabel("time (s)")
        for axes in (wave, spectrum):
            axes.set_xlim(0, len(samples) / SAMPLE_RATE)
        places, values = np.arange(len(shares)), shares["share"].to_numpy()
        reach = np.abs(shares[["low", "high"]].to_numpy().T - values)
        bars.barh(places, values, color=SHARES, height=0.6)
        if np.isfinite(reach).all():
            bars.errorbar(
                values, places, xerr=reach, fmt="none", ecolor="black", elinewidth=0.8, capsize=2
            )
        bars.set_yticks(places, shares["emotion"])
        bars.invert_yaxis()
        bars.set(xlim=(0, 1), xlabel="predicted share\nline: 90 % interval for a new panel's share")
        wave.set_title(wrapped(title, 60))
    return figure


def save(figure: Figure, file: Path) -> None:
    """Write the picture as PNG, whole or not at all."""
    with mpl.rc_context(style()), atomic(file) as stream:
        figure.savefig(stream, format="png", metadata={"Software": None})
