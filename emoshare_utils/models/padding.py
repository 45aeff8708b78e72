"""The padding policy: ragged frames -> zero-padded batch and mask (section 2.1, Fig. 1(c)).

Notebook 03's parameter `padding` says what to pad to; `max_frames` makes it the number of frames
in `Training.max_frames`. The paper's 398 and 797 are `FeatureStore.paper_frames`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

LENGTHS_PER_DOUBLING = 16  # a CPU compiles its kernels for each length of a batch, and keeps them


def pad(frames: Sequence[np.ndarray], max_frames: int | None = None) -> tuple[Tensor, Tensor]:
    """Zero-pad clips on the time axis.

    Args:
        frames: N clips of (L_i, W).
        max_frames: L, the fixed maximum (the paper: 398 or 797); None: the longest of these.

    Returns:
        features (N, L, W) float32, zero beyond each clip's end, and lengths (N,) int64.

    Raises:
        ValueError: a clip is longer than `max_frames`.
    """
    lengths = torch.tensor([len(clip) for clip in frames])
    longest = int(lengths.max())
    max_frames = max_frames or longest
    if longest > max_frames:
        raise ValueError(
            f"a clip of {longest} frames does not fit the fixed maximum of {max_frames}: "
            "set padding = 'batch', or a larger number"
        )
    features = torch.zeros(len(frames), max_frames, frames[0].shape[1])
    for row, clip in zip(features, frames):
        row[: len(clip)] = torch.from_numpy(np.asarray(clip, dtype=np.float32))
    return features, lengths


def mask(lengths: Tensor, max_frames: int) -> Tensor:
    """True where a frame is real: lengths (N,) -> (N, L)."""
    return torch.arange(max_frames, device=lengths.device) < lengths[:, None]


def max_frames(padding: str | int, paper_frames: int) -> int | None:
    """The fixed maximum L: None for "batch", `paper_frames` for "paper", or the number given.

    Raises:
        ValueError: another `padding`.
    """
    if padding == "batch":
        return None
    if padding == "paper":
        return paper_frames
    if isinstance(padding, int) and padding > 0:
        return padding
    raise ValueError(f"padding = {padding!r}: expected 'batch', 'paper' or a number of frames")


def round_length(longest: int) -> int:
    """`longest`, rounded up to one of `LENGTHS_PER_DOUBLING` lengths between two powers of 2."""
    step = max(1, 2 ** (longest.bit_length() - 1) // LENGTHS_PER_DOUBLING)
    return -(-longest // step) * step
