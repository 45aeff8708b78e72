"""Fig. 2, Fig. 3 and their relatives.

Every function returns a matplotlib Figure drawn with the styles below and changes no setting of
matplotlib; `save` writes it with the data that was plotted. A picture of simulated listeners says
so in the picture.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from emoshare_utils.tables import label, ordered, paper_table1, regression_model

COLUMN_IN = 3.3
PAGE_IN = 7.0

# Okabe and Ito's colours, distinct to every kind of colour vision.
ARCHITECTURE_COLOURS = {1: "#0072B2", 2: "#D55E00"}
SPLIT_COLOURS = {"train": "#009E73", "devel": "#CC79A7", "test": "#56B4E9"}
GREY = "#777777"  # of the challenge's baseline, Architecture 0, too

HEXBIN_ABOVE = 2000


def style(width_in: float = COLUMN_IN, height_in: float = 2.2) -> dict[str, object]:
    """The rcParams of a figure of this size (inches): 7 pt text, embedded fonts, 200 dpi."""
    return {
        "figure.figsize": (width_in, height_in),
        "figure.dpi": 200,
        "figure.facecolor": "white",
        "figure.constrained_layout.use": True,
        "savefig.dpi": 200,
        "savefig.facecolor": "white",
        "savefig.bbox": None,
        "pdf.fonttype": 42,
        "font.family": "DejaVu Sans",
        "font.size": 7,
        "axes.titlesize": 7,
        "axes.labelsize": 7,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.labelsize": 6.5,
        "ytick.labelsize": 6.5,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "legend.fontsize": 6.5,
        "legend.frameon": False,
        "figure.titlesize": 8,
        "hatch.linewidth": 0.4,
    }


def save(figure: Figure, folder: Path, name: str, data: pd.DataFrame) -> None:
    """Write `<name>.pdf`, `<name>.png` (200 dpi) and `<name>.csv`, the data that was plotted.

    The same figure and data give the same bytes: neither dates nor versions are written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    nothing = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    with mpl.rc_context(style()):
        figure.savefig(folder / f"{name}.pdf", metadata=nothing)
        figure.savefig(folder / f"{name}.png", metadata={"Software": None})
    data.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


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
        name = f"{label(system['encoder'])}, {regression_model(system['architecture'])}"
        figure.suptitle(f"{name}, {system['split']}{_of(listeners)}")
    return figure


