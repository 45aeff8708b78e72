"""Architecture 3: a transformer over time, which the paper tried and dropped (section 2.4)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emoshare_utils.models.layers import masked_mean
from emoshare_utils.models.padding import mask
from emoshare_utils.models.regressor import REGRESSORS, Regressor, Sizes

HEADS = 4  # or as many as divide the width, if fewer


class Transformer(nn.Module):
    """Multi-headed self-attention over padded frames, with sinusoidal positions.

    The encoder of Vaswani et al. (2017), with LayerNorm before each part (Xiong et al. 2020). A
    layer has 8 W_l^2 weights, as many as one of an LSTM that reads W_l features. All in float32.
    """

    def __init__(self, width: int, units: int, layers: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, units)
        self.layers = nn.ModuleList(Layer(units) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(units)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (N, L', W_c) -> states (N, L', W_l), and the state of the last frame (N, W_l)."""
        states = self.project(frames.float())
        states = states + positions(*states.shape[1:]).to(states)
        real = mask(lengths, states.shape[1])
        for layer in self.layers:
            states = layer(states, real)
        states = self.layer_norm(states)
        clips = torch.arange(len(lengths), device=lengths.device)
        return states, states[clips, lengths - 1]


class Layer(nn.Module):
    """Self-attention, then two linear layers, each added to what it reads: (N, L, W) -> same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = math.gcd(width, HEADS)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """`real` (N, L) is False in the padding, which no frame attends to."""
        projected = self.queries_keys_values(self.norms[0](states)).chunk(3, dim=-1)
        heads = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in projected)
        attended = F.scaled_dot_product_attention(*heads, attn_mask=real[:, None, None])
        states = states + self.out(attended.transpose(1, 2).flatten(-2))
        return states + self.feed_forward(self.norms[1](states))


def positions(length: int, width: int) -> Tensor:
    """Sines and cosines of each frame's number, wavelengths from 2 pi to 2 pi 10,000: (L, W)."""
    rates = torch.exp(-math.log(10_000) * torch.arange(0, width, 2) / width)
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


class Architecture3(Regressor):
    """CNN + transformer + masked mean + FFNN; the transformer has the place of the LSTM."""

    def over_time(self, sizes: Sizes) -> nn.Module:
        return Transformer(sizes.cnn[-1], sizes.lstm, sizes.lstm_layers)

    def pool(self, states: Tensor, final: Tensor, lengths: Tensor) -> Tensor:
        return masked_mean(states, lengths)  # (N, W_l)


REGRESSORS.build_in(3, Architecture3)
