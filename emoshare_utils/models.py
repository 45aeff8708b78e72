"""Architecture 1 and Architecture 2 (section 2.4): one network predicts the share of one emotion.

Shapes are the paper's: N clips, L frames, W features a frame; the CNN gives W_c features and half
the frames, the LSTM W_l features. Nothing a clip's output is made of reaches beyond its own
frames, so it is the same alone, in any batch and under any padding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emoshare_utils.padding import mask


@dataclass(frozen=True)
class Sizes:
    """The sizes of both architectures; the defaults are the released code's.

    Attributes:
        cnn: channels after each convolution (kernel 3, stride 1), the last one W_c.
        pool: max-pooling after the CNN, L -> floor(L / pool); the paper's is 2.
        lstm: W_l, units of each LSTM layer.
        lstm_layers: the paper's is 2.
        ffnn_1, ffnn_2: hidden sizes of the FFNN of Architecture 1 and 2; one output follows.
        scale: what Eq. 2b divides by: "sqrt" for the square root of W_l, "width" for W_l.
        output: "sigmoid", or the released code's "relu".
    """

    cnn: Sequence[int] = (768, 384, 192)
    pool: int = 2
    lstm: int = 512
    lstm_layers: int = 2
    ffnn_1: Sequence[int] = (256, 64, 8)
    ffnn_2: Sequence[int] = (256, 128, 64)
    scale: str = "sqrt"
    output: str = "sigmoid"

    def __post_init__(self) -> None:
        if self.scale not in ("sqrt", "width"):
            raise ValueError(f"scale = {self.scale!r}: expected 'sqrt' or 'width'")
        if self.output not in OUTPUTS:
            raise ValueError(f"output = {self.output!r}: expected one of {', '.join(OUTPUTS)}")
        for name in ("pool", "lstm", "lstm_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: expected 1 or more")
        if not self.cnn:
            raise ValueError("cnn is empty: expected the channels of one convolution or more")


OUTPUTS = {  # each with its inverse
    "sigmoid": (torch.sigmoid, lambda share: math.log(share / (1 - share))),
    "relu": (torch.relu, lambda share: share),
}


class Architecture1(nn.Module):
    """CNN + LSTM + masked mean + FFNN."""

    def __init__(self, width: int, sizes: Sizes = Sizes()) -> None:
        super().__init__()
        self.standardise = Standardise(width)
        self.cnn = CNN(width, sizes.cnn, sizes.pool)
        self.lstm = LSTM(sizes.cnn[-1], sizes.lstm, sizes.lstm_layers)
        self.ffnn = FFNN(sizes.lstm, sizes.ffnn_1, sizes.output)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features (N, L, W), lengths (N,) -> shares (N,)."""
        features = self.standardise(features, lengths)
        frames, lengths = self.cnn(features, lengths)  # (N, L/2, W_c)
        states, _ = self.lstm(frames, lengths)  # (N, L/2, W_l)
        mean = masked_mean(states, lengths)  # Eq. 1: (N, W_l)
        return self.ffnn(mean)


class Architecture2(nn.Module):
    """CNN + LSTM + attention + FFNN; the query comes from the LSTM's final hidden states."""

    def __init__(self, width: int, sizes: Sizes = Sizes()) -> None:
        super().__init__()
        self.standardise = Standardise(width)
        self.cnn = CNN(width, sizes.cnn, sizes.pool)
        self.lstm = LSTM(sizes.cnn[-1], sizes.lstm, sizes.lstm_layers)
        self.attention = Attention(sizes.lstm, sizes.lstm_layers, sizes.scale)
        self.ffnn = FFNN(sizes.lstm, sizes.ffnn_2, sizes.output)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features (N, L, W), lengths (N,) -> shares (N,)."""
        features = self.standardise(features, lengths)
        frames, lengths = self.cnn(features, lengths)  # (N, L/2, W_c)
        states, final = self.lstm(frames, lengths)  # (N, L/2, W_l), (N, 2 W_l)
        attended, _ = self.attention(states, final, lengths)  # Eq. 2b: (N, W_l)
        return self.ffnn(attended)


ARCHITECTURES = {1: Architecture1, 2: Architecture2}


class Standardise(nn.Module):
    """Zero mean and unit variance for each of the W features over the training frames.

    Starts as the identity; `fit` sets it. Its statistics are stored with the weights.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def fit(self, mean: Tensor, scale: Tensor) -> None:
        """Set the mean and standard deviation, (W,) each."""
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        real = mask(lengths, features.shape[1])[..., None]
        return torch.where(real, (features - self.mean) / self.scale, 0.0)


