"""Fig. 3: the mean rho, or another metric, of each feature set and architecture."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.names import ARCHITECTURES, ordered, system
from emoshare_utils.results import enough
from emoshare_utils.results.figures import style
from emoshare_utils.results.metrics import METRICS
from emoshare_utils.results.paper import paper_table1
from emoshare_utils.results.shared_clips import bound_columns

INTERVAL = {"fmt": "none", "ecolor": "black", "elinewidth": 0.7, "capsize": 1.5, "capthick": 0.7}
SEED = {"ms": 2, "mew": 0.4, "mfc": "white", "mec": "black"}
PAPER = {"ms": 3.2, "mew": 0.7, "mfc": "white", "mec": "black", "ls": "none", "marker": "D"}
PAIR = ["encoder", "architecture"]
WIDTH = 60  # of the caption, in letters
FLAT = "flat"  # at a bar whose system is not ranked


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

    Feature sets stand in the order of their better architecture. Several seeds are averaged, their
    intervals too, and each seed is a dot. Intervals are over speakers where there are any, else
    over clips. There is no bar where a seed has no mean; the summary's notes say why. The bar of a
    system whose predictions hardly vary is open.

    Args:
        summary: one row per system, as `results.scores.score` makes it: encoder, architecture,
            seed, split, n, n_speakers, mean_rho, its intervals, note.
        split: the split to draw.
        metric: which metric, by its name in METRICS; intervals where the summary has them.
        expected: the mean rho of the expected shares, over the same emotions.
        expected_kind: "exact" or "estimated", or why there is none.
        panels: the mean rho of other panels' shares, over the same emotions, by their names.
        paper: mark the paper's own means of rho where it has them.

    Raises:
        ValueError: no row in this split.
    """
    rows = summary[summary["split"] == split]
    if rows.empty:
        found = ", ".join(sorted(summary["split"].unique())) or "none"
        raise ValueError(f"no system in the split {split!r}: splits with results are {found}")
    clips, speakers = bound_columns(metric)[:2], bound_columns(metric)[2:]
    by_speaker = rows.reindex(columns=speakers).notna().any(axis=None)
    measured = [f"mean_{metric}", *(speakers if by_speaker else clips)]
    rows = rows.reindex(columns=[*PAIR, "seed", "n", "n_speakers", "note", *measured])
    rows.columns = [*PAIR, "seed", "n", "n_speakers", "note", "mean", "low", "high"]
    rows = rows.assign(note=rows["note"].astype(object).fillna(""))
    encoders = _by_score(rows, METRICS[metric].higher_is_better)
    architectures = sorted(rows["architecture"].unique())
    most, name = max(len(architectures), 2), METRICS[metric].label
    landmarks = {f"{name} {rho:.2f}": rho for name, rho in (panels or {}).items()}
    caption, notes = _caption(rows, name, split, by_speaker, bool(panels)), _notes(rows)
    if expected_kind and not np.isfinite(np.nan if expected is None else expected):
        notes += "\n" + style.filled(f"no ρ of the expected share, {expected_kind}", WIDTH)
    if expected is not None and np.isfinite(expected):
        kind = f" ({expected_kind})" if expected_kind else ""
        landmarks[f"{style.EXPECTED_NAME} {expected:.2f}{kind}"] = expected
    height = 1.1 + 0.18 * most * len(encoders)
    height += style.LINE_IN * (notes.count("\n") + max(len(landmarks) - 1, 0))
    with style.drawing(style.COLUMN_IN, height) as figure:
        axes = figure.subplots()
        _systems(axes, rows, encoders, most, paper_table1() if paper else None, name)
        axes.axvline(0, color="black", linewidth=0.6)
        axes.margins(x=0.02)
        _landmarks(axes, landmarks)
        style.name_rows(axes, [style.wrapped(style.readable(x)) for x in encoders])
        keys = style.architecture_keys(architectures, marker="s", ms=5, ls="none")
        if paper:
            keys["paper (its corpus)"] = Line2D([], [], **PAPER)
        style.legend(figure, keys)
        figure.supxlabel(caption + notes)
    return figure


