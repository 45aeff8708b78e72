"""Fig. 1(c): a zero-padded batch."""

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from emoshare_utils.results.figures.style import _of, style


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