class CNN(nn.Module):
    """1D convolutions over time with ReLU, then max-pooling: (N, L, W) -> (N, L/2, W_c)."""

    def __init__(self, width: int, channels: Sequence[int], pool: int) -> None:
        super().__init__()
        sizes = [width, *channels]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(n_in, n_out, kernel_size=3, padding=1)
            for n_in, n_out in zip(sizes, sizes[1:])
        )
        self.pool = pool

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        real = mask(lengths, features.shape[1])[..., None]  # (N, L, 1)
        frames = features
        for convolution in self.convolutions:
            # zero beyond the clip's end again, as a clip alone would see there
            frames = F.relu(convolve(frames, convolution)) * real
        # a clip shorter than one pool keeps one frame
        return max_pool(frames, self.pool), (lengths // self.pool).clamp(min=1)


def convolve(frames: Tensor, convolution: nn.Conv1d) -> Tensor:
    """A 1D convolution of (N, L, C) frames as they lie in memory.

    As a 2D convolution of height 1 in channels-last layout it spares two transpositions.
    """
    image = frames.transpose(1, 2).unsqueeze(2)  # (N, C, 1, L)
    weight, bias, (padding,) = convolution.weight, convolution.bias, convolution.padding
    image = F.conv2d(image, weight.unsqueeze(2), bias, padding=(0, padding))
    return image.squeeze(2).transpose(1, 2)


def max_pool(frames: Tensor, pool: int) -> Tensor:
    """The largest of every `pool` frames, (N, L, C) -> (N, ceil(L / pool), C), for frames >= 0.

    On a CPU several times faster than `max_pool1d`.
    """
    frames = F.pad(frames, (0, 0, 0, -frames.shape[1] % pool))
    return frames.unflatten(1, (-1, pool)).amax(dim=2)


class LSTM(nn.Module):
    """LSTM layers over padded frames, run unpacked.

    A state depends on nothing after it, so the states before a clip's end are those of the clip
    alone, and its final state is the one at its last frame: exact, and on a CPU several times
    faster than packing.
    """

    def __init__(self, width: int, units: int, layers: int) -> None:
        super().__init__()
        widths = [width] + [units] * (layers - 1)
        self.layers = nn.ModuleList(nn.LSTM(n, units, batch_first=True) for n in widths)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (N, L, W_c) -> states (N, L, W_l), final h' (N, layers * W_l)."""
        clips, last = torch.arange(len(lengths), device=lengths.device), lengths - 1
        states, final = frames, []
        for layer in self.layers:
            states, _ = layer(states)
            final.append(states[clips, last])
        return states, torch.cat(final, dim=1)


def masked_mean(states: Tensor, lengths: Tensor) -> Tensor:
    """Eq. 1: the mean over a clip's own frames, (N, L, W_l) -> (N, W_l)."""
    real = mask(lengths, states.shape[1])[..., None]
    return (states * real).sum(dim=1) / lengths[:, None]


class Attention(nn.Module):
    """Scaled dot-product attention, one query a clip (Eq. 2a, 2b); K = V = the LSTM's states."""

    def __init__(self, units: int, layers: int, scale: str) -> None:
        super().__init__()
        self.w_q = nn.Linear(layers * units, units, bias=False)
        self.scale = math.sqrt(units) if scale == "sqrt" else float(units)

    def forward(self, states: Tensor, final: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """States (N, L, W_l), final h' (N, 2 W_l) -> A (N, W_l), weights (N, L)."""
        query = self.w_q(final)  # Eq. 2a: (N, W_l)
        scores = torch.einsum("nw,nlw->nl", query, states) / self.scale
        real = mask(lengths, states.shape[1])
        weights = scores.masked_fill(~real, -torch.inf).softmax(dim=1)
        return torch.einsum("nl,nlw->nw", weights, states), weights


class FFNN(nn.Module):
    """Linear layers with ReLU, and one output between 0 and 1: (N, W_l) -> (N,)."""

    def __init__(self, width: int, hidden: Sequence[int], output: str) -> None:
        super().__init__()
        sizes = [width, *hidden]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in zip(sizes, sizes[1:]))
        self.share = nn.Linear(sizes[-1], 1)
        self.output, self.inverse = OUTPUTS[output]

    @torch.no_grad()
    def start_at(self, share: float) -> None:
        """Set the output's bias so that predictions start around `share`."""
        self.share.bias.fill_(self.inverse(min(max(share, 1e-3), 1 - 1e-3)))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = F.relu(layer(x))
        return self.output(self.share(x)).squeeze(1)
