"""The small network of `hubert-mini`, `wav2vec2-mini` and `untrained`."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from emoshare_utils.corpora.audio import MIN_SAMPLES, SAMPLE_RATE

HOP = 320  # samples: 20 ms
BANDS = 60, 7600  # Hz; lowest and highest filter of the front end


@dataclass(frozen=True)
class Size:
    """The network that both objectives train; the defaults have 4.7 M parameters.

    Attributes:
        conv: channels of each convolution of the front end, the first a multiple of 4.
        kernels, strides: theirs; together 400 samples a frame, one every 320, as in the paper's
            encoders, whose seven convolutions take many hours of speech to become filters. Here
            one convolution spans a frame and starts as filters (`start_as_filters`).
        width: W, the size of a frame.
        layers: of the transformer, LayerNorm before each part, as in the large HuBERT.
        heads, feed_forward: of each layer.
        positions: frames that the positional convolution sees, in `groups`.

    Raises:
        ValueError: the convolutions make no frames of 400 samples every 320, or numbers do not
            divide as they should.
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
        samples, every = 1, 1
        for kernel, stride in zip(self.kernels, self.strides):
            samples, every = samples + (kernel - 1) * every, every * stride
        if (samples, every) != (MIN_SAMPLES, HOP) or not (
            len(self.conv) == len(self.kernels) == len(self.strides)
        ):
            raise ValueError(
                f"conv = {self.conv}, kernels = {self.kernels}, strides = {self.strides}: expected "
                f"as many of each, together {MIN_SAMPLES} samples a frame, one every {HOP}"
            )
        for name, value, by in (
            ("conv[0]", self.conv[0], 4),
            ("width", self.width, self.heads),
            ("width", self.width, self.groups),
        ):
            if value % by:
                raise ValueError(f"{name} = {value}: expected a multiple of {by}")

    def settings(self, dropout: float = 0.0) -> dict:
        """What a transformers configuration of this size says."""
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
    """Let the first convolution start as band-pass filters, from which it goes on to learn.

    One that does not span a frame's 400 samples is left as it is: it could not hear low bands.
    Each is a cosine under a Hann window as long as the kernel. Their frequencies lie evenly in
    mel from 60 to 7,600 Hz, each in four phases: half-waves (GELU) of all four add up to about
    the band's magnitude. A filter is the louder the higher it is, as speech is the softer, so
    that on a clip of unit variance all of them swing around 1.
    """
    first = encoder.feature_extractor.conv_layers[0].conv
    channels, _, kernel = first.weight.shape
    if kernel < MIN_SAMPLES:
        return encoder
    mel = torch.linspace(*(2595 * math.log10(1 + hz / 700) for hz in BANDS), channels // 4)
    frequency = 700 * (10 ** (mel / 2595) - 1)  # Hz
    seconds = (torch.arange(kernel) - (kernel - 1) / 2) / SAMPLE_RATE
    phase = torch.arange(4).repeat_interleave(channels // 4) * (math.pi / 2)
    wave = torch.cos(2 * math.pi * frequency.repeat(4)[:, None] * seconds + phase[:, None])
    gain = (1 + (frequency / 400) ** 1.5) / (0.14 * kernel)
    window = torch.hann_window(kernel, periodic=False)
    first.weight.copy_((gain.repeat(4)[:, None] * wave * window)[:, None])
    first.bias.uniform_(-0.5, 0.5)  # of many heights, so that loud and soft frames differ
    return encoder
