"""The convolutions of an encoder, in a form that trains fast on a CPU."""

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor, nn


def speed_up_front_end(encoder: nn.Module) -> None:
    """Replace each layer of the front end by a `FrontEndLayer`; the weights keep their names.

    The positional convolution becomes `Positions`.
    """
    layers = encoder.feature_extractor.conv_layers
    for number, layer in enumerate(layers):
        layers[number] = FrontEndLayer(layer)
    encoder.encoder.pos_conv_embed = Positions(encoder.encoder.pos_conv_embed)


class FrontEndLayer(nn.Module):
    """A convolution of the front end, LayerNorm, GELU: (N, C, T) -> (N, C', T').

    The same numbers as transformers' layer. A frame's channels stay side by side in memory, as
    LayerNorm needs them, so that nothing is transposed: four times as fast on a CPU.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.conv, self.layer_norm = layer.conv, layer.layer_norm

    def forward(self, x: Tensor) -> Tensor:
        (kernel,), (stride,) = self.conv.kernel_size, self.conv.stride
        if x.shape[1] == 1:  # samples
            x = F.linear(x[:, 0].unfold(1, kernel, stride), self.conv.weight[:, 0], self.conv.bias)
        else:
            weight = self.conv.weight[:, :, None].to(memory_format=torch.channels_last)
            x = F.conv2d(x[:, :, None], weight, self.conv.bias, stride=(1, stride))
            x = x[:, :, 0].mT  # (N, T', C')
        return F.gelu(self.layer_norm(x)).mT


class Positions(nn.Module):
    """The positional convolution and GELU: (N, L, W) -> (N, L, W).

    The same numbers as transformers' layer, to rounding, by the convolution theorem: the product of
    the transforms of frames and kernel, for each frequency and group. Twice as fast on a CPU, which
    multiplies few channels in many groups slowly.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.conv = layer.conv

    def forward(self, frames: Tensor) -> Tensor:
        return F.gelu(fourier_convolution(frames, self.conv)).to(frames.dtype)


def fourier_convolution(frames: Tensor, conv: nn.Conv1d) -> Tensor:
    """`conv` (stride 1) over frames (N, L, W), as many after it: (N, L, W) float32.

    Of an even kernel's outputs, which are one more than L, the last is left out.
    """
    length, kernel, groups = frames.shape[1], conv.kernel_size[0], conv.groups
    n = next_fast_len(length + kernel - 1, real=True)
    with torch.autocast(frames.device.type, enabled=False):
        weight = conv.weight.float().flip(-1)  # (W, W / G, K); convolution flips it again
        of_weight = torch.fft.rfft(weight, n).unflatten(
            0, (groups, -1)
        )  # (G, out, in, frequencies)
        of_frames = torch.fft.rfft(frames.float(), n, dim=1).unflatten(-1, (groups, -1))
        products = of_frames.permute(1, 2, 0, 3) @ of_weight.permute(3, 0, 2, 1)
        found = torch.fft.irfft(products.permute(2, 0, 1, 3).flatten(-2), n, dim=1)
        start = kernel - 1 - conv.padding[0]
        return found[:, start : start + length] + conv.bias.float()
