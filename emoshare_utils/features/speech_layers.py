"""The parts of wav2vec2, HuBERT and WavLM over clips that lie end to end."""

import copy
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emoshare_utils.models.kernels import has_onednn, pack_linear, packed_linear
from emoshare_utils.models.padding import mask

CHUNK = 128  # frames of a clip that pass a CPU's front end together: they stay in its cache
LONG = 1024  # frames beyond which a CPU never holds all (L, L) attention weights (but WavLM's)
ROWS = 512  # frames that a CPU's weights are laid out for
STEP = 8  # frames; a CPU compiles a kernel for each shape, so frames come in multiples of this


class Here(NamedTuple):
    """Where and in what precision a part computes."""

    device: torch.device
    dtype: torch.dtype


class Layout:
    """Where the clips of a batch lie: end to end (sum of L, W), or side by side (N, max L, W)."""

    def __init__(self, lengths: list[int], device: torch.device, side_by_side: bool) -> None:
        self.lengths = lengths
        self.device = device
        self.side_by_side = side_by_side  # how to look along time
        self.relative = None

    def spread(self, x: Tensor) -> Tensor:
        """(sum of L, ...) -> (N, max L, ...), zero beyond each clip's end."""
        padded = x.new_zeros(self.mask.numel(), *x.shape[1:])
        padded[self._rows] = x
        return padded.unflatten(0, self.mask.shape)

    def join(self, padded: Tensor) -> Tensor:
        """(N, max L, ...) -> (sum of L, ...)."""
        return padded.flatten(0, 1)[self._rows]

    @cached_property
    def mask(self) -> Tensor:
        """(N, max L): True where a frame is real."""
        return mask(torch.tensor(self.lengths, device=self.device), max(self.lengths))

    @cached_property
    def _rows(self) -> Tensor:
        return self.mask.flatten().nonzero()[:, 0]

    @cached_property
    def relative_bias(self) -> dict[int, Tensor]:
        """WavLM's bias for the distance between two frames, (heads, L, L) for each L needed."""
        needed = {max(self.lengths)} if self.side_by_side else {*self.lengths}
        return {n: self.relative(n, n) for n in needed}


