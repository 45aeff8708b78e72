"""Pictures of what attention looks at (notebook 11)."""

import pandas as pd
from matplotlib.figure import Figure

from emoshare_utils.names import ARCHITECTURES, system
from emoshare_utils.results.figures import style
from emoshare_utils.results.figures.forest import each_by_itself

COLOUR = ARCHITECTURES[2].colour
LABELS = {
    "loudness": "ρ with loudness",
    "voicing": "ρ with voicing",
    "position": "ρ with position in the clip",
    "entropy": "entropy (1: equal weights)",
}


def whose(encoder: str, architecture: int, seed: int, one_trunk: bool = False) -> str:
    """The system in words, for captions, and what rows of emotions are where one trunk is shared.

    Args:
        one_trunk: whether it was trained with `shared_trunk`.
    """
    rows = "; one trunk: rows differ only by the epoch kept" if one_trunk else ""
    return f"{system(encoder, architecture)}, seed {seed}{rows}"


def correlates(table: pd.DataFrame, of: str = "") -> Figure:
    """The weights' mean correlations and their entropy: a panel each, a row per emotion.

    Emotions with the very same weights, as one trunk may give them, are one row.

    Args:
        table: as `attention.correlates` returns it.
        of: the system, for the caption.
    """
    emotions, whats = _distinct(table), list(table["what"].unique())
    names = [style.wrapped(name) for name in emotions.values()]
    n, n_speakers = table["n"].max(), table["n_speakers"].max()
    lines = [
        of,
        f"attention weights over a clip's states, mean over {n:,} clips of {n_speakers} "
        "speakers; lines: 95 % intervals over speakers",
        each_by_itself(int(table[table["emotion"].isin(emotions)]["low"].notna().sum())),
    ]
    caption = style.caption(lines, style.PAGE_IN)
    height = 0.73 + 0.17 * len(names) + style.LINE_IN * caption.count("\n")
    height += 0.1 * sum(name.count("\n") for name in names)
    with style.drawing(style.PAGE_IN, height) as figure:
        for axes, what in zip(figure.subplots(1, len(whats), sharey=True), whats):
            rows = table[table["what"] == what].set_index("emotion").loc[list(emotions)]
            for y, row in enumerate(rows.itertuples()):
                axes.plot([row.low, row.high], [y, y], color=COLOUR, lw=1.2)
                axes.plot(row.average, y, "o", ms=3.5, color=COLOUR)
            axes.axvline(float(what == "entropy"), color=style.GREY, lw=0.6, zorder=0)
            axes.ticklabel_format(axis="x", useOffset=False)
            style.name_rows(axes, names)
            axes.set_xlabel(LABELS.get(what, what))
        figure.supxlabel(caption)
    return figure


def _distinct(table: pd.DataFrame) -> dict[str, str]:
    """The first emotion of each set of averages, and the names of all that have it."""
    wide = table.pivot(index="emotion", columns="what", values="average")
    named: dict[tuple, list[str]] = {}
    for emotion in table["emotion"].unique():
        named.setdefault(tuple(wide.loc[emotion]), []).append(emotion)
    return {names[0]: ", ".join(names) for names in named.values()}
