"""Ragged frames -> zero-padded batch, lengths and mask (section 2.1, Fig. 1(c))."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def pad(
    frames: Sequence[np.ndarray], max_frames: int | None = None, multiple: int = 1
) -> tuple[Tensor, Tensor]:
    """Zero-pad clips on the time axis.

    Args:
        frames: N clips of (L_i, W).
        max_frames: L, the fixed maximum (the paper: 398 or 797); None: the longest of these.
        multiple: without `max_frames`, round L up to a multiple of this.

    Returns:
        features (N, L, W) float32, zero beyond each clip's end, and lengths (N,) int64.

    Raises:
        ValueError: a clip is longer than `max_frames`.
    """
    lengths = torch.tensor([len(clip) for clip in frames])
    longest = int(lengths.max())
    if max_frames is None:
        max_frames = -(-longest // multiple) * multiple
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
