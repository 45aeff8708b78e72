"""Fig. 2: predicted against true shares."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from emoshare_utils.names import ARCHITECTURES
from emoshare_utils.results import enough
from emoshare_utils.results.figures import style

CELLS_ABOVE = 100  # clips: as dots, more would hide each other
# Shares are k of 8 to 20 listeners: 0, .05, .1, ... lie in the middle of a cell.
TRUE, PREDICTED = np.arange(-0.025, 1.05, 0.05), np.arange(-0.0125, 1.025, 0.025)
DOTS = {"ms": 2.2, "mew": 0, "alpha": 0.45, "rasterized": True}
SYSTEM = ["encoder", "architecture", "seed", "split"]
LINE_PT = 8.2  # of one line above a panel
BRACKETS = {"speakers": ["ci_speakers_low", "ci_speakers_high"], "clips": ["ci_low", "ci_high"]}


def scatter(
    predictions: pd.DataFrame,
    results: pd.DataFrame,
    emotions: Sequence[str],
    *,
    expected: Mapping[str, float] | None = None,
    expected_kind: str = "",
) -> Figure:
    """Fig. 2: predicted against true shares, one panel per emotion, with the line y = x.

    Above 100 clips the points become cells coloured by the number of clips in them. Rho stands
    above a panel, with its interval over speakers where there is one, else over clips; so does
    that predictions hardly vary.

    Args:
        predictions: the predictions of one system (encoder, architecture, seed) on one split;
            clips without a share (a masked test split) are left out.
        results: rho and its intervals; only this system's rows are read.
        emotions: the corpus's emotions, in its order.
        expected: the rho of the expected share, for the emotions where it is known.
        expected_kind: "exact" or "estimated", or why there is none.

    Raises:
        ValueError: predictions of several systems, or none with a share.
    """
    predictions = predictions.dropna(subset=["share", "prediction"])
    system = _one_system(predictions)
    look = ARCHITECTURES[system["architecture"]]
    measured = results.merge(pd.DataFrame([system])).set_index("emotion")
    over = next((of for of, ends in BRACKETS.items() if _known(measured, ends)), "")
    points = {emotion: predictions[predictions["emotion"] == emotion] for emotion in emotions}
    said = {
        emotion: _measured(measured, emotion, rows, BRACKETS.get(over), expected or {})
        for emotion, rows in points.items()
    }
    lines = max(map(len, said.values()))
    rows, columns = style.grid(len(emotions))
    panel = style.PAGE_IN / columns if columns > 1 else style.COLUMN_IN
    dense = max(map(len, points.values())) > CELLS_ABOVE
    height = (0.93 if dense else 1) * panel + (
        lines * LINE_PT + 8
    ) / 72  # a colour bar narrows panels
    with style.drawing(panel * columns, height * rows + 0.5) as figure:
        figure.get_layout_engine().set(h_pad=0.06, hspace=0.06)
        cells, shades = [], _shades(look.colour)
        for axes, emotion in zip(style.panels(figure, emotions), emotions):
            x, y = points[emotion]["share"], points[emotion]["prediction"].clip(0, 1)
            if dense and len(x):
                counts = np.histogram2d(y, x, [PREDICTED, TRUE])[0]
                counts = np.ma.masked_equal(counts, 0)
                cells.append(axes.pcolormesh(TRUE, PREDICTED, counts, cmap=shades, rasterized=True))
            else:
                axes.plot(x, y, "o", color=look.colour, **DOTS)
            _finish(axes, said[emotion], lines)
        if cells:
            _colour_bar(figure, cells)
        figure.supxlabel(_caption(measured, over, expected, expected_kind))
        figure.supylabel("predicted share of listeners, 0 to 1")
        title = f"{style.readable(system['encoder'])}, {look.name}, {system['split']}"
        flat = enough.are_flat(measured["note"]).sum()
        hardly = f": {enough.FLAT}" if enough.unranked(flat, len(measured)) else ""
        figure.suptitle(title + hardly, fontsize=8)
    return figure


def _one_system(predictions: pd.DataFrame) -> dict[str, object]:
    systems = predictions[SYSTEM].drop_duplicates()
    if len(systems) != 1:
        found = "; ".join(" ".join(map(str, row)) for row in systems.head(5).to_numpy())
        raise ValueError(
            f"predictions with a share of {len(systems)} systems ({found or 'none'}): choose one "
            f"{', one '.join(SYSTEM)} before drawing"
        )
    return systems.iloc[0].to_dict()


def _known(measured: pd.DataFrame, ends: Sequence[str]) -> bool:
    return bool(measured.reindex(columns=ends).notna().any(axis=None))


def _measured(
    results: pd.DataFrame,
    emotion: str,
    points: pd.DataFrame,
    ends: Sequence[str] | None,
    expected: Mapping[str, float],
) -> list[str]:
    """The lines above a panel: rho and n, the rho of the expected share, what to beware of."""
    n, predictions = f"n = {len(points):,} clips", points["prediction"]
    if emotion not in results.index:
        return ["no result", n]
    row = results.loc[emotion]
    if pd.isna(row["rho"]):
        said = [f"ρ: none ({row['note'] or 'undefined'})", n]
    else:
        said = [f"ρ = {style.number(row['rho'])}", n]
        if ends and row[ends].notna().all():
            said[0] += " [{}, {}]".format(*map(style.number, row[ends]))
        if hardly := enough.flat(points["share"].to_numpy(), predictions.to_numpy()):
            said.append(hardly.replace(f"{enough.FLAT}:", "hardly vary:"))
    if emotion in expected:
        said.append(f"ρ of the expected share: {expected[emotion]:.2f}")
    outside = int(((predictions < 0) | (predictions > 1)).sum())
    return [*said, f"{outside:,} outside [0, 1], at the edge"] if outside else said


def _caption(
    measured: pd.DataFrame, over: str, expected: Mapping[str, float] | None, kind: str
) -> str:
    said = ["true share of listeners, 0 to 1"]
    if over:
        said.append(f"in brackets: 95 % bootstrap interval over {over}")
    said += enough.why_no_interval(measured["note"])
    if expected:
        said.append(f"ρ of the expected share: {kind}")
    elif kind:
        said.append(f"no ρ of the expected share, {kind}")
    return "\n".join(said)


def _finish(axes: Axes, said: Sequence[str], lines: int) -> None:
    """The line y = x, one scale, and what is said above the panel, on `lines` lines."""
    axes.axline((0, 0), slope=1, color="black", linewidth=0.7, zorder=3)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    above = 5 + lines * LINE_PT
    name = axes.get_title(loc="left")
    axes.set_title(name, loc="left", fontweight="bold", pad=above)
    place = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
    axes.annotate("\n".join(said), (0, 1), (0, above - 3), fontsize=6.5, linespacing=1.25, **place)


def _shades(colour: str) -> LinearSegmentedColormap:
    """From a light to a dark shade of an architecture's colour."""
    middle = np.array(to_rgb(colour))
    return LinearSegmentedColormap.from_list(colour, [0.3 * middle + 0.7, middle, 0.3 * middle])


def _colour_bar(figure: Figure, cells: Sequence[QuadMesh]) -> None:
    most = np.max([2, *(panel.get_array().max() for panel in cells)])
    for panel in cells:
        panel.set_norm(LogNorm(1, most))
    look = {"shrink": 0.5, "aspect": 40, "pad": 0.015, "format": LogFormatter()}
    bar = figure.colorbar(cells[0], ax=figure.axes, **look)
    bar.minorformatter = LogFormatter()  # 20, where Matplotlib's own would set a formula
    bar.set_label("clips in a cell")
