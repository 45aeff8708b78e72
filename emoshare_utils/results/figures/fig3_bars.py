"""Fig. 3: the mean rho, or another metric, of each feature set and architecture."""

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.names import ARCHITECTURES, label, ordered
from emoshare_utils.results.figures import style
from emoshare_utils.results.metrics import METRICS
from emoshare_utils.results.paper import paper_table1
from emoshare_utils.results.shared_clips import bound_columns

INTERVAL = {"fmt": "none", "ecolor": "black", "elinewidth": 0.7, "capsize": 1.5, "capthick": 0.7}
SEED = {"ms": 2, "mew": 0.4, "mfc": "white", "mec": "black"}
PAPER = {"ms": 3.2, "mew": 0.7, "mfc": "white", "mec": "black", "ls": "none", "marker": "D"}
PAIR = ["encoder", "architecture"]


def bars(
    summary: pd.DataFrame,
    *,
    split: str = "devel",
    metric: str = "rho",
    expected: float | None = None,
    expected_kind: str = "",
    panels: Mapping[str, float] | None = None,
    paper: bool = False,
) -> Figure:
    """Fig. 3: the mean rho over emotions of each feature set under each architecture.

    Several seeds are averaged, their intervals too, and each seed is a dot. There is no bar where a
    seed has no mean; the summary's notes say why.

    Args:
        summary: one row per system, as `results.scores.score` makes it: encoder, architecture,
            seed, split, n, mean_rho, ci_low, ci_high, note.
        split: the split to draw.
        metric: which metric, by its name in METRICS; intervals where the summary has them.
        expected: the mean rho of the expected shares, over the same emotions.
        expected_kind: "exact" or "estimated".
        panels: the mean rho of other panels' shares, over the same emotions, by their names.
        paper: mark the paper's own means of rho where it has them.

    Raises:
        ValueError: no row in this split.
    """
    rows = summary[summary["split"] == split]
    if rows.empty:
        found = ", ".join(sorted(summary["split"].unique())) or "none"
        raise ValueError(f"no system in the split {split!r}: splits with results are {found}")
    measured = [f"mean_{metric}", *bound_columns(metric)[:2]]
    rows = rows.assign(note=rows.get("note", ""))
    rows = rows.reindex(columns=[*PAIR, "seed", "n", "note", *measured])
    rows.columns = [*PAIR, "seed", "n", "note", "mean", "low", "high"]
    encoders, architectures = ordered(rows["encoder"]), sorted(rows["architecture"].unique())
    most, name = max(len(architectures), 2), METRICS[metric].label
    landmarks = {f"{name} {rho:.2f}": rho for name, rho in (panels or {}).items()}
    caption, notes = _caption(rows, name, split, bool(panels)), _notes(rows)
    if expected is not None and np.isfinite(expected):
        kind = f" ({expected_kind})" if expected_kind else ""
        landmarks[f"ρ of the expected share {expected:.2f}{kind}"] = expected
    height = 1.1 + 0.18 * most * len(encoders)
    height += style.LINE_IN * (notes.count("\n") + max(len(landmarks) - 1, 0))
    with style.drawing(style.COLUMN_IN, height) as figure:
        axes = figure.subplots()
        _systems(axes, rows, most, paper_table1() if paper else None, name)
        axes.axvline(0, color="black", linewidth=0.6)
        _landmarks(axes, landmarks)
        axes.margins(x=0.02)
        style.name_rows(axes, [style.wrapped(label(encoder)) for encoder in encoders])
        keys = style.architecture_keys(architectures, marker="s", ms=5, ls="none")
        if paper:
            keys["paper (its corpus)"] = Line2D([], [], **PAPER)
        style.legend(figure, keys)
        figure.supxlabel(caption + notes)
    return figure


def _systems(
    axes: Axes, rows: pd.DataFrame, most: int, paper: pd.DataFrame | None, name: str
) -> None:
    """The bars of each encoder about its row, with the paper's means where they are given."""
    printed = {} if paper is None else paper.groupby(PAIR)["rho"].mean()
    for row, encoder in enumerate(ordered(rows["encoder"])):
        systems = rows[rows["encoder"] == encoder].groupby("architecture")
        offsets = style.side_by_side(systems.ngroups, 0.8 / most)
        for (architecture, seeds), offset in zip(systems, offsets):
            look = {"height": 0.76 / most, "color": ARCHITECTURES[architecture].colour}
            said = _bar(axes, seeds, row + offset, look) or f"no {name}"
            style.at_right(axes, row + offset, said)
            if (encoder, architecture) in printed:
                axes.plot(printed[encoder, architecture], row + offset, zorder=5, **PAPER)


def _bar(axes: Axes, seeds: pd.DataFrame, y: float, look: dict[str, object]) -> str:
    """A system's bar, interval and seeds; returns its mean in words, "" where there is none."""
    mean, low, high = seeds[["mean", "low", "high"]].mean(skipna=False)
    if len(seeds) > 1:
        axes.plot(seeds["mean"], [y] * len(seeds), "o", **SEED)
    if np.isnan(mean):
        return ""
    axes.barh(y, mean, **look)
    if not np.isnan(low + high):
        axes.errorbar(mean, y, xerr=[[mean - low], [high - mean]], **INTERVAL)
    return style.number(mean)


def _landmarks(axes: Axes, landmarks: Mapping[str, float]) -> None:
    """A line at each rho, its name above the bars, higher for a higher rho; a panel's is dotted."""
    for step, words in enumerate(sorted(landmarks, key=landmarks.get)):
        look = {"color": "black", "linewidth": 0.6, "linestyle": (0, (1, 1.5))}
        if words.startswith("ρ"):
            look |= {"linewidth": 0.8, "linestyle": (0, (4, 2))}
        axes.axvline(landmarks[words], **look)
        upwards = look | {"arrowstyle": "-", "shrinkA": 0, "shrinkB": 0, "relpos": (1, 0)}
        above = {"xytext": (0, 1 + 72 * style.LINE_IN * step), "textcoords": "offset points"}
        above |= {"ha": "right", "va": "bottom", "fontsize": 6.5, "arrowprops": upwards}
        axes.annotate(words, (landmarks[words], 1), xycoords=axes.get_xaxis_transform(), **above)


def _caption(rows: pd.DataFrame, name: str, split: str, panels: bool) -> str:
    counts = rows["n"].dropna().unique()
    n = f", n = {int(counts[0]):,} clips" if len(counts) == 1 else ""
    said = [f"mean {name} over emotions, {split}{n}"]
    if rows["low"].notna().any():
        said.append("lines: 95 % bootstrap interval over clips")
    if panels:
        said.append("dotted: other panels' shares in place of predictions")
    seeds = rows.groupby(PAIR)["seed"].nunique().max()
    if seeds > 1:
        said.append(f"dots: {seeds} seeds; bars and lines: their means")
    return "\n".join(textwrap.fill(line, 56) for line in said)


def _notes(rows: pd.DataFrame) -> str:
    """A line or more of each note, after the caption."""
    return "".join("\n" + textwrap.fill(note, 56) for note in rows["note"].unique() if note)
