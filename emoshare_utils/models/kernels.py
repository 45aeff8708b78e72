"""What makes the networks fast on a CPU: the only place for private parts of torch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGE_NETWORK = 1_000_000  # parameters


def is_large(network: nn.Module, device: torch.device) -> bool:
    """Whether a CPU computes so long that small micro-batches and returning memory pay off."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return device.type == "cpu" and parameters > LARGE_NETWORK


def has_onednn(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN, which is fast on Intel's and AMD's CPUs, multiplies this type."""
    return (
        device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and (dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def pack_linear(weight: Tensor, rows: int) -> Tensor:
    """A (W_out, W_in) weight in oneDNN's blocked layout, for products with about `rows` rows."""
    return torch.ops.mkldnn._reorder_linear_weight(weight, rows)


def packed_linear(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool = False) -> Tensor:
    """x W^T + b, then GELU if asked, with a weight from `pack_linear` (or a plain one)."""
    after = "gelu" if gelu else "none"
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, after, [], "none")


WIDE_KERNEL = 2**16  # channels in times channels out, from which on the backward pass is our own


class Convolution(nn.Conv1d):
    """A 1D convolution over channels-last frames: (N, L, C) -> (N, L, C_out)."""

    def forward(self, frames: Tensor) -> Tensor:
        weight, bias = self.weight.to(frames.dtype), self.bias.to(frames.dtype)
        wide = self.in_channels * self.out_channels >= WIDE_KERNEL
        if wide and has_onednn(frames.device, frames.dtype):
            return _Convolve.apply(frames, weight, bias)
        return convolve(frames, weight, bias)


def convolve(frames: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 1D convolution of kernel 3 over channels-last frames: (N, L, C) -> (N, L, C_out).

    As a 2D convolution of height 1 in channels-last layout it needs no transposed copies.
    """
    image = frames.transpose(1, 2).unsqueeze(2)  # (N, C, 1, L)
    image = F.conv2d(image, weight.unsqueeze(2), bias, padding=(0, 1))
    return image.squeeze(2).transpose(1, 2)


class _Convolve(torch.autograd.Function):
    """`convolve` with a custom backward pass: torch's takes twice as long for a wide kernel."""

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
    """Frames (N, L, C), gradient of the output (N, L, C_out) -> of the kernel (C_out, C, 3).

    dW_k = sum over l of gradient(l) frames(l + k - 1). With one zero between the clips, all three
    k are one matrix product over all frames.
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

    Several times faster than `max_pool1d` on a CPU.
    """
    frames = F.pad(frames, (0, 0, 0, -frames.shape[1] % pool))
    return frames.unflatten(1, (-1, pool)).amax(dim=2)


def lstm(layer: nn.LSTM, frames: Tensor) -> Tensor:
    """One LSTM layer in the precision of its input, (N, L, W) -> states (N, L, W_l)."""
    weights = [weight.to(frames.dtype) for weight in layer.all_weights[0]]
    start = frames.new_zeros(1, len(frames), layer.hidden_size)
    states, *_ = torch.lstm(
        frames, (start, start), weights, True, 1, 0.0, layer.training, False, True
    )
    return states
