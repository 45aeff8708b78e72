"""Pictures of losses compared (notebook 12)."""

from itertools import cycle

import pandas as pd
from matplotlib.figure import Figure

from emoshare_utils.results.figures import style
from emoshare_utils.results.figures.forest import OVER_SPEAKERS
from emoshare_utils.studies.likelihood import HIGHER_IS_BETTER
from emoshare_utils.studies.probe_figures import MARKERS


def differences(table: pd.DataFrame, reference: str, seeds: int) -> Figure:
    """Each loss less the reference, a panel per metric, on its own scale.

    Args:
        table: as `likelihood.compare_losses` returns it.
        seeds: how many networks of each.
    """
    losses = [loss for loss in table["loss"].unique() if loss != reference]
    metrics = list(table["metric"].unique())
    with style.drawing(style.PAGE_IN, 1.05 + 0.19 * len(losses)) as figure:
        for axes, metric in zip(figure.subplots(1, len(metrics), sharey=True), metrics):
            rows = table[table["metric"] == metric].set_index("loss").loc[losses]
            for y, row in enumerate(rows.itertuples()):
                axes.plot([row.low, row.high], [y, y], **OVER_SPEAKERS)
                face = "black" if row.better else "white"
                axes.plot(row.difference, y, "o", ms=3.5, mew=0.7, mec="black", mfc=face)
            axes.axvline(0, color="black", lw=0.6, zorder=1)
            axes.tick_params(axis="x", labelrotation=45)
            style.name_rows(axes, losses)
            higher = "higher is better" if HIGHER_IS_BETTER[metric] else "lower is better"
            axes.set_xlabel(f"{metric.replace('rho', 'mean ρ')}\n({higher})")
        n, n_speakers = table["n"].iloc[0], table["n_speakers"].iloc[0]
        figure.supxlabel(
            f"less {reference}; {n:,} devel clips of {n_speakers} speakers, {seeds} seeds; lines: "
            "95 % intervals over speakers, all losses together; filled: leaves out 0"
        )
    return figure


def bins(table: pd.DataFrame) -> Figure:
    """Mean error by bin of the observed share, a line per loss.

    Args:
        table: as `likelihood.by_bin` returns it.
    """
    keys = {}
    with style.drawing(style.COLUMN_IN, 2.6) as figure:
        axes = figure.subplots()
        for (loss, rows), marker in zip(table.groupby("loss", sort=False), cycle(MARKERS)):
            look = {"marker": marker, "ms": 3.5, "lw": 0.8}
            (keys[loss],) = axes.plot(rows["bin"].astype(str), rows["error"], **look)
        axes.axhline(0, color="black", lw=0.6)
        axes.set(xlabel="observed share", ylabel="predicted less observed, mean")
        style.legend(figure, keys, columns=3)
    return figure
