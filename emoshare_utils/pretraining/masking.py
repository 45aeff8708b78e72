"""Which frames are masked."""

import torch
import torch.nn.functional as F
from torch import Tensor


def draw_mask(clips: int, frames: int, probability: float, span: int) -> Tensor:
    """A mask (clips, frames), True where a frame is masked, in spans of `span` frames.

    Every frame is masked with the given `probability`: a span starts at any frame with probability
    1 - (1 - probability)^(1 / span), and spans may overlap. Each clip has masked frames.
    """
    start = torch.rand(clips, frames + span - 1) < 1 - (1 - probability) ** (1 / span)
    start[torch.arange(clips), torch.randint(span - 1, frames, (clips,))] |= ~start.any(1)
    return F.max_pool1d(start[:, None].float(), span, stride=1)[:, 0] > 0
