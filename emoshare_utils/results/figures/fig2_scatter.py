"""Fig. 2: predicted against true shares."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from emoshare_utils.names import ARCHITECTURES, label
from emoshare_utils.results.figures import style

HEXBIN_ABOVE = 2000
HEXAGONS = {"gridsize": (34, 20), "extent": (0, 1, 0, 1), "mincnt": 1}
HEXAGONS |= {"cmap": "viridis_r", "linewidths": 0.1, "rasterized": True}
DOTS = {"ms": 2.2, "mew": 0, "alpha": 0.45, "rasterized": True}
SYSTEM = ["encoder", "architecture", "seed", "split"]


def scatter(
    predictions: pd.DataFrame,
    results: pd.DataFrame,
    emotions: Sequence[str],
    *,
    expected: Mapping[str, float] | None = None,
    expected_kind: str = "",
) -> Figure:
    """Fig. 2: predicted against true shares, one panel per emotion, with the line y = x.

    Above 2,000 clips the points become hexagons coloured by the number of clips in them.

    Args:
        predictions: the predictions of one system (encoder, architecture, seed) on one split;
            clips without a share (a masked test split) are left out.
        results: rho and its interval; only this system's rows are read.
        emotions: the corpus's emotions, in its order.
        expected: the rho of the expected share, for the emotions where it is known.
        expected_kind: "exact" or "estimated".

    Raises:
        ValueError: predictions of several systems, or none with a share.
    """
    predictions = predictions.dropna(subset=["share", "prediction"])
    system = _one_system(predictions)
    look = ARCHITECTURES[system["architecture"]]
    measured = results.merge(pd.DataFrame([system])).set_index("emotion")
    rows, columns = style.grid(len(emotions))
    panel = style.PAGE_IN / columns if columns > 1 else style.COLUMN_IN
    dense = predictions.groupby("emotion").size().max() > HEXBIN_ABOVE
    height = (0.93 if dense else 1) * panel * rows + 0.5  # the colour bar narrows the panels
    with style.drawing(panel * columns, height) as figure:
        hexagons = []
        for axes, emotion in zip(style.panels(figure, emotions), emotions):
            points = predictions[predictions["emotion"] == emotion]
            x, y = points["share"].to_numpy(), points["prediction"].to_numpy()
            if dense and len(x):
                hexagons.append(axes.hexbin(x, y, **HEXAGONS))
            else:
                axes.plot(x, y, "o", color=look.colour, **DOTS)
            said = _measured(measured, emotion, y)
            if emotion in (expected or {}):
                said.append(f"ρ of the expected share: {expected[emotion]:.2f}")
            _finish(axes, said)
        if hexagons:
            _colour_bar(figure, hexagons)
        known = f"\nρ of the expected share: {expected_kind}" if expected else ""
        figure.supxlabel(f"true share{known}")
        figure.supylabel("predicted share")
        figure.suptitle(f"{label(system['encoder'])}, {look.name}, {system['split']}", fontsize=8)
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


def _measured(results: pd.DataFrame, emotion: str, predictions: np.ndarray) -> list[str]:
    """The lines of words in a panel: rho, n, and how many predictions are no shares."""
    if emotion not in results.index:
        said = ["no result"]
    elif pd.isna((row := results.loc[emotion])["rho"]):
        said = ["ρ: none", f"({row['note'] or 'undefined'})"]
    else:
        said = [f"ρ = {style.number(row['rho'])}"]
        if row[["ci_low", "ci_high"]].notna().all():
            said[0] += f" [{style.number(row['ci_low'])}, {style.number(row['ci_high'])}]"
    said.append(f"n = {len(predictions):,}")
    outside = int(((predictions < 0) | (predictions > 1)).sum())
    return [*said, f"{outside:,} outside [0, 1]"] if outside else said


def _finish(axes: Axes, said: Sequence[str]) -> None:
    axes.axline((0, 0), slope=1, color="black", linewidth=0.7, zorder=3)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
    place = {"transform": axes.transAxes, "va": "top", "linespacing": 1.3, "zorder": 4}
    axes.text(0.03, 0.97, "\n".join(said), bbox=box, **place)


def _colour_bar(figure: Figure, hexagons: Sequence[PolyCollection]) -> None:
    most = np.max([2, *(panel.get_array().max() for panel in hexagons)])
    for panel in hexagons:
        panel.set_norm(LogNorm(1, most))
    look = {"shrink": 0.5, "aspect": 40, "pad": 0.015, "format": LogFormatter()}
    bar = figure.colorbar(hexagons[0], ax=figure.axes, **look)
    bar.minorformatter = LogFormatter()  # 20, where Matplotlib's own would set a formula
    bar.set_label("clips in a hexagon")