def bars(
    summary: pd.DataFrame,
    *,
    listeners: str,
    split: str = "devel",
    ceiling: float | None = None,
    ceiling_kind: str = "",
    paper: bool = False,
    interval: str = "95 % bootstrap interval over clips",
) -> Figure:
    """Fig. 3: the mean rho of each feature set under Architecture 1 and Architecture 2.

    The challenge's baseline, Architecture 0, stands beside them where it was measured. Several
    seeds are averaged, their intervals too, and each seed is a dot.

    Args:
        summary: one row a system: encoder, architecture, seed, split, n, mean_rho, ci_low,
            ci_high.
        listeners: who rated, for the picture.
        split: the split to draw.
        ceiling: the mean rho a perfect model would reach.
        ceiling_kind: "exact" or "estimated", for the picture.
        paper: mark the paper's own means where it has them.
        interval: what ci_low and ci_high are, for the picture.

    Raises:
        ValueError: no row in this split.
    """
    rows = summary[summary["split"] == split]
    if rows.empty:
        found = ", ".join(sorted(summary["split"].unique())) or "none"
        raise ValueError(f"no system in the split {split!r}: splits with results are {found}")
    encoders = ordered(rows["encoder"])
    theirs = paper_table1().groupby(["encoder", "architecture"])["rho"].mean() if paper else {}
    seeds = rows.groupby(["encoder", "architecture"])["seed"].nunique().max()
    colours = {0: GREY} if rows["architecture"].eq(0).any() else {}
    colours |= ARCHITECTURE_COLOURS
    with mpl.rc_context(style(height_in=1.1 + 0.18 * len(colours) * len(encoders))):
        figure = Figure()
        axes = figure.subplots()
        for place, encoder in enumerate(encoders):
            systems = rows[rows["encoder"] == encoder].groupby("architecture")
            for number, (architecture, group) in enumerate(systems):
                y = place + 0.8 / len(colours) * (number - (systems.ngroups - 1) / 2)
                printed = theirs.get((encoder, architecture))
                _bar(axes, group, y, 0.76 / len(colours), colours[architecture], printed)
        axes.axvline(0, color="black", linewidth=0.6)
        if ceiling is not None:
            axes.axvline(ceiling, color="black", linewidth=0.8, linestyle=(0, (4, 2)))
            axes.text(
                ceiling,
                1.0,
                _ceiling(ceiling, ceiling_kind),
                transform=axes.get_xaxis_transform(),
                ha="right",
                va="bottom",
                fontsize=6.5,
            )
        axes.margins(x=0.02)
        axes.spines["left"].set_visible(False)
        axes.set_yticks(range(len(encoders)), [_wrapped(label(name)) for name in encoders])
        axes.set_ylim(len(encoders) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        counts = rows["n"].dropna().unique()
        n = f", n = {int(counts[0]):,} clips" if len(counts) == 1 else ""
        said = [f"mean ρ over emotions, {split}{n}", f"lines: {interval}"]
        if rows["mean_rho"].isna().any():
            said.append("no ρ: not every emotion has one (constant predictions)")
        if seeds > 1:
            said.append(f"dots: {seeds} seeds; bars and lines: their means")
        caption = "\n".join(textwrap.fill(line, 56) for line in said)
        figure.supxlabel(caption, fontsize=7)
        handles = [
            Line2D([], [], color=colour, marker="s", markersize=5, linestyle="none")
            for colour in colours.values()
        ]
        names = [regression_model(architecture) for architecture in colours]
        if paper:
            handles.append(_paper_marker())
            names.append("paper (its corpus)")
        figure.legend(
            handles,
            names,
            loc="outside upper center",
            ncols=len(names),
            handletextpad=0.2,
            columnspacing=1,
            title=listeners if is_simulated(listeners) else None,
            title_fontsize=7,
        )
    return figure


def forest(differences: pd.DataFrame, *, listeners: str) -> Figure:
    """Differences in mean rho with their intervals, one row a comparison of systems.

    A filled dot has a sign: its intervals leave out 0.

    Args:
        differences: what `metrics.compare` returned.
        listeners: who rated, for the picture.

    Raises:
        ValueError: nothing was compared.
    """
    if differences.empty:
        raise ValueError("no differences to draw: pass metrics.compare two systems or more")
    by_speaker = bool(differences["ci_speakers_low"].notna().any())
    wrapped = [textwrap.fill(name, 46) for name in differences["contrast"]]
    lines = sum(name.count("\n") + 1 for name in wrapped)
    with mpl.rc_context(style(PAGE_IN, 0.8 + 0.1 * lines + 0.12 * len(wrapped))):
        figure = Figure()
        axes = figure.subplots()
        for y, row in enumerate(differences.itertuples()):
            _difference(axes, row, y)
        axes.axvline(0, color="black", linewidth=0.6, zorder=1)
        axes.spines["left"].set_visible(False)
        axes.set_yticks(range(len(wrapped)), wrapped)
        axes.set_ylim(len(wrapped) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        first = differences.iloc[0]
        of = f" of {first['n_speakers']} speakers" if first["n_speakers"] else ""
        seeds = differences["seeds"].min()
        trained = "one seed each" if seeds == 1 else f"means over {seeds} seeds or more"
        axes.set_xlabel(
            f"difference in mean ρ, {first['split']}, n = {first['n']:,} clips{of}; {trained}\n"
            "A1, A2: Architecture 1, 2; filled: all intervals leave out 0"
        )
        handles = [Line2D([], [], color=GREY, linewidth=2.2)]
        names = ["95 % interval over clips"]
        if by_speaker:
            handles.append(Line2D([], [], color="black", linewidth=0.7))
            names.append("over speakers (and in brackets)")
        title = listeners if is_simulated(listeners) else None
        figure.legend(
            handles, names, loc="outside upper center", ncols=2, title=title, title_fontsize=7
        )
    return figure


def variants(
    table: pd.DataFrame, labels: Mapping[str, str], *, listeners: str, split: str = "devel"
) -> Figure:
    """The change in mean rho against the paper's text, a row a variant, with paired intervals.

    The axis covers the variants without a constant prediction; an arrow stands for one beyond it.

    Args:
        table: architecture, variant, networks, constant, mean_rho, difference, ci_low, ci_high,
            as `released.compare` makes it.
        labels: what each variant is called.
        listeners: who rated, for the picture.
        split: the split of the table, for the picture.
    """
    names = [name for name in labels if name in set(table["variant"]) - {"paper"}]
    with mpl.rc_context(style(PAGE_IN * 0.7, 1.2 + 0.3 * len(names))):
        figure = Figure()
        axes = figure.subplots()
        papers, alive = [], table[table["constant"] == 0]
        axes.plot([alive["ci_low"].min(), alive["ci_high"].max()], [0, 0], alpha=0)  # its limits
        left, right = axes.get_xlim() if len(alive) else (-1, 1)
        for architecture, rows in table.groupby("architecture"):
            colour = ARCHITECTURE_COLOURS.get(architecture, GREY)
            rows = rows.set_index("variant")
            papers.append(f"{_number(rows.loc['paper', 'mean_rho'])} (Architecture {architecture})")
            for name, row in rows.drop(index="paper").iterrows():
                y = names.index(name) + (-0.17 if architecture == 1 else 0.17)
                axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, linewidth=1)
                beyond = row["difference"] < left
                at = left if beyond else row["difference"]
                axes.plot(at, y, "<" if beyond else "o", ms=3.5, color=colour, clip_on=False)
                said = _signed(row["difference"])
                if row["constant"]:
                    said += f" ({row['constant']:.0f} of {row['networks']:.0f} constant)"
                axes.text(1.01, y, said, transform=axes.get_yaxis_transform(), va="center")
        axes.axvline(0, color="black", linewidth=0.6)
        axes.set_yticks(range(len(names)), [labels[name] for name in names])
        axes.set(xlim=(left, right), ylim=(len(names) - 0.5, -0.5))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        lines = [
            f"change in mean ρ over emotions, {split}, n = {table['n'].max():,} clips",
            "lines: paired 95 % bootstrap interval over clips; a constant prediction counts as 0",
            f"0 is the paper's text: mean ρ {', '.join(papers)}",
        ]
        figure.supxlabel("\n".join(lines), fontsize=7)
        handles = [
            Line2D([], [], color=ARCHITECTURE_COLOURS.get(a, GREY), marker="o", markersize=3.5)
            for a in table["architecture"].unique()
        ]
        figure.legend(
            handles,
            [f"Architecture {a}" for a in table["architecture"].unique()],
            loc="outside upper center",
            ncols=2,
            title=listeners if is_simulated(listeners) else None,
            title_fontsize=7,
        )
    return figure


def dead_starts(zeros: pd.DataFrame, *, listeners: str = "listeners") -> Figure:
    """The share of outputs that are 0 before training, a dot a seed, sorted.

    Args:
        zeros: one column an architecture, one row a seed, from 0 to 1 (a dead start).
        listeners: who rated, for the picture.
    """
    with mpl.rc_context(style(height_in=1.9)):
        figure = Figure()
        axes = figure.subplots()
        for architecture, column in zeros.items():
            values = np.sort(column.to_numpy())
            dead = int((values == 1).sum())
            axes.plot(
                np.arange(1, len(values) + 1) + (0.15 if architecture == 2 else -0.15),
                100 * values,
                "o",
                ms=3,
                mew=0,
                color=ARCHITECTURE_COLOURS.get(architecture, GREY),
                label=f"Architecture {architecture}: {dead} of {len(values)} dead",
            )
        axes.set(xlabel="seed, sorted", ylabel="outputs that start at 0 (%)", ylim=(-5, 105))
        title = listeners if is_simulated(listeners) else None
        figure.legend(loc="outside upper center", ncols=2, handletextpad=0.2, title=title)
    return figure


def share_distributions(clips: pd.DataFrame, emotions: Sequence[str], listeners: str) -> Figure:
    """How the shares of each emotion are distributed, and how many are exactly zero.

    Args:
        clips: the clip table; null shares (a masked test split) are left out.
        emotions: the corpus's emotions, in its order.
        listeners: who rated, for the picture.
    """
    rows, columns = _grid(len(emotions))
    edges = np.linspace(0, 1, 11) + 1e-9  # (0, .1], (.1, .2], …: zeros apart
    with mpl.rc_context(style(PAGE_IN if columns > 1 else COLUMN_IN, 1.35 * rows + 0.6)):
        figure, panels = _panels(rows, columns, len(emotions), sharex=True, sharey=True)
        for axes, emotion in zip(panels, emotions):
            shares = clips[emotion].dropna().to_numpy(float)
            zero = np.mean(shares == 0) if len(shares) else 0.0
            counts, _ = np.histogram(shares, edges)
            percent = 100 * counts / max(len(shares), 1)
            axes.bar(edges[:-1] + 0.05, percent, 0.092, color=SPLIT_COLOURS["test"])
            axes.bar(-0.05, 100 * zero, 0.092, color="black")
            axes.set_title(emotion, loc="left", fontweight="bold", pad=3)
            mean = shares.mean() if len(shares) else np.nan
            about = f"{100 * zero:.0f} % exactly 0\nmean {mean:.2f}\nn = {len(shares):,}"
            axes.text(0.98, 0.97, about, transform=axes.transAxes, ha="right", va="top")
            axes.set(xlim=(-0.12, 1.02), xticks=[-0.05, 0.5, 1])
            axes.set_xticklabels(["0", "0.5", "1"])
        figure.supxlabel("share (black: exactly 0)", fontsize=7)
        figure.supylabel("clips (%)", fontsize=7)
        figure.suptitle(f"Shares of {listeners}")
    return figure


def durations(clips: pd.DataFrame, *, listeners: str = "listeners") -> Figure:
    """How long the clips of each split are, in seconds.

    Raises:
        ValueError: no clip has a duration yet.
    """
    known = clips.dropna(subset=["duration_s"])
    if known.empty:
        raise ValueError(
            "no clip has a duration_s: run the audio check of notebooks/01_data_preparation.ipynb"
        )
    splits = [split for split in SPLIT_COLOURS if (known["split"] == split).any()]
    with mpl.rc_context(style(height_in=1.9)):
        figure = Figure()
        axes = figure.subplots()
        sns.histplot(
            known,
            x="duration_s",
            hue="split",
            hue_order=splits,
            palette=SPLIT_COLOURS,
            stat="percent",
            common_norm=False,
            element="step",
            fill=False,
            binwidth=0.5,
            binrange=(0, 0.5 * np.ceil(known["duration_s"].max() / 0.5)),
            legend=False,
            linewidth=1.2,
            ax=axes,
        )
        groups = [known[known["split"] == split] for split in splits]
        names = [
            f"{split}: {len(group):,} clips, {_time(group['duration_s'].sum())}"
            for split, group in zip(splits, groups)
        ]
        handles = [Line2D([], [], color=SPLIT_COLOURS[split]) for split in splits]
        title = listeners if is_simulated(listeners) else None
        figure.legend(handles, names, loc="outside upper center", handlelength=1.2, title=title)
        axes.set(xlabel="length of a clip (s)", ylabel="clips of the split (%)")
        axes.set_xlim(left=0)
    return figure


def padding(features: np.ndarray, lengths: np.ndarray, *, listeners: str = "listeners") -> Figure:
    """Fig. 1(c): a zero-padded batch, one strip a clip, real frames coloured, padding hatched.

    Args:
        features: a padded batch, (N, L, W).
        lengths: the real frames of each clip, (N,).
        listeners: who rated the clips, for the picture.

    Raises:
        ValueError: shapes that do not fit, or frames beyond a clip's end that are not zero.
    """
    features, lengths = np.asarray(features, float), np.asarray(lengths, int)
    if features.ndim != 3 or lengths.shape != features.shape[:1]:
        raise ValueError(
            f"features of shape {features.shape} with lengths of shape {lengths.shape}: "
            "expected (N, L, W) and (N,)"
        )
    n_clips, longest, width = features.shape
    for clip, length in enumerate(lengths):
        if not 0 < length <= longest or features[clip, length:].any():
            raise ValueError(
                f"clip {clip} of length {length} in a batch padded to {longest} frames: expected "
                f"1 to {longest} frames, and zeros beyond them"
            )
    real = np.concatenate([features[clip, :length] for clip, length in enumerate(lengths)])
    colours = Normalize(*np.percentile(real, [2, 98]))
    with mpl.rc_context(style(height_in=0.85 + 0.34 * n_clips)):
        figure = Figure()
        strips = figure.subplots(n_clips, 1, sharex=True, squeeze=False)[:, 0]
        for clip, (axes, length) in enumerate(zip(strips, lengths), start=1):
            image = axes.imshow(
                features[clip - 1, :length].T,
                extent=(0, length, 0, width),
                aspect="auto",
                origin="lower",
                norm=colours,
                cmap="viridis",
            )
            padded = {"facecolor": "0.94", "edgecolor": "0.65", "hatch": "/////"}
            if length < longest:
                axes.axvspan(length, longest, linewidth=0, **padded)
            axes.set(xlim=(0, longest), ylim=(0, width), yticks=[])
            axes.set_ylabel(f"clip {clip}", rotation=0, ha="right", va="center")
            axes.text(1.015, 0.5, f"{length} frames", transform=axes.transAxes, va="center")
            axes.spines[:].set_visible(True)
            axes.tick_params(axis="x", length=2.5 if clip == n_clips else 0)
        ticks = [tick for tick in MaxNLocator(4).tick_values(0, longest) if tick < 0.9 * longest]
        strips[-1].set_xticks([*ticks, longest])
        figure.suptitle(f"padded to L = {longest} frames, W = {width}{_of(listeners)}", fontsize=7)
        strips[-1].set_xlabel("frame (hatched: zero-padding)")
        figure.colorbar(image, ax=list(strips), location="bottom", shrink=0.5, aspect=40).set_label(
            "feature value"
        )
    return figure


def learning_curves(history: pd.DataFrame, *, listeners: str = "listeners") -> Figure:
    """Training loss and devel rho by epoch, one column of panels an encoder.

    A thin line is one network, a dot its best epoch, a thick line the mean over the networks of
    an architecture, those that stopped early counting with their last epoch.

    Args:
        history: encoder, architecture, emotion, seed, epoch, train_mse, devel_rho.
        listeners: who rated, for the picture.
    """
    encoders = ordered(history["encoder"])
    columns = min(len(encoders), 5)
    blocks = -(-len(encoders) // columns)
    width = max(PAGE_IN * columns / 5, COLUMN_IN)
    with mpl.rc_context(style(width, 2.9 * blocks + 0.6)):
        figure = Figure()
        grid = figure.subplots(2 * blocks, columns, sharex=True, sharey=False, squeeze=False)
        measures = {"devel_rho": "devel ρ", "train_mse": "training MSE"}
        for row, measure in enumerate(list(measures) * blocks):
            for column in range(columns):
                axes = grid[row, column]
                axes.sharey(grid[row % 2, 0]) if (row, column) != (row % 2, 0) else None
                place = row // 2 * columns + column
                if place >= len(encoders):
                    axes.set_axis_off()
                    continue
                of_encoder = history[history["encoder"] == encoders[place]]
                _curves(axes, of_encoder, measure)
                axes.tick_params(labelleft=column == 0, labelbottom=True)
                axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
                if measure == "devel_rho":
                    axes.axhline(0, color=GREY, linewidth=0.5, zorder=0)
                    axes.set_title(_wrapped(label(encoders[place])), pad=3)
            grid[row, 0].set_ylabel(measures[measure])
        figure.supxlabel("epoch\nthin: one network, dot: its best epoch; thick: mean", fontsize=7)
        handles = [Line2D([], [], color=colour) for colour in ARCHITECTURE_COLOURS.values()]
        names = [f"Architecture {architecture}" for architecture in ARCHITECTURE_COLOURS]
        title = listeners if is_simulated(listeners) else None
        figure.legend(handles, names, loc="outside upper center", ncols=2, title=title)
    return figure


def is_simulated(listeners: str) -> bool:
    """Whether the picture has to say who rated."""
    return listeners.startswith("simulated")


def _of(listeners: str) -> str:
    return f" · {listeners}" if is_simulated(listeners) else ""


def _grid(n_panels: int) -> tuple[int, int]:
    """Rows and columns: nine make 3 x 3, six 2 x 3."""
    columns = {1: 1, 2: 2, 4: 2}.get(n_panels, 3 if n_panels <= 9 else 4)
    return -(-n_panels // columns), columns


def _panels(rows: int, columns: int, n_panels: int, **shared: bool) -> tuple[Figure, list[Axes]]:
    figure = Figure()
    panels = figure.subplots(rows, columns, squeeze=False, **shared)
    for axes in panels.flat[n_panels:]:
        axes.set_axis_off()
    for above in panels.flat[n_panels - columns : n_panels]:
        above.tick_params(labelbottom=True)
    return figure, list(panels.flat[:n_panels])


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


def _bar(
    axes: Axes,
    seeds: pd.DataFrame,
    y: float,
    height: float,
    colour: str,
    printed: float | None,
) -> None:
    """One system: its bar, interval, seeds, the paper's value, and the number at the right."""
    rho, low, high = (seeds[column].mean() for column in ("mean_rho", "ci_low", "ci_high"))
    if not np.isnan(rho):
        axes.barh(y, rho, height, color=colour)
    if not np.isnan(low + high):
        axes.errorbar(
            rho,
            y,
            xerr=[[rho - low], [high - rho]],
            ecolor="black",
            elinewidth=0.7,
            capsize=1.5,
            capthick=0.7,
            fmt="none",
        )
    if len(seeds) > 1:
        axes.plot(seeds["mean_rho"], [y] * len(seeds), "o", ms=2, mew=0.4, mfc="white", mec="black")
    if printed is not None:
        axes.add_line(_paper_marker(printed, y))
    known = int(seeds["mean_rho"].notna().sum())
    said = _number(rho) if known else "no ρ"
    if 0 < known < len(seeds):
        said += f" ({known} of {len(seeds)})"
    axes.text(1.01, y, said, transform=axes.get_yaxis_transform(), va="center", fontsize=6.5)


def _difference(axes: Axes, row: NamedTuple, y: float) -> None:
    """One row of a forest: thick over clips, thin over speakers, a dot, the numbers at right."""
    axes.plot([row.ci_low, row.ci_high], [y, y], color=GREY, linewidth=2.2, solid_capstyle="butt")
    widest = [row.ci_speakers_low, row.ci_speakers_high]
    axes.plot(widest, [y, y], color="black", linewidth=0.7)
    face = "black" if row.sign else "white"
    axes.plot(row.difference, y, "o", ms=4, mew=0.7, mec="black", mfc=face, zorder=3)
    low, high = widest if np.isfinite(widest[0]) else (row.ci_low, row.ci_high)
    said = "no ρ"
    if np.isfinite(row.difference):
        said = f"{_signed(row.difference)} [{_signed(low)}, {_signed(high)}]"
    axes.text(1.01, y, said, transform=axes.get_yaxis_transform(), va="center", fontsize=6.5)


def _paper_marker(x: float | None = None, y: float | None = None) -> Line2D:
    at = ([], []) if x is None else ([x], [y])
    return Line2D(
        *at,
        marker="D",
        markersize=3.2,
        markerfacecolor="white",
        markeredgecolor="black",
        markeredgewidth=0.7,
        linestyle="none",
        zorder=5,
    )


def _curves(axes: Axes, history: pd.DataFrame, measure: str) -> None:
    for architecture, group in _by_architecture(history):
        colour = ARCHITECTURE_COLOURS.get(architecture, GREY)
        wide = group.pivot(index="epoch", columns=["emotion", "seed"], values=measure)
        axes.plot(wide.index, wide, color=colour, linewidth=0.4, alpha=0.4)
        if measure == "devel_rho" and wide.notna().any(axis=None):
            known = wide.dropna(axis="columns", how="all")
            axes.plot(known.idxmax(), known.max(), ".", ms=4, mew=0, color=colour)
        last = group.groupby(["emotion", "seed"])["epoch"].max()
        stopped = wide.index.to_numpy()[:, None] > last.loc[wide.columns].to_numpy()
        held = wide.where(~stopped, wide.ffill())
        axes.plot(held.index, held.mean(axis=1), color=colour, linewidth=1.4)


def _by_architecture(history: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    yield from history.groupby("architecture")


def _wrapped(name: str, width: int = 26) -> str:
    """A long encoder id on several lines, broken after slashes and hyphens."""
    return textwrap.fill(name.replace("/", "/ "), width).replace("/ ", "/")


def _ceiling(rho: float, kind: str) -> str:
    return f"{kind} ceiling {_number(rho)}".strip()


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
