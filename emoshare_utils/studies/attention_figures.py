"""Pictures of what attention looks at (notebook 11)."""

import pandas as pd
from matplotlib.figure import Figure

from emoshare_utils.names import ARCHITECTURES
from emoshare_utils.results.figures import style

COLOUR = ARCHITECTURES[2].colour
LABELS = {
    "loudness": "ρ with loudness",
    "voicing": "ρ with voicing",
    "position": "ρ with position in the clip",
    "entropy": "entropy (1: equal weights)",
}


def correlates(table: pd.DataFrame) -> Figure:
    """The weights' mean correlations and their entropy: a panel each, a row per emotion.

    Args:
        table: as `attention.correlates` returns it.
    """
    emotions, whats = list(table["emotion"].unique()), list(table["what"].unique())
    with style.drawing(style.PAGE_IN, 0.75 + 0.17 * len(emotions)) as figure:
        for axes, what in zip(figure.subplots(1, len(whats), sharey=True), whats):
            rows = table[table["what"] == what].set_index("emotion").loc[emotions]
            for y, row in enumerate(rows.itertuples()):
                axes.plot([row.low, row.high], [y, y], color=COLOUR, lw=1.2)
                axes.plot(row.average, y, "o", ms=3.5, color=COLOUR)
            axes.axvline(float(what == "entropy"), color=style.GREY, lw=0.6, zorder=0)
            axes.ticklabel_format(axis="x", useOffset=False)
            style.name_rows(axes, emotions)
            axes.set_xlabel(LABELS.get(what, what))
        n, n_speakers = table["n"].max(), table["n_speakers"].max()
        figure.supxlabel(
            f"attention weights over a clip's states, mean over {n:,} clips of {n_speakers} "
            "speakers; lines: 95 % intervals over speakers"
        )
    return figure
