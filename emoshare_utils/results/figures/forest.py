"""Differences between systems with their intervals, a row each."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emoshare_utils.names import ARCHITECTURES
from emoshare_utils.results.figures import style

OVER_SPEAKERS = {"color": "0.65", "linewidth": 3, "solid_capstyle": "butt"}
OVER_CLIPS = {"color": "black", "linewidth": 0.7}
TOGETHER = "together (Bonferroni)"  # in a note of `comparisons.together`


def forest(
    differences: pd.DataFrame,
    *,
    over_seeds: bool = False,
    of: str = "",
    seeds: str = "",
    names: Mapping[str, str] | None = None,
) -> Figure:
    """Differences in mean rho with their intervals, the largest first.

    A filled dot has a sign: its intervals leave out 0. For every two of many systems there is
    `matrix`.

    Args:
        differences: what `results.comparisons.compare` returned.
        over_seeds: whether its intervals are over seeds too.
        of: what all the systems share, for the caption: "MFCC (A1)".
        seeds: how they were trained, in place of the number of seeds in `differences`.
        names: what to call systems in the rows, in place of their names in `differences`.

    Raises:
        ValueError: nothing was compared.
    """
    if differences.empty:
        raise ValueError("no differences to draw: pass `compare` the contrast of two systems")
    rows = differences.sort_values("difference", ascending=False, kind="stable")
    rows_named, architectures = _names(rows["contrast"], names or {})
    lines = sum(name.count("\n") + 1 for name in rows_named)
    keys = {
        "95 % interval over speakers": (OVER_SPEAKERS, rows["ci_speakers_low"]),
        "95 % interval over clips": (OVER_CLIPS, rows["ci_low"]),
    }
    keys = {name: Line2D([], [], **look) for name, (look, low) in keys.items() if low.notna().any()}
    filled = "filled: all intervals leave out 0" if keys else ""
    said = about(rows.assign(contrast=rows_named), filled, style.PAGE_IN, over_seeds, seeds)
    heading = style.caption(["; ".join(filter(None, [of, architectures]))], style.PAGE_IN)
    caption = "\n".join(filter(None, [heading, said]))
    height = 0.8 + 0.1 * lines + 0.12 * len(rows) + style.LINE_IN * (caption.count("\n") - 1)
    with style.drawing(style.PAGE_IN, height) as figure:
        axes = figure.subplots()
        for y, row in enumerate(rows.itertuples()):
            _difference(axes, row, y)
        axes.axvline(0, color="black", linewidth=0.6, zorder=1)
        style.name_rows(axes, rows_named)
        figure.supxlabel(caption)
        if keys:
            first, *others = keys
            style.legend(
                figure, {f"{first} (in brackets)": keys[first]} | {o: keys[o] for o in others}
            )
    return figure


def _names(contrasts: pd.Series, words: Mapping[str, str]) -> tuple[list[str], str]:
    """The rows' names, and two architectures that every row compares: said once, in the caption."""
    for name, instead in words.items():
        contrasts = contrasts.str.replace(name, instead, regex=False)
    parts = [re.fullmatch(r"(.+): (\w+) − (\w+)", name) for name in contrasts]
    pairs = {part.groups()[1:] if part else None for part in parts}
    shorts = {look.short: look.name for look in ARCHITECTURES.values()}
    if len(pairs) > 1 or None in pairs or not set(*pairs) <= set(shorts):
        return [style.wrapped(name, 46) for name in contrasts], ""
    (pair,) = pairs
    names = [style.wrapped(part.group(1), 46) for part in parts]
    return names, " − ".join(shorts[short] for short in pair)


def _difference(axes: Axes, row: NamedTuple, y: float) -> None:
    """One row: thick over speakers, thin over clips, a dot, the numbers at the right."""
    axes.plot([row.ci_speakers_low, row.ci_speakers_high], [y, y], **OVER_SPEAKERS)
    axes.plot([row.ci_low, row.ci_high], [y, y], **OVER_CLIPS)
    face = "black" if row.sign else "white"
    axes.plot(row.difference, y, "o", ms=4, mew=0.7, mec="black", mfc=face, zorder=3)
    style.at_right(axes, y, " ".join(in_words(row)))


def in_words(row: NamedTuple) -> list[str]:
    """A difference, and in brackets its interval: over speakers where known, else over clips."""
    if not np.isfinite(row.difference):
        return ["no ρ"]
    for low, high in ((row.ci_speakers_low, row.ci_speakers_high), (row.ci_low, row.ci_high)):
        if np.isfinite(low):
            return [style.signed(row.difference), f"[{style.signed(low)}, {style.signed(high)}]"]
    return [style.signed(row.difference)]


def about(
    differences: pd.DataFrame,
    marks: str,
    width_in: float,
    over_seeds: bool = False,
    trained: str = "",
) -> str:
    """The caption: what is compared on how much, what marks a sign, names in short, and notes."""
    first, seeds = differences.iloc[0], differences["seeds"].min()
    of = f" of {first['n_speakers']:.0f} speakers" if first["n_speakers"] else ""
    trained = trained or ("one seed each" if seeds == 1 else _means(differences["seeds"]))
    trained += ", resampled too" if over_seeds and seeds > 1 else ""
    contrasts = "\n".join(differences["contrast"])
    short = [
        f"{look.short}: {look.name}"
        for look in ARCHITECTURES.values()
        if look.short != look.name and re.search(rf"\b{re.escape(look.short)}\b", contrasts)
    ]
    notes = [note for note in differences.get("note", pd.Series(dtype=str)).unique() if note]
    lines = [
        f"difference in mean ρ, {first['split']}, n = {first['n']:,.0f} clips{of}; {trained}",
        "; ".join(filter(None, [marks, *short])),
        each_by_itself(differences["ci_low"].notna().sum(), notes),
        *notes,
    ]
    return style.caption(lines, width_in)


def _means(seeds: pd.Series) -> str:
    few, many = seeds.min(), seeds.max()
    return f"means over {few:.0f} seeds" if few == many else f"means over {few:.0f} seeds or more"


def each_by_itself(intervals: int, notes: Iterable[str] = ()) -> str:
    """Say that of several intervals none allows for the others, unless a note says they all do."""
    if intervals < 2 or any(TOGETHER in note for note in notes):
        return ""
    return f"{intervals:,} intervals, each by itself: none is corrected for the others"
