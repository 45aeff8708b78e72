"""Fig. 2: predicted against true shares."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from emoshare_utils.names import ARCHITECTURES, architecture_name, label
from emoshare_utils.results.figures.style import (
    COLUMN_IN,
    GREY,
    PAGE_IN,
    _ceiling,
    _grid,
    _number,
    _of,
    _panels,
    is_simulated,
    style,
)

HEXBIN_ABOVE = 2000


def scatter(
    predictions: pd.DataFrame,
    results: pd.DataFrame,
    emotions: Sequence[str],
    *,
    listeners: str,
    ceilings: Mapping[str, float] | None = None,
    ceiling_kind: str = "",
) -> Figure:
    """Fig. 2: predicted against true shares, one panel an emotion, with the y = x line.

    Above 2,000 clips the points become hexagons coloured by the number of clips in them.

    Args:
        predictions: the predictions of one system (encoder, architecture, seed) on one split;
            clips without a share (a masked test split) are left out.
        results: rho and its interval; only this system's rows are read.
        emotions: the corpus's emotions, in its order.
        listeners: who rated, for the picture.
        ceilings: the rho a perfect model would reach, for the emotions that have one.
        ceiling_kind: "exact" or "estimated", for the picture.

    Raises:
        ValueError: predictions of several systems, or none with a share.
    """
    predictions = predictions.dropna(subset=["share", "prediction"])
    system = _one_system(predictions)
    about = results.merge(pd.DataFrame([system])).set_index("emotion")
    ceilings = {} if ceilings is None else ceilings
    rows, columns = _grid(len(emotions))
    panel = PAGE_IN / columns if columns > 1 else COLUMN_IN
    dense = predictions.groupby("emotion").size().max() > HEXBIN_ABOVE
    height = (0.93 if dense else 1) * panel * rows + 0.5  # the colour bar narrows the panels
    with mpl.rc_context(style(panel * columns, height)):
        figure, panels = _panels(rows, columns, len(emotions), sharex=True, sharey=True)
        densities = []
        for axes, emotion in zip(panels, emotions):
            points = predictions[predictions["emotion"] == emotion]
            x, y = points["share"].to_numpy(), points["prediction"].to_numpy()
            axes.axline((0, 0), slope=1, color="black", linewidth=0.7, zorder=3)
            if dense and len(points):
                densities.append(_hexagons(axes, x, y))
            else:
                colour = ARCHITECTURE_COLOURS.get(system["architecture"], GREY)
                axes.plot(x, y, "o", ms=2.2, mew=0, alpha=0.45, color=colour, rasterized=True)
            axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
            axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
            axes.set_title(emotion, loc="left", fontweight="bold", pad=3)
            lines = [*_measured(about, emotion), f"n = {len(points):,}"]
            outside = int(((y < 0) | (y > 1)).sum())
            if outside:
                lines.append(f"{outside:,} outside [0, 1]")
            if emotion in ceilings:
                lines.append(_ceiling(ceilings[emotion], ceiling_kind))
            box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
            position = {"x": 0.03, "y": 0.97, "transform": axes.transAxes, "va": "top"}
            axes.text(s="\n".join(lines), **position, bbox=box, zorder=4, linespacing=1.3)
        if densities:
            most = max(max(density.get_array().max() for density in densities), 2)
            for density in densities:
                density.set_norm(LogNorm(1, most))
            bar = figure.colorbar(densities[0], ax=panels, shrink=0.5, aspect=40, pad=0.015)
            bar.set_label("clips in a hexagon")
        of_whom = f" ({listeners})" if is_simulated(listeners) else ""
        figure.supxlabel(f"true share{of_whom}", fontsize=7)
        figure.supylabel("predicted share", fontsize=7)
        name = f"{label(system['encoder'])}, {architecture_name(system['architecture'])}"
        figure.suptitle(f"{name}, {system['split']}{_of(listeners)}")
    return figure


def _one_system(predictions: pd.DataFrame) -> dict[str, object]:
    columns = ["encoder", "architecture", "seed", "split"]
    systems = predictions[columns].drop_duplicates()
    if len(systems) != 1:
        found = "; ".join(
            " ".join(map(str, row)) for row in systems.head(5).itertuples(index=False)
        )
        raise ValueError(
            f"predictions with a share of {len(systems)} systems ({found or 'none'}): choose one "
            f"{', one '.join(columns)} before drawing"
        )
    return systems.iloc[0].to_dict()


def _measured(about: pd.DataFrame, emotion: str) -> list[str]:
    if emotion not in about.index:
        return ["no result"]
    row = about.loc[emotion]
    if pd.isna(row["rho"]):
        return ["ρ: none", f"({row['note'] or 'undefined'})"]
    rho = f"ρ = {_number(row['rho'])}"
    if pd.isna(row["ci_low"]) or pd.isna(row["ci_high"]):
        return [rho]
    return [f"{rho} [{_number(row['ci_low'])}, {_number(row['ci_high'])}]"]


def _hexagons(axes: Axes, x: np.ndarray, y: np.ndarray):
    return axes.hexbin(
        x,
        y,
        gridsize=(34, 20),
        extent=(0, 1, 0, 1),
        mincnt=1,
        cmap="viridis_r",
        linewidths=0.1,
        rasterized=True,
    )
