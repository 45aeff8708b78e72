"""The CNNs of several networks over the same frames, computed together.

The networks stay independent and their shares the same to 1e-5; each is a small one, and a CPU
multiplies large matrices several times as fast as small ones.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from emoshare_utils.models.kernels import is_large
from emoshare_utils.models.layers import CNN
from emoshare_utils.models.padding import mask
from emoshare_utils.models.regressor import Regressor

# Winograd's F(4, 3) (Lavin and Gray 2016, section 4.3): 4 outputs of a convolution of kernel 3 from
# 6 products, of INPUT times 6 frames with KERNEL times the kernel, in place of 12.
TILE = 4
WIDE = 128  # features, from which on the products cost more than the transforms
INPUT = torch.tensor(
    [
        [4.0, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
KERNEL = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)


def can_join(networks: Sequence[Regressor], features: Tensor) -> bool:
    """Whether `JoinedCNNs` computes these: on a CPU in float32, if they are plain and small.

    A large network keeps a core busy by itself.
    """
    return (
        features.device.type == "cpu"
        and features.dtype == torch.float32
        and not is_large(networks[0], features.device)
        and all(type(network.cnn) is CNN for network in networks)
        and all(network.layer_weights is None and not network.metadata for network in networks)
        and all(type(network).regress is Regressor.regress for network in networks)
        and all(type(network).frames is Regressor.frames for network in networks)
    )


class JoinedCNNs:
    """The CNNs of E networks of the same sizes, for as long as their weights stay as they are.

    Attributes:
        kernels: each convolution's kernel and bias, whose gradients `gradients` takes.
    """

    def __init__(self, networks: Sequence[Regressor]) -> None:
        self.pool = networks[0].cnn.pool
        self.parameters = [x for network in networks for x in network.cnn.parameters()]
        layers = list(zip(*(network.cnn.convolutions for network in networks)))
        self.tiled = layers[0][0].in_channels >= WIDE
        self._made = []
        for place, of_one in enumerate(layers):
            weight = torch.stack([layer.weight for layer in of_one])  # (E, C_out, C, 3)
            tiled = self.tiled and place == 0
            kernel = torch.einsum("pk,ecwk->pwec", KERNEL, weight) if tiled else weight
            self._made += [kernel, torch.stack([layer.bias for layer in of_one])]
        self.kernels = [x.detach().contiguous().requires_grad_(x.requires_grad) for x in self._made]

    def __call__(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, L, W), lengths (N,) -> frames (E, N, L', W_c), lengths (N,) after pooling.

        L' may be larger than in `layers.CNN`; frames beyond a clip's end are no clip's.
        """
        # whole tiles and whole pools, and one zero frame or more between a clip and the next
        whole = math.lcm(TILE, self.pool)
        length = (int(lengths.max()) // whole + 1) * whole
        real = mask(lengths, length).reshape(-1, 1).to(features.dtype)  # (N L, 1)
        frames = F.pad(features[:, :length], (0, 0, 0, max(0, length - features.shape[1])))
        layers = list(zip(self.kernels[::2], self.kernels[1::2]))
        if self.tiled:
            frames = _Tiled.apply(_tiles(frames), *layers.pop(0), real)
        else:
            frames = frames.flatten(0, 1).expand(len(self.kernels[1]), -1, -1)
        for kernel, bias in layers:
            frames = _Convolution.apply(frames, kernel, bias, real)  # (E, N L, C)
        image = frames.transpose(1, 2).unsqueeze(2)  # (E, C, 1, N L), channels last in memory
        frames = F.max_pool2d(image, (1, self.pool)).squeeze(2).transpose(1, 2)
        return frames.unflatten(1, (len(lengths), -1)), (lengths // self.pool).clamp(min=1)

    def gradients(self, of_kernels: Sequence[Tensor]) -> list[Tensor]:
        """The gradients of `kernels` -> those of `parameters`, network by network."""
        return list(torch.autograd.grad(self._made, self.parameters, of_kernels))


def _tiles(features: Tensor) -> Tensor:
    """Features (N, L, W) -> transformed tiles (6, N L / 4, W)."""
    tiles = F.pad(features, (0, 0, 1, 1)).unfold(1, TILE + 2, TILE)  # (N, L / 4, W, 6)
    return torch.einsum("pi,ntwi->pntw", INPUT, tiles).flatten(1, 2)


class _Tiled(Function):
    """Tiles (6, T, W) -> ReLU(convolution) (E, 4 T, C), 0 in the padding; one product for all."""

    @staticmethod
    def forward(ctx, tiles: Tensor, kernel: Tensor, bias: Tensor, real: Tensor) -> Tensor:
        products = torch.bmm(tiles, kernel.flatten(2))  # (6, T, E C), by a kernel (6, W, E, C)
        m = products.unflatten(2, bias.shape).transpose(1, 2)  # (6, E, T, C)
        y = m.new_empty(len(bias), m.shape[2], TILE, m.shape[3])
        plus, minus, plus2, minus2 = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
        torch.add(plus2 + m[0], plus, out=y[:, :, 0])
        torch.add(minus, minus2, alpha=2, out=y[:, :, 1])
        torch.add(plus, plus2, alpha=4, out=y[:, :, 2])
        torch.add(minus + m[5], minus2, alpha=8, out=y[:, :, 3])
        y = _activate(y.flatten(1, 2), bias, real)
        ctx.save_for_backward(tiles, y)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[None, Tensor, Tensor, None]:
        tiles, y = ctx.saved_tensors
        gradient = _before_relu(gradient, y)
        g = gradient.unflatten(1, (-1, TILE)).unbind(2)
        products = gradient.new_empty(TILE + 2, g[0].shape[1], *y.shape[::2])  # (6, T, E, C)
        _spread(g, products.transpose(1, 2))
        kernel = torch.bmm(tiles.transpose(1, 2), products.flatten(2))  # (6, W, E C)
        return None, kernel.unflatten(2, y.shape[::2]), gradient.sum(dim=1), None


def _spread(g: Sequence[Tensor], m: Tensor) -> None:
    """The gradient of a tile's 4 outputs -> of its 6 products, written into m."""
    even, odd = g[0] + g[2], g[1] + g[3]
    even2, odd2 = torch.add(g[0], g[2], alpha=4), torch.add(g[1], g[3], alpha=4).mul_(2)
    m[0], m[5] = g[0], g[3]
    torch.add(even, odd, out=m[1])
    torch.sub(even, odd, out=m[2])
    torch.add(even2, odd2, out=m[3])
    torch.sub(even2, odd2, out=m[4])


class _Convolution(Function):
    """Frames (E, R, C) -> ReLU(convolution) (E, R, C_out), 0 in the padding, each its own."""

    @staticmethod
    def forward(ctx, frames: Tensor, weight: Tensor, bias: Tensor, real: Tensor) -> Tensor:
        before, here, after = weight.permute(3, 0, 2, 1)  # (E, C, C_out)
        y = torch.bmm(frames, here)
        y[:, 1:].baddbmm_(frames[:, :-1], before)
        y[:, :-1].baddbmm_(frames[:, 1:], after)
        y = _activate(y, bias, real)
        ctx.save_for_backward(frames, weight, y)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        frames, weight, y = ctx.saved_tensors
        gradient = _before_relu(gradient, y)
        before, here, after = weight.permute(3, 0, 1, 2)  # (E, C_out, C)
        of_frames = None
        if ctx.needs_input_grad[0]:
            of_frames = torch.bmm(gradient, here)
            of_frames[:, :-1].baddbmm_(gradient[:, 1:], before)
            of_frames[:, 1:].baddbmm_(gradient[:, :-1], after)
        x = frames.transpose(1, 2)
        of_weight = [
            torch.bmm(x[:, :, :-1], gradient[:, 1:]),
            torch.bmm(x, gradient),
            torch.bmm(x[:, :, 1:], gradient[:, :-1]),
        ]
        return of_frames, torch.stack(of_weight, 3).transpose(1, 2), gradient.sum(dim=1), None


def _activate(y: Tensor, bias: Tensor, real: Tensor) -> Tensor:
    """ReLU(y + bias), 0 in the padding, in the memory of y (E, R, C)."""
    return y.add_(bias[:, None]).mul_(real).relu_()


def _before_relu(gradient: Tensor, y: Tensor) -> Tensor:
    """The gradient before `_activate`, in the memory of that after it."""
    return torch.ops.aten.threshold_backward.grad_input(gradient, y, 0, grad_input=gradient)
