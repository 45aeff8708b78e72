"""The parts of both architectures, in the paper's terms."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emoshare_utils.models.kernels import Convolution, lstm, max_pool
from emoshare_utils.models.padding import mask

OUTPUTS = {  # the activation, and its inverse, which sets the bias
    "sigmoid": (torch.sigmoid, lambda share: math.log(share / (1 - share))),
    "relu": (torch.relu, lambda share: share),
}


class Standardise(nn.Module):
    """Zero mean and unit variance for each of the W features over the training frames.

    The identity until `fit` sets it. Its statistics are stored with the weights.
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
        """Features (N, L, W), lengths (N,) -> standardised features (N, L, W), 0 in the padding."""
        real = mask(lengths, features.shape[1])[..., None]
        return torch.where(real, (features - self.mean) / self.scale, 0.0)


class LayerWeights(nn.Module):
    """A weighted mean of an encoder's layers; the weights are learned, all equal at first."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))

    def forward(self, features: Tensor) -> Tensor:
        """Frames of all layers side by side, (N, L, layers * W) -> (N, L, W)."""
        of_layers = features.unflatten(2, (len(self.scores), -1))
        weights = self.scores.softmax(dim=0).to(features.dtype)
        return torch.einsum("nlkw,k->nlw", of_layers, weights)


class CNN(nn.Module):
    """1D convolutions over time with ReLU, then max-pooling over `pool` frames."""

    def __init__(self, width: int, channels: Sequence[int], pool: int) -> None:
        super().__init__()
        sizes = [width, *channels]
        self.convolutions = nn.ModuleList(
            Convolution(n_in, n_out, kernel_size=3, padding=1)
            for n_in, n_out in zip(sizes, sizes[1:])
        )
        self.pool = pool

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, L, W) -> frames (N, L', W_c), and their lengths floor(length / pool) (N,).

        L' is ceil(L / pool); a clip shorter than one pool keeps one frame.
        """
        real = mask(lengths, features.shape[1])[..., None]  # (N, L, 1)
        frames = features
        for convolution in self.convolutions:
            # zero beyond the clip's end again, as if the clip were convolved alone
            frames = F.relu(convolution(frames)) * real
        return max_pool(frames, self.pool), (lengths // self.pool).clamp(min=1)


class LSTM(nn.Module):
    """LSTM layers over padded frames, without pack_padded_sequence.

    A state depends on no later frame. So the states before a clip's end are those of the clip
    alone, and its final state is the one at its last frame: this is exact, and several times
    faster than packing on a CPU.
    """

    def __init__(self, width: int, units: int, layers: int) -> None:
        super().__init__()
        widths = [width] + [units] * (layers - 1)
        self.layers = nn.ModuleList(nn.LSTM(n, units, batch_first=True) for n in widths)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (N, L', W_c) -> states (N, L', W_l), final h' (N, layers * W_l).

        h' is the last hidden state of every layer, from the first to the last.
        """
        clips, last = torch.arange(len(lengths), device=lengths.device), lengths - 1
        states, final = frames, []
        for layer in self.layers:
            states = lstm(layer, states)
            final.append(states[clips, last])
        return states.float(), torch.cat(final, dim=1).float()


def masked_mean(states: Tensor, lengths: Tensor) -> Tensor:
    """Eq. 1: the mean over a clip's own frames, (N, L', W_l) -> (N, W_l)."""
    real = mask(lengths, states.shape[1])[..., None]
    return (states * real).sum(dim=1) / lengths[:, None]


class Attention(nn.Module):
    """Scaled dot-product attention, one query per clip (Eq. 2a, 2b); K = V = the LSTM's states."""

    def __init__(self, units: int, layers: int, scale: str) -> None:
        super().__init__()
        self.w_q = nn.Linear(layers * units, units, bias=False)
        self.scale = math.sqrt(units) if scale == "sqrt" else float(units)

    def forward(self, states: Tensor, final: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """States (N, L', W_l), final h' (N, layers * W_l) -> A (N, W_l), weights (N, L')."""
        query = self.w_q(final)  # Eq. 2a: q = h' W_Q, (N, W_l)
        # Eq. 2b: A = softmax(q K^T / scale) V
        scores = torch.einsum("nw,nlw->nl", query, states) / self.scale
        real = mask(lengths, states.shape[1])
        weights = scores.masked_fill(~real, -torch.inf).softmax(dim=1)
        return torch.einsum("nl,nlw->nw", weights, states), weights


class FFNN(nn.Module):
    """Linear layers with ReLU, and one output: (N, W_l) -> (N,), in [0, 1] if it is a sigmoid."""

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

    @torch.no_grad()
    def rescale(self, factor: float, offset: float) -> None:
        """Let the last sum z before the output's activation be factor z + offset."""
        self.share.weight.mul_(factor)
        self.share.bias.mul_(factor).add_(offset)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = F.relu(layer(x))
        return self.output(self.share(x)).squeeze(1)
