"""wav2vec2, HuBERT and WavLM over many clips at once, each clip as if it were alone.

The frames of all clips lie end to end, (sum of L, W). What works on one frame (linear maps,
LayerNorm, GELU) runs over all of them in one matrix product; what looks along time (the front
end, the positional convolution, attention) runs within each clip: on a CPU one clip after the
other, on a GPU side by side under a mask. No frame is made of padding, so a clip's frames do not
depend on what it is batched with.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from emoshare_utils.features.speech_layers import (
    Dense,
    FrontEnd,
    Here,
    Layer,
    NormFirstLayer,
    Positions,
    norm,
)

NORMALISE_EPSILON = 1e-7  # as the encoders' own feature extractor


def supports(model: nn.Module) -> bool:
    """Whether `SpeechEncoder` has every part that this Hugging Face model has."""
    config = model.config
    return (
        config.model_type in ("wav2vec2", "hubert", "wavlm")
        and config.feat_extract_activation == config.hidden_act == "gelu"
        and not getattr(config, "conv_pos_batch_norm", False)
        and not getattr(config, "add_adapter", False)
        and getattr(config, "adapter_attn_dim", None) is None
    )


class SpeechEncoder(nn.Module):
    """A frozen Hugging Face speech encoder, laid out for speed on one device in one precision.

    `forward` maps N clips, the samples (n_i,) of each, to the hidden states (sum of L_i, W), and
    the L_i, of layer 0 (what enters the transformer), layer 1, ... and the last, one after the
    other; a caller who needs a middle layer stops there. The last is the `last_hidden_state`:
    where LayerNorm comes first in every layer (HuBERT-large), the final LayerNorm belongs to it.

    Args:
        model: the Hugging Face model, on the device to compute on.
        normalise: give the samples of each clip zero mean and unit variance.
        dtype: float32 or bfloat16.
        side_by_side: how to look along time: one clip after the other (False: a CPU), or all
            clips at once, side by side under a mask (True: a GPU). None: what suits the device.
    """

    def __init__(
        self,
        model: nn.Module,
        normalise: bool,
        dtype: torch.dtype,
        side_by_side: bool | None = None,
    ) -> None:
        super().__init__()
        encoder, projection = model.encoder, model.feature_projection
        here = Here(model.device, dtype)
        self.normalise = normalise
        self.front_end = FrontEnd(model.feature_extractor, here)
        self.front_end.side_by_side = (
            model.device.type != "cpu" if side_by_side is None else side_by_side
        )
        self.feature_norm = norm(getattr(projection, "layer_norm", None), here)
        self.projection = Dense(projection.projection.weight, projection.projection.bias, here)
        self.positions = Positions(encoder.pos_conv_embed.conv, here)
        self.layer_norm = norm(encoder.layer_norm, here)
        self.norm_first: bool = model.config.do_stable_layer_norm
        layer = NormFirstLayer if self.norm_first else Layer
        self.layers = nn.ModuleList(layer(old, here) for old in encoder.layers)
        self.relative = getattr(encoder.layers[0].attention, "compute_bias", None)  # WavLM

    def forward(self, clips: Sequence[Tensor]) -> Iterator[tuple[Tensor, list[int]]]:
        if self.normalise:
            clips = [normalised(clip) for clip in clips]
        features, layout = self.front_end(clips)
        layout.relative = self.relative
        lengths = layout.lengths[: len(clips)]
        real = sum(lengths)
        x = self.projection(self.feature_norm(features))
        x = x + self.positions(x, layout)
        if not self.norm_first:
            x = self.layer_norm(x)
        for layer in self.layers:
            yield x[:real], lengths
            x = layer(x, layout)
        yield (self.layer_norm(x) if self.norm_first else x)[:real], lengths


def normalised(samples: Tensor) -> Tensor:
    """The samples (n,) of one clip with zero mean and unit variance."""
    samples = samples - samples.mean()
    return samples / (samples.var(correction=0) + NORMALISE_EPSILON).sqrt()