class FrontEnd(nn.Module):
    """The convolutions over the samples: clips (n_i,) -> frames (sum of L_i, C).

    Time-major, a convolution is a matrix product with the windows of its input. The GroupNorm of
    the first one (base models) takes each channel's mean and variance over one clip. Both follow
    from the mean m and covariance S of the clip's windows, w m and w S w^T for a channel's kernel
    w, so it becomes part of the first kernel, one per clip, without a second pass over its output.
    It also cancels a constant in the samples, which is taken out first, where it costs no digits.
    """

    def __init__(self, old: nn.Module, here: Here) -> None:
        super().__init__()
        layers = old.conv_layers
        self.device, self.dtype = here
        self.steps = [(layer.conv.kernel_size[0], layer.conv.stride[0]) for layer in layers]
        norms = [getattr(layer, "layer_norm", None) for layer in layers]
        self.group_norm = norms[0] if isinstance(norms[0], nn.GroupNorm) else None
        first = layers[0].conv
        self.kernel = first.weight.detach()[:, 0]  # (C, k)
        self.bias = torch.zeros_like(self.kernel[:, 0]) if first.bias is None else first.bias
        self.first_norm = norm(None if self.group_norm else norms[0], here)
        self.convolutions = nn.ModuleList(
            Convolution(layer.conv, after, here) for layer, after in zip(layers[1:], norms[1:])
        )

    def forward(self, clips: Sequence[Tensor]) -> tuple[Tensor, Layout]:
        if self.group_norm:
            clips = [clip - clip.mean() for clip in clips]
        lengths = [self.n_frames(len(clip)) for clip in clips]
        if not self.side_by_side:
            frames = torch.cat([self._in_chunks(clip) for clip in clips])
            silent = -len(frames) % STEP  # frames of one more clip, dropped at the end
            layout = Layout([*lengths, silent] if silent else lengths, self.device, False)
            return F.pad(frames, (0, 0, 0, silent)), layout
        layout = Layout(lengths, self.device, True)
        padded = nn.utils.rnn.pad_sequence(list(clips), batch_first=True).to(self.device)
        n_windows = [self.n_frames(len(clip), layers=1) for clip in clips]
        frames = self.convolve(padded, *self.first_kernel(padded, n_windows))
        return layout.join(frames[:, : max(layout.lengths)]), layout

    def convolve(self, samples: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """Samples (N, n), a first kernel (N, k, C) and bias (N, 1, C) -> frames (N, L, C)."""
        x = windows(samples[..., None], *self.steps[0])
        x = torch.baddbmm(bias, x.to(self.dtype), kernel)
        x = F.gelu(self.first_norm(x))
        for convolution in self.convolutions:
            x = convolution(x)
        return x

    def first_kernel(self, samples: Tensor, n_windows: list[int]) -> tuple[Tensor, Tensor]:
        """The first kernel (N, k, C) and bias (N, 1, C) of each clip of (N, n) samples."""
        kernel, bias = self.kernel.double(), self.bias.double().expand(len(samples), -1)
        if self.group_norm is None:
            kernel = kernel.expand(len(samples), -1, -1)
        else:
            x = windows(samples[..., None], *self.steps[0]).double()
            real = Layout(n_windows, samples.device, True).mask[..., None]
            count = real.sum(1, keepdim=True)
            mean = (x[:, : real.shape[1]] * real).sum(1, keepdim=True) / count
            x = (x[:, : real.shape[1]] - mean) * real
            covariance = x.mT @ x / count
            variance = ((kernel @ covariance) * kernel).sum(-1)
            scale = self.group_norm.weight * (variance + self.group_norm.eps).rsqrt()
            bias = self.group_norm.bias - scale * (kernel @ mean.mT)[..., 0]
            kernel = scale[..., None] * kernel
        return kernel.mT.to(self.dtype), bias[:, None].to(self.dtype)

    def n_frames(self, n_samples: int, layers: int | None = None) -> int:
        """The frames of a clip of `n_samples` after that many layers (None: all)."""
        field, hop = receptive_field(self.steps[:layers])
        return (n_samples - field) // hop + 1

    def _in_chunks(self, samples: Tensor) -> Tensor:
        field, hop = receptive_field(self.steps)
        first = self.first_kernel(samples[None], [self.n_frames(len(samples), layers=1)])
        real = self.n_frames(len(samples))
        starts, end = range(0, real, CHUNK), real + -real % STEP
        samples = F.pad(samples, (0, (end - 1) * hop + field - len(samples)))
        chunks = [
            samples[start * hop : (min(start + CHUNK, end) - 1) * hop + field] for start in starts
        ]
        return torch.cat([self.convolve(chunk[None], *first)[0] for chunk in chunks])[:real]


class Convolution(nn.Module):
    """A convolution of the front end with its LayerNorm, if any, and GELU: (N, T, C) -> (N, T', C).

    Args:
        after: the LayerNorm of large models, or None.
    """

    def __init__(self, old: nn.Conv1d, after: nn.Module | None, here: Here) -> None:
        super().__init__()
        kernel = old.weight.detach().mT.flatten(1)  # (C_out, k C): one window after the other
        self.step = old.kernel_size[0], old.stride[0]
        self.product = Dense(kernel, old.bias, here, gelu=after is None)
        self.norm = None if after is None else norm(after, here)

    def forward(self, x: Tensor) -> Tensor:
        x = self.product(windows(x, *self.step))
        return x if self.norm is None else F.gelu(self.norm(x))


class Positions(nn.Module):
    """The positional convolution: grouped, `kernel` frames wide, zero beyond a clip's ends."""

    def __init__(self, old: nn.Conv1d, here: Here) -> None:
        super().__init__()
        self.kernel, self.groups = old.kernel_size[0], old.groups
        self.weight = old.weight.detach().to(*here)  # (W, W / groups, kernel)
        self.bias = old.bias.detach().to(*here)
        self.products = None
        if has_onednn(*here):
            kernels = self.weight.mT.flatten(1).chunk(self.groups)
            pairs = zip(kernels, self.bias.chunk(self.groups))
            self.products = nn.ModuleList(
                Dense(kernel, bias, here, gelu=True) for kernel, bias in pairs
            )

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        if self.products and not layout.side_by_side:
            return torch.cat([self._clip(clip) for clip in x.split(layout.lengths)])
        padded = layout.spread(x).mT
        y = F.conv1d(padded, self.weight, self.bias, padding=self.kernel // 2, groups=self.groups)
        return layout.join(F.gelu(y.mT)[:, : padded.shape[2]])  # an even kernel adds a frame

    def _clip(self, x: Tensor) -> Tensor:
        before, after = self.kernel // 2, (self.kernel - 1) // 2 + -len(x) % STEP
        groups = x.unflatten(1, (self.groups, -1)).transpose(0, 1)
        groups = F.pad(groups, (0, 0, before, after))  # (groups, about L + kernel, W / groups)
        views = windows(groups, self.kernel, 1)
        y = torch.cat([product(view) for product, view in zip(self.products, views)], dim=1)
        return y[: len(x)]


class Layer(nn.Module):
    """A transformer layer with LayerNorm after each part: the base models."""

    def __init__(self, old: nn.Module, here: Here) -> None:
        super().__init__()
        self.attention = Attention(old.attention, here)
        self.attention_norm = norm(old.layer_norm, here)
        expand, contract = old.feed_forward.intermediate_dense, old.feed_forward.output_dense
        self.expand = Dense(expand.weight, expand.bias, here, gelu=True)
        self.contract = Dense(contract.weight, contract.bias, here)
        self.feed_forward_norm = norm(old.final_layer_norm, here)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        x = self.attention_norm(x + self.attention(x, layout))
        return self.feed_forward_norm(x + self.contract(self.expand(x)))


class NormFirstLayer(Layer):
    """A transformer layer with LayerNorm before each part: the large HuBERT, XLSR, WavLM-large."""

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        x = x + self.attention(self.attention_norm(x), layout)
        return x + self.contract(self.expand(self.feed_forward_norm(x)))


class Attention(nn.Module):
    """Self-attention within each clip: softmax(Q K^T / sqrt(d) + bias) V, the bias WavLM's only."""

    def __init__(self, old: nn.Module, here: Here) -> None:
        super().__init__()
        self.heads = old.num_heads
        q, k, v = old.q_proj, old.k_proj, old.v_proj
        scale = old.head_dim**-0.5
        weight = torch.cat([q.weight * scale, k.weight, v.weight])
        bias = torch.cat([q.bias * scale, k.bias, v.bias])
        self.query_key_value = Dense(weight, bias, here)
        self.out = Dense(old.out_proj.weight, old.out_proj.bias, here)
        self.gate = Gate(old, here) if hasattr(old, "gru_rel_pos_linear") else None

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        qkv = self.query_key_value(x).unflatten(1, (3, self.heads, -1))
        gates = None if self.gate is None else self.gate(x)
        attend = self._side_by_side if layout.side_by_side else self._each_clip
        return self.out(attend(qkv, gates, layout).flatten(1))

    def _each_clip(self, qkv: Tensor, gates: Tensor | None, layout: Layout) -> Tensor:
        mixed = torch.empty_like(qkv[:, 0])  # (sum of L, heads, d)
        clips = zip(layout.lengths, qkv.split(layout.lengths), mixed.split(layout.lengths))
        gates = [None] * len(layout.lengths) if gates is None else gates.split(layout.lengths)
        for (length, clip, out), gate in zip(clips, gates):
            q, k, v = clip.permute(1, 2, 0, 3).contiguous()  # each (heads, L, d)
            if gate is not None:
                weights = gate.mT[..., None] * layout.relative_bias[length].to(q.dtype)
                attended = torch.baddbmm(weights, q, k.mT).softmax(-1) @ v
            elif length <= LONG:
                attended = (q @ k.mT).softmax(-1) @ v
            else:
                attended = F.scaled_dot_product_attention(q[None], k[None], v[None], scale=1.0)[0]
            out.copy_(attended.transpose(0, 1))
        return mixed

    def _side_by_side(self, qkv: Tensor, gates: Tensor | None, layout: Layout) -> Tensor:
        q, k, v = layout.spread(qkv).permute(2, 0, 3, 1, 4)  # each (N, heads, max L, d)
        real = layout.mask[:, None, None]
        if gates is not None:
            gate = layout.spread(gates).mT[..., None]
            bias = gate * layout.relative_bias[max(layout.lengths)].to(q)
            real = bias.masked_fill(~real, -torch.inf)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=real, scale=1.0)
        return layout.join(attended.transpose(1, 2))


class Gate(nn.Module):
    """WavLM: how much the distance to other frames counts, (sum of L, W) -> (sum of L, heads)."""

    def __init__(self, old: nn.Module, here: Here) -> None:
        super().__init__()
        self.heads = old.num_heads
        self.constant = old.gru_rel_pos_const.detach().flatten().to(*here)
        self.product = Dense(old.gru_rel_pos_linear.weight, old.gru_rel_pos_linear.bias, here)

    def forward(self, x: Tensor) -> Tensor:
        x = self.product(x.unflatten(1, (self.heads, -1)))
        update, reset = x.unflatten(2, (2, 4)).sum(-1).sigmoid().unbind(-1)
        return update * (reset * self.constant - 1) + 2


class Dense(nn.Module):
    """x W^T + b, then GELU if asked: (..., W_in) -> (..., W_out).

    On a CPU the weights are laid out once as its matrix units want them, and GELU is part of the
    product.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, here: Here, gelu: bool = False) -> None:
        super().__init__()
        self.weight = weight.detach().to(*here)
        self.bias = None if bias is None else bias.detach().to(*here)
        self.gelu = gelu
        self.packed = has_onednn(*here)
        if self.packed:
            self.weight = pack_linear(self.weight, ROWS)

    def forward(self, x: Tensor) -> Tensor:
        if self.packed:
            return packed_linear(x, self.weight, self.bias, self.gelu)
        x = F.linear(x, self.weight, self.bias)
        return F.gelu(x) if self.gelu else x


def norm(old: nn.LayerNorm | None, here: Here) -> nn.Module:
    """The LayerNorm, or nothing where a model has none."""
    return nn.Identity() if old is None else copy.deepcopy(old).to(*here)


def receptive_field(convolutions: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Samples that one frame spans, and from one frame to the next, for (kernel, stride) pairs.

    With 400 and 320, the field of most encoders, n samples make (n - 400) // 320 + 1 frames.
    """
    field, hop = 1, 1
    for kernel, stride in convolutions:
        field, hop = field + (kernel - 1) * hop, hop * stride
    return field, hop


def windows(x: Tensor, kernel: int, stride: int) -> Tensor:
    """(N, T, C) -> (N, T', kernel C), a view: row t is the `kernel` frames from stride t on."""
    n, t, c = x.shape
    x = x.contiguous()
    shape = (n, (t - kernel) // stride + 1, kernel * c)
    return x.as_strided(shape, (x.stride(0), stride * c, 1), x.storage_offset())
