"""One clip on its way through the paper: attention over its spectrogram, and all of it in a row."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib import mlab
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from emoshare_utils.corpora.audio import SAMPLE_RATE
from emoshare_utils.names import ARCHITECTURES, GREY
from emoshare_utils.results.figures import style
from emoshare_utils.results.figures.fig1_padding import PADDING

WINDOW, HOP = 512, 160  # samples of the spectrogram's transform
DYNAMIC_RANGE_DB = 70
NAMES_LETTERS = 16  # of the emotions of one row of weights
PIPELINE_IN = (8.0, 2.2)  # 1,600 pixels wide
TOP, BOTTOM, ARROWS = 0.78, 0.18, 0.445  # of its panels; arrows pass between two labels
DRAWN = 32  # features
MEAN, ATTENTION = ARCHITECTURES[1].colour, ARCHITECTURES[2].colour
LESS_OR_MORE = LinearSegmentedColormap.from_list("", [MEAN, "white", ATTENTION])


def attention(
    samples: np.ndarray,
    weights: Mapping[str, np.ndarray],
    state_s: float,
    title: str,
    caption: str = "",
) -> Figure:
    """Attention weights over the spectrogram of their clip, on one axis in seconds.

    The first emotion's weights are a line over the spectrogram, beside the equal weights of Eq. 1;
    with several emotions, each one's are a row below: orange where the attention looks more than
    the mean does, blue where it looks less. Emotions with the very same weights, as one trunk may
    give them, are one row.

    Args:
        samples: (n,) at 16 kHz.
        weights: emotion -> the weight of each of the L' LSTM states, (L',).
        state_s: seconds of speech per state.
        caption: whose weights they are.
    """
    names, rows = distinct(weights)
    edges = state_s * np.arange(rows.shape[1] + 1)
    lines = sum(name.count("\n") + 1 for name in names)
    below = [0.13 * max(lines, 2)] if len(weights) > 1 else []
    caption = style.caption([caption], style.COLUMN_IN)
    height = 2.3 + sum(below) + style.LINE_IN * (caption.count("\n") + bool(caption))
    with style.drawing(style.COLUMN_IN, height) as figure:
        top, *bottom = figure.subplots(
            1 + len(below), 1, sharex=True, squeeze=False, height_ratios=[1.3, *below]
        )[:, 0]
        spectrogram(top, samples)
        _line(top.twinx(), rows[0], edges)
        for axes in bottom:
            about_equal = {"cmap": LESS_OR_MORE, "norm": CenteredNorm(1 / rows.shape[1])}
            image = axes.pcolormesh(edges, np.arange(len(names) + 1), rows, **about_equal)
            axes.set_yticks(np.arange(len(names)) + 0.5, names)
            axes.set_ylim(len(names), 0)
            axes.tick_params(axis="y", length=0)
            bar = figure.colorbar(image, cax=axes.inset_axes((1.03, 0, 0.03, 1)), label="weight")
            bar.ax.set_ylim(bottom=max(0, image.norm.vmin))
        [top, *bottom][-1].set_xlabel("time (s)")
        top.set_xlim(0, len(samples) / SAMPLE_RATE)
        top.set_title(style.wrapped(title, 60))
        keys = {f"attention ({next(iter(weights))})": ATTENTION, "equal weights (Eq. 1)": MEAN}
        style.legend(figure, {name: Line2D([], [], color=keys[name]) for name in keys})
        figure.supxlabel(caption)
    return figure


def distinct(weights: Mapping[str, np.ndarray]) -> tuple[list[str], np.ndarray]:
    """Each set of weights (L',) once, with the names of all that have it, and the rows (n, L')."""
    named: dict[bytes, list[str]] = {}
    for name, row in weights.items():
        named.setdefault(np.asarray(row, float).tobytes(), []).append(name)
    rows = np.stack([np.frombuffer(row) for row in named])
    return [style.wrapped(", ".join(names), NAMES_LETTERS) for names in named.values()], rows


def _line(axes: Axes, weights: np.ndarray, edges: np.ndarray) -> None:
    """Weights (L',) as steps, and what they would be if all were equal; seen on any ground."""
    for width, of_weights, of_equal in ((2.6, "white", "white"), (1.4, ATTENTION, MEAN)):
        axes.stairs(weights, edges, color=of_weights, linewidth=width, baseline=None)
        axes.plot(edges[[0, -1]], [1 / len(weights)] * 2, color=of_equal, linewidth=width)
    axes.set(ylabel="weight", ylim=(0, 1.15 * weights.max()))
    axes.spines["right"].set_visible(True)


def spectrogram(axes: Axes, samples: np.ndarray) -> None:
    """Draw the spectrogram of samples (n,) at 16 kHz, its axis in seconds, as far as it goes."""
    padded = np.pad(samples, (0, max(0, WINDOW + HOP - len(samples))))  # two columns at least
    about = {"NFFT": WINDOW, "Fs": SAMPLE_RATE, "noverlap": WINDOW - HOP}
    power, frequencies, seconds = mlab.specgram(padded, **about)
    level = 10 * np.log10(np.maximum(power, power.max() / 10 ** (DYNAMIC_RANGE_DB / 10)))
    ends = seconds[0] - HOP / 2 / SAMPLE_RATE, seconds[-1] + HOP / 2 / SAMPLE_RATE
    place = {"extent": (*ends, 0, SAMPLE_RATE / 2), "aspect": "auto", "origin": "lower"}
    axes.imshow(level, cmap="magma", **place)
    heard = frequencies[(level > level.min()).any(axis=1)]
    top = np.ceil(heard.max() / 1000) if len(heard) else SAMPLE_RATE / 2000
    ticks = np.arange(0, top + 1, 2)
    axes.set(ylabel="frequency (kHz)", ylim=(0, 1000 * top))
    axes.set_yticks(1000 * ticks, [f"{tick:.0f}" for tick in ticks])


class Walk(NamedTuple):
    """What a clip, the first of a batch of two, becomes on its way.

    Attributes:
        samples: (n,) at 16 kHz.
        features: the padded batch, (2, L, W).
        lengths: real frames, (2,).
        frames, states: of the clip, after the CNN, (L', W_c), and the LSTM, (L', W_l).
        weights: of the attention, (L',).
        state_s: seconds of speech per state.
        shares: emotion, share, low and high.
        attention: what the attention is called: "attention (Eq. 2)".
    """

    samples: np.ndarray
    features: np.ndarray
    lengths: np.ndarray
    frames: np.ndarray
    states: np.ndarray
    weights: np.ndarray
    state_s: float
    shares: pd.DataFrame
    attention: str = "attention (Eq. 2)"


def pipeline(walk: Walk) -> Figure:
    """From the waveform to the shares, left to right, in the arrays of one clip."""
    states, length, width = len(walk.frames), walk.lengths[0], walk.features.shape[2]
    with style.drawing(*PIPELINE_IN) as figure:
        figure.set_layout_engine("none")
        waveform = _column(figure, 0.008, "waveform", f"{len(walk.samples):,} samples")
        waveform.plot(walk.samples, color=GREY, linewidth=0.4, rasterized=True)
        waveform.set(xlim=(0, len(walk.samples)), frame_on=False)
        _below(waveform, f"{len(walk.samples) / SAMPLE_RATE:.1f} s")
        frames = _column(figure, 0.162, "frames", f"L = {length}, W = {width}")
        _heat(frames, _few(walk.features[0, :length]), length)
        _below(frames, f"{min(DRAWN, width)} features drawn")
        _batch(figure, walk)
        pair = _pair(figure, 0.48, "CNN, then LSTM", f"L' = {states}, each {walk.state_s:.2f} s")
        _heat(pair[0], walk.frames, states)
        _heat(pair[1], walk.states, states, cmap="PuOr", vmin=-1, vmax=1)
        _below(pair[0], f"$W_c$ = {walk.frames.shape[1]}")
        _below(pair[1], f"$W_l$ = {walk.states.shape[1]}")
        pair = _pair(figure, 0.642, "pooling", "weights of the states")
        equal, most = np.full(states, 1 / states), walk.weights.max()
        _weights(pair[0], equal, most, MEAN)
        _weights(pair[1], walk.weights, most, ATTENTION)
        _below(pair[0], "masked mean (Eq. 1)")
        _below(pair[1], walk.attention)
        _shares(figure, walk.shares)
        for start in (0.131, 0.285, 0.447, 0.609, 0.766):
            look = {"arrowstyle": "-|>", "mutation_scale": 9, "color": "0.3", "linewidth": 1.2}
            figure.add_artist(FancyArrowPatch((start, ARROWS), (start + 0.028, ARROWS), **look))
    return figure


def _column(figure: Figure, left: float, title: str, about: str, width: float = 0.12) -> Axes:
    """An empty panel under its two lines of title."""
    figure.text(left + width / 2, 0.9, title, ha="center", fontsize=9, fontweight="bold")
    figure.text(left + width / 2, 0.82, about, ha="center", fontsize=7.5, color="0.3")
    axes = figure.add_axes((left, BOTTOM, width, TOP - BOTTOM))
    axes.set(xticks=[], yticks=[])
    return axes


def _pair(figure: Figure, left: float, title: str, about: str) -> tuple[Axes, Axes]:
    """Two empty panels, one above the other, under their two lines of title."""
    axes = _column(figure, left, title, about)
    axes.set_axis_off()
    both = axes.inset_axes((0, 0.6, 1, 0.4)), axes.inset_axes((0, 0, 1, 0.4))
    for each in both:
        each.set(xticks=[], yticks=[])
    return both


def _below(axes: Axes, words: str) -> None:
    axes.set_xlabel(words, fontsize=7.5, labelpad=2, parse_math=True)


def _few(features: np.ndarray) -> np.ndarray:
    """`DRAWN` of the features of (L, W), evenly spaced: more could not be told apart."""
    width = features.shape[1]
    return features[:, np.linspace(0, width - 1, min(DRAWN, width)).astype(int)]


def _heat(axes: Axes, frames: np.ndarray, longest: int, **look: object) -> None:
    """Frames (L, W) over time, hatched from their end to `longest`."""
    place = {"extent": (0, len(frames), 0, 1), "aspect": "auto", "origin": "lower"}
    place["interpolation"] = "nearest"
    if not look:
        look = dict(zip(("vmin", "vmax"), np.percentile(frames, [2, 98])))
    axes.imshow(frames.T, **place, **look)
    if len(frames) < longest:
        axes.axvspan(len(frames), longest, **PADDING)
    axes.set(xlim=(0, longest), ylim=(0, 1))
    axes.spines[:].set_visible(True)


def _batch(figure: Figure, walk: Walk) -> None:
    """The padded batch, each clip over its mask."""
    longest = walk.features.shape[1]
    both = _pair(figure, 0.316, "padded batch", f"N = 2, L = {longest}; mask")
    for axes, features, length in zip(both, walk.features, walk.lengths):
        axes.set_axis_off()
        clip, real = axes.inset_axes((0, 0.3, 1, 0.7)), axes.inset_axes((0, 0, 1, 0.18))
        _heat(clip, _few(features[:length]), longest)
        real.imshow((np.arange(longest) < length)[None], cmap="gray_r", aspect="auto", vmin=0)
        real.spines[:].set_visible(True)
        for each in (clip, real):
            each.set(xticks=[], yticks=[])
        _below(real, f"{length} real frames")


def _weights(axes: Axes, weights: np.ndarray, most: float, colour: str) -> None:
    axes.bar(np.arange(len(weights)) + 0.5, weights, color=colour, width=0.8)
    axes.set(xlim=(0, len(weights)), ylim=(0, 1.05 * most))


def _shares(figure: Figure, shares: pd.DataFrame) -> None:
    axes = _column(figure, 0.89, "shares", "90 % intervals", 0.1)
    places, values = np.arange(len(shares)), shares["share"].to_numpy()
    axes.barh(places, values, color=style.SHARES, height=0.62)
    axes.hlines(places, shares["low"], shares["high"], color="black", linewidth=0.9)
    axes.set(xlim=(0, 1), xticks=[0, 1], ylim=(len(shares) - 0.4, -0.6))
    axes.set_yticks(places, shares["emotion"], fontsize=7.5)
    axes.tick_params(axis="y", length=0)
