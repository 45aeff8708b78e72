"""Which frames are masked, and which others a masked frame is told from."""

import torch
import torch.nn.functional as F
from torch import Tensor

NEGATIVES = 100  # wav2vec2.0: other hidden frames that the own one is told from


def draw_mask(n: int, length: int, share: float, span: int) -> Tensor:
    """Which frames are hidden, (n, length) bool: spans of `span` frames, `share` of all frames.

    A span starts at each frame with the same chance, and spans may overlap; that chance is
    1 - (1 - share)^(1 / span), so that a frame is hidden with the chance `share`. No clip is
    left without hidden frames.
    """
    start = torch.rand(n, length + span - 1) < 1 - (1 - share) ** (1 / span)
    start[torch.arange(n), torch.randint(span - 1, length, (n,))] |= ~start.any(1)
    return F.max_pool1d(start[:, None].float(), span, stride=1)[:, 0] > 0


def draw_negatives(hidden: Tensor, count: int = NEGATIVES) -> Tensor:
    """For every hidden frame, `count` other hidden frames of its clip: (hidden, count) int64.

    A clip's only hidden frame is its own negative, which the loss then leaves out.
    """
    of_clip = hidden.sum(1)
    start = (of_clip.cumsum(0) - of_clip).repeat_interleave(of_clip)[:, None]
    others = (of_clip - 1).repeat_interleave(of_clip)[:, None]
    own = torch.arange(len(others), device=hidden.device)[:, None] - start
    drawn = (torch.rand(len(others), count, device=hidden.device) * others).long()
    _, frame = hidden.nonzero(as_tuple=True)
    return frame[start + drawn + ((drawn >= own) & (others > 0))]
