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

from emoshare_utils.device import has_onednn
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


WIDE = 2**16  # channels in times channels out, from which on a kernel's gradient is our own

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
        return self.regress(self.standardise(features, lengths), lengths)

    def regress(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Standardised features (N, L, W), lengths (N,) -> shares (N,)."""
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
        return self.regress(self.standardise(features, lengths), lengths)

    def regress(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Standardised features (N, L, W), lengths (N,) -> shares (N,)."""
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
            Convolution(n_in, n_out, kernel_size=3, padding=1)
            for n_in, n_out in zip(sizes, sizes[1:])
        )
        self.pool = pool

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        real = mask(lengths, features.shape[1])[..., None]  # (N, L, 1)
        frames = features
        for convolution in self.convolutions:
            # zero beyond the clip's end again, as a clip alone would see there
            frames = F.relu(convolution(frames)) * real
        # a clip shorter than one pool keeps one frame
        return max_pool(frames, self.pool), (lengths // self.pool).clamp(min=1)


class Convolution(nn.Conv1d):
    """A 1D convolution over frames as they lie in memory: (N, L, C) -> (N, L, C')."""

    def forward(self, frames: Tensor) -> Tensor:
        weight, bias = self.weight.to(frames.dtype), self.bias.to(frames.dtype)
        wide = self.in_channels * self.out_channels >= WIDE
        if wide and has_onednn(frames.device, frames.dtype):
            return _Convolve.apply(frames, weight, bias)
        return convolve(frames, weight, bias)


def convolve(frames: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 1D convolution of kernel 3 over frames as they lie in memory: (N, L, C) -> (N, L, C').

    As a 2D convolution of height 1 in channels-last layout it spares two transpositions.
    """
    image = frames.transpose(1, 2).unsqueeze(2)  # (N, C, 1, L)
    image = F.conv2d(image, weight.unsqueeze(2), bias, padding=(0, 1))
    return image.squeeze(2).transpose(1, 2)


class _Convolve(torch.autograd.Function):
    """`convolve` on a CPU, whose own gradient of a wide kernel takes twice as long as its parts."""

    @staticmethod
    def forward(ctx, frames: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(frames, weight)
        return convolve(frames, weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        frames, weight = ctx.saved_tensors
        of_frames = None
        if ctx.needs_input_grad[0]:
            of_frames = convolve(gradient, weight.flip(2).transpose(0, 1))
        return of_frames, _gradient_of_kernel(frames, gradient), gradient.sum(dim=(0, 1))


def _gradient_of_kernel(frames: Tensor, gradient: Tensor) -> Tensor:
    """Frames (N, L, C) and the gradient of the output (N, L, C') -> that of the kernel (C', C, 3).

    dW_k = sum over l of gradient(l) frames(l + k - 1): with one zero between the clips, all three
    are one matrix product over all frames.
    """
    (n, length, channels), outputs = frames.shape, gradient.shape[2]
    x = frames.new_zeros(channels, n, length + 1)
    x[:, :, :length] = frames.permute(2, 0, 1)
    g = gradient.new_zeros(3, outputs, n * (length + 1))
    g[1].view(outputs, n, length + 1)[:, :, :length] = gradient.permute(2, 0, 1)
    g[0, :, :-1] = g[1, :, 1:]
    g[2, :, 1:] = g[1, :, :-1]
    g, x = g.view(3 * outputs, -1), x.view(channels, -1)
    kernel = torch.ops.mkldnn._linear_pointwise(g, x, None, "none", [], "none")  # g x'
    return kernel.view(3, outputs, channels).permute(1, 2, 0)


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
            states = run(layer, states)
            final.append(states[clips, last])
        return states.float(), torch.cat(final, dim=1).float()


def run(layer: nn.LSTM, frames: Tensor) -> Tensor:
    """One LSTM layer in the precision of its input, (N, L, W) -> states (N, L, W_l)."""
    weights = [weight.to(frames.dtype) for weight in layer.all_weights[0]]
    start = frames.new_zeros(1, len(frames), layer.hidden_size)
    states, *_ = torch.lstm(
        frames, (start, start), weights, True, 1, 0.0, layer.training, False, True
    )
    return states


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
