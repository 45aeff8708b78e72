"""The small network of `hubert-mini`, `wav2vec2-mini` and `untrained`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from emoshare_utils.corpora.audio import MIN_SAMPLES, SAMPLE_RATE
from emoshare_utils.features.speech_layers import receptive_field
from emoshare_utils.names import settings_of

HOP = 320  # samples: 20 ms
FILTERS_HZ = 60, 7600  # the lowest and the highest filter that the front end starts with


@dataclass(frozen=True)
class MiniConfig:
    """The sizes of the network that both objectives train; the defaults have 4.7 M parameters.

    Attributes:
        conv: channels of each convolution of the front end, the first a multiple of 4.
        kernels, strides: theirs; together a frame spans 400 samples, one every 320, as in the
            paper's encoders, whose seven convolutions take many hours of speech to become filters.
            Here one convolution spans a frame and starts as filters (`start_as_filters`).
        width: W, the size of a frame.
        layers: of the transformer, LayerNorm before each part, as in the large HuBERT.
        heads, feed_forward: of each layer.
        positions: frames under the kernel of the positional convolution, which has `groups`.

    Raises:
        ValueError: the convolutions do not make frames of 400 samples every 320, or a number is
            not the multiple that it must be.
    """

    conv: tuple[int, ...] = (512, 256)
    kernels: tuple[int, ...] = (400, 1)
    strides: tuple[int, ...] = (320, 1)
    width: int = 448
    layers: int = 3
    heads: int = 7
    feed_forward: int = 512
    positions: int = 64
    groups: int = 32

    def __post_init__(self) -> None:
        same = len(self.conv) == len(self.kernels) == len(self.strides)
        if not same or receptive_field(zip(self.kernels, self.strides)) != (MIN_SAMPLES, HOP):
            raise ValueError(
                f"conv = {self.conv}, kernels = {self.kernels}, strides = {self.strides}: expected "
                f"as many of each, together {MIN_SAMPLES} samples per frame, one every {HOP}"
            )
        for name, value, by in (
            ("conv[0]", self.conv[0], 4),
            ("width", self.width, self.heads),
            ("width", self.width, self.groups),
        ):
            if value % by:
                raise ValueError(f"{name} = {value}: expected a multiple of {by}")

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> Self:
        """The defaults, changed as `given` says; ValueError for an entry that does not fit."""
        return settings_of(cls, given)

    def settings(self, dropout: float = 0.0) -> dict:
        """The arguments of a transformers configuration of these sizes."""
        return {
            "conv_dim": tuple(self.conv),
            "conv_kernel": tuple(self.kernels),
            "conv_stride": tuple(self.strides),
            "num_feat_extract_layers": len(self.conv),
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.feed_forward,
            "num_conv_pos_embeddings": self.positions,
            "num_conv_pos_embedding_groups": self.groups,
            "feat_extract_norm": "layer",
            "conv_bias": True,
            "do_stable_layer_norm": True,
            "hidden_dropout": dropout,
            "feat_proj_dropout": dropout,
            "attention_dropout": 0.0,
            "activation_dropout": 0.0,
            "layerdrop": 0.0,
        }


@torch.no_grad()
def start_as_filters(encoder: nn.Module) -> nn.Module:
    """Initialise the first convolution as band-pass filters, which training then changes.

    Each filter is a cosine under a Hann window as long as the kernel. Their frequencies lie evenly
    in mel from 60 to 7,600 Hz, each in four phases: half-waves (GELU) of all four add up to about
    the band's magnitude. Speech is softer at higher frequencies, so the gain rises with them: on a
    clip of unit variance the output of every filter is of the order of 1. A convolution whose
    kernel does not span a frame's 400 samples is left as it is: it cannot resolve the low bands.
    """
    first = encoder.feature_extractor.conv_layers[0].conv
    channels, _, kernel = first.weight.shape
    if kernel < MIN_SAMPLES:
        return encoder
    mel = torch.linspace(*(2595 * math.log10(1 + hz / 700) for hz in FILTERS_HZ), channels // 4)
    frequency = 700 * (10 ** (mel / 2595) - 1)  # Hz
    seconds = (torch.arange(kernel) - (kernel - 1) / 2) / SAMPLE_RATE
    phase = torch.arange(4).repeat_interleave(channels // 4) * (math.pi / 2)
    wave = torch.cos(2 * math.pi * frequency.repeat(4)[:, None] * seconds + phase[:, None])
    gain = (1 + (frequency / 400) ** 1.5) / (0.14 * kernel)
    window = torch.hann_window(kernel, periodic=False)
    first.weight.copy_((gain.repeat(4)[:, None] * wave * window)[:, None])
    first.bias.uniform_(-0.5, 0.5)  # many thresholds, so that loud and soft frames differ
    return encoder
