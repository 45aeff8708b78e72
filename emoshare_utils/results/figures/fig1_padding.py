"""Fig. 1(c): a zero-padded batch."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from emoshare_utils.results.figures import style

PADDING = {"facecolor": "0.94", "edgecolor": "0.65", "hatch": "/////", "linewidth": 0}


def padded_batch(features: np.ndarray, lengths: np.ndarray, encoder: str = "") -> Figure:
    """Fig. 1(c): a zero-padded batch, one strip per clip, real frames coloured, padding hatched.

    Args:
        features: a padded batch, (N, L, W).
        lengths: the real frames of each clip, (N,).
        encoder: whose frames they are, for the title.

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
    frames = [clip[:length] for clip, length in zip(features, lengths)]
    colours = Normalize(*np.percentile(np.concatenate(frames), [2, 98]))
    with style.drawing(style.COLUMN_IN, 0.85 + 0.34 * n_clips) as figure:
        strips = list(figure.subplots(n_clips, 1, sharex=True, squeeze=False)[:, 0])
        for clip, (axes, real) in enumerate(zip(strips, frames), start=1):
            image = _strip(axes, real, longest, colours)
            axes.set_ylabel(f"clip {clip}", rotation=0, ha="right", va="center")
            axes.tick_params(axis="x", length=2.5 if clip == n_clips else 0)
        ticks = [tick for tick in MaxNLocator(4).tick_values(0, longest) if tick < 0.9 * longest]
        strips[-1].set_xticks([*ticks, longest])
        strips[-1].set_xlabel("frame (hatched: zero-padding)")
        of = f"{style.readable(encoder)}, " if encoder else ""
        figure.suptitle(f"{of}padded to L = {longest} frames, W = {width}")
        bar = figure.colorbar(image, ax=strips, location="bottom", shrink=0.5, aspect=40)
        bar.set_label("feature value (no unit)")
    return figure


def _strip(axes: Axes, frames: np.ndarray, longest: int, colours: Normalize) -> AxesImage:
    length, width = frames.shape
    place = {"extent": (0, length, 0, width), "aspect": "auto", "origin": "lower"}
    image = axes.imshow(frames.T, norm=colours, cmap="viridis", **place)
    if length < longest:
        axes.axvspan(length, longest, **PADDING)
    axes.set(xlim=(0, longest), ylim=(0, width), yticks=[])
    axes.text(1.015, 0.5, f"{length} frames", transform=axes.transAxes, va="center")
    axes.spines[:].set_visible(True)
    return image
