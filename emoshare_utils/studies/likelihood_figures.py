"""Pictures of losses compared (notebook 12)."""

from itertools import cycle, pairwise

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from emoshare_utils.results.figures import style
from emoshare_utils.results.figures.forest import OVER_SPEAKERS
from emoshare_utils.results.figures.learning_curves import loss_name
from emoshare_utils.studies.likelihood import EDGES, HIGHER_IS_BETTER
from emoshare_utils.studies.probe_figures import MARKERS

# Looks of their own, whichever losses there are; all others are grey, told apart by their marks.
LOOKS = {
    "mse": {"color": "black", "marker": "o"},
    "ccc": {"color": style.LOSS_COLOURS["ccc"], "marker": "^"},
    "balanced_mse": {"color": style.LOSS_COLOURS["balanced_mse"], "marker": "s"},
    "soft_rank recalibrated": {"color": style.LOSS_COLOURS["soft_rank recalibrated"]}
    | {"marker": "D"},
}
UNCALIBRATED = ("soft_rank",)  # their outputs have ranks but are no shares
BINS = (
    {"0": "0"}
    | {  # as `likelihood.by_bin` and as a reader calls them
        f"to {high:g}": f"{low:g}–{high:g}" for low, high in pairwise([0, *EDGES[2:]])
    }
)
LINES = ("--", ":", "-.", (0, (6, 1.5)), (0, (3, 1, 1, 1, 1, 1)))


def differences(table: pd.DataFrame, reference: str, seeds: int, of: str = "") -> Figure:
    """Each loss less the reference, the best rho first: a panel per metric, on its own scale.

    Args:
        table: as `likelihood.compare_losses` returns it.
        seeds: how many networks of each.
        of: the system, for the caption.
    """
    rho = table[table["metric"] == "rho"].sort_values("difference", ascending=False, kind="stable")
    losses = [loss for loss in rho["loss"] if loss != reference]
    metrics = list(table["metric"].unique())
    caption = _compared(table, reference, seeds, of)
    height = 0.92 + 0.19 * len(losses) + style.LINE_IN * caption.count("\n")
    with style.drawing(style.PAGE_IN, height) as figure:
        for axes, metric in zip(figure.subplots(1, len(metrics), sharey=True), metrics):
            rows = table[table["metric"] == metric].set_index("loss").loc[losses]
            for y, row in enumerate(rows.itertuples()):
                axes.plot([row.low, row.high], [y, y], **OVER_SPEAKERS)
                face = "black" if row.better else "white"
                axes.plot(row.difference, y, "o", ms=3.5, mew=0.7, mec="black", mfc=face)
            axes.axvline(0, color="black", lw=0.6, zorder=1)
            axes.xaxis.set_major_locator(MaxNLocator(3))
            style.name_rows(axes, [loss_name(loss) for loss in losses])
            higher = "higher is better" if HIGHER_IS_BETTER[metric] else "lower is better"
            axes.set_xlabel(f"{metric.replace('rho', 'mean ρ')}\n({higher})")
        figure.supxlabel(caption)
    return figure


def _compared(table: pd.DataFrame, reference: str, seeds: int, of: str) -> str:
    first, others = table.iloc[0], table["loss"].nunique() - 1
    joint = f", all {others} together in each panel (Bonferroni)" if others > 1 else ""
    trained = f"means over {seeds} seeds" if seeds > 1 else "one seed"
    lines = [
        f"{of}; each loss less {loss_name(reference)}" if of else f"less {loss_name(reference)}",
        f"devel, n = {first['n']:,} clips of {first['n_speakers']} speakers; {trained}",
        f"lines: 95 % intervals over speakers{joint}; filled: leaves out 0",
    ]
    return style.caption(lines, style.PAGE_IN)


def bins(table: pd.DataFrame, of: str = "") -> Figure:
    """Mean error by bin of the observed share, a line per loss.

    A loss whose outputs are no shares is left out.

    Args:
        table: as `likelihood.by_bin` returns it.
        of: the system, for the caption.
    """
    rows = table[~table["loss"].isin(UNCALIBRATED)]
    order = [loss for loss in [*LOOKS, *rows["loss"].unique()] if loss in set(rows["loss"])]
    greys, keys = zip(cycle(MARKERS), cycle(LINES)), {}
    left_out = [loss_name(x) for x in UNCALIBRATED if (table["loss"] == x).any()]
    counted = rows[rows["loss"] == order[0]].set_index("bin")["n"]
    lines = [
        of,
        f"devel, n = {counted.sum():,} shares (clips, emotions, seeds)",
        f"left out: {', '.join(left_out)}, whose outputs are no shares" if left_out else "",
    ]
    caption = style.caption(lines, style.COLUMN_IN)
    with style.drawing(style.COLUMN_IN, 2.7 + style.LINE_IN * caption.count("\n")) as figure:
        axes = figure.subplots()
        for loss in dict.fromkeys(order):
            of_loss = rows[rows["loss"] == loss]
            look = LOOKS.get(loss) or dict(zip(("marker", "ls"), next(greys)), color="0.6")
            look = {"ms": 3.5, "lw": 0.9, "zorder": 3 if loss in LOOKS else 2} | look
            places = [list(BINS).index(name) for name in of_loss["bin"]]
            (keys[loss_name(loss)],) = axes.plot(places, of_loss["error"], **look)
        axes.axhline(0, color="black", lw=0.6)
        axes.set_xticks(range(len(BINS)), list(BINS.values()))
        axes.set(xlabel="observed share", ylabel="predicted less observed, mean")
        style.legend(figure, keys, columns=2, handlelength=3)
        figure.supxlabel(caption)
    return figure