def _by_score(rows: pd.DataFrame, higher_is_better: bool) -> list[str]:
    """The encoders, the one with the best ranked system first; those without one last."""
    ranked = rows.assign(mean=rows["mean"].mask(enough.are_unranked(rows["note"])))
    means = ranked.groupby(PAIR)["mean"].mean(skipna=False) * (1 if higher_is_better else -1)
    best = means.groupby("encoder").max().fillna(-np.inf)
    return sorted(ordered(rows["encoder"]), key=lambda encoder: -best[encoder])


def _systems(
    axes: Axes,
    rows: pd.DataFrame,
    encoders: list[str],
    most: int,
    paper: pd.DataFrame | None,
    name: str,
) -> None:
    """The bars of each encoder about its row, with the paper's means where they are given."""
    printed = {} if paper is None else paper.groupby(PAIR)["rho"].mean()
    for row, encoder in enumerate(encoders):
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
    flat = enough.are_unranked(seeds["note"]).any()
    if flat:
        look = look | {"facecolor": "none", "edgecolor": look["color"], "linewidth": 0.8}
        look.pop("color")
    axes.barh(y, mean, **look)
    if not np.isnan(low + high):
        axes.errorbar(mean, y, xerr=[[mean - low], [high - mean]], **INTERVAL)
    return f"{style.number(mean)} {FLAT}" if flat else style.number(mean)


def _landmarks(axes: Axes, landmarks: Mapping[str, float]) -> None:
    """A line at each rho, its name above the bars, higher for a higher rho; a panel's is dotted."""
    for step, words in enumerate(sorted(landmarks, key=landmarks.get)):
        look = {"color": "black", "linewidth": 0.6, "linestyle": (0, (1, 1.5))}
        if words.startswith(style.EXPECTED_NAME):
            look = dict(style.EXPECTED)
        axes.axvline(landmarks[words], **look)
        upwards = look | {"arrowstyle": "-", "shrinkA": 0, "shrinkB": 0, "relpos": (1, 0)}
        above = {"xytext": (0, 1 + 72 * style.LINE_IN * step), "textcoords": "offset points"}
        above |= {"ha": "right", "va": "bottom", "fontsize": 6.5, "arrowprops": upwards}
        axes.annotate(words, (landmarks[words], 1), xycoords=axes.get_xaxis_transform(), **above)


def _caption(rows: pd.DataFrame, name: str, split: str, by_speaker: bool, panels: bool) -> str:
    counts, people = (rows[column].dropna().unique() for column in ("n", "n_speakers"))
    n = f", n = {int(counts[0]):,} clips" if len(counts) == 1 else ""
    n += f" of {int(people[0])} speakers" if len(people) == 1 and people[0] > 1 and n else ""
    said = [f"mean {name} over emotions, {split}{n}"]
    if rows["low"].notna().any():
        over = "speakers" if by_speaker else "clips"
        said.append(f"lines: 95 % bootstrap interval over {over}")
    if enough.are_unranked(rows["note"]).any():
        said.append(f"{FLAT} (open bars): {enough.FLAT}; {enough.UNRANKED}")
    if panels:
        said.append("dotted: other panels' shares in place of predictions")
    seeds = rows.groupby(PAIR)["seed"].nunique().max()
    if seeds > 1:
        said.append(f"dots: {seeds} seeds; bars and lines: their means")
    return "\n".join(style.filled(line, WIDTH) for line in said)


def _notes(rows: pd.DataFrame) -> str:
    """A line or more of each note, after the caption; whose it is, unless it is everyone's.

    What hardly varies in a system that is not ranked is left to its bar.
    """
    said: dict[str, list[str]] = {}
    for encoder, architecture, note in rows[[*PAIR, "note"]].itertuples(index=False):
        parts = [part for part in note.split("; ") if part and part != enough.UNRANKED]
        if enough.UNRANKED in note:
            parts = [part for part in parts if not part.startswith(enough.FLAT)]
        few = enough.why_no_interval([note])
        own = "; ".join(part for part in parts if part not in few)
        for part in filter(None, [own, *few]):
            said.setdefault(part, []).append(system(encoder, architecture))
    everyone = len(rows)
    lines = [
        note if len(names) == everyone else f"{', '.join(dict.fromkeys(names))}: {note}"
        for note, names in said.items()
    ]
    return "".join("\n" + style.filled(line, WIDTH) for line in lines)
