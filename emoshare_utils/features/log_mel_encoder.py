"""Whisper's encoder and w2v-BERT: models that read log-mels, which their own extractor makes.

Whisper was trained on 30 s at a time, shorter clips filled up with silence. So is every clip here,
and the frames beyond its end are cut off: what is left is every frame that begins within the clip,
one each 20 ms, ceil(n / 320) of n samples. A clip of more than 30 s is read in windows of 30 s,
which know nothing of each other.

w2v-BERT reads two log-mels of 25 ms, one every 10 ms, per frame: floor((n - 560) / 320) + 1 frames.
The mean and variance over the clip are taken out of each band. In a batch, a mask keeps the padding
out of the frames.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from emoshare_utils.features.encoder import EncoderError
from emoshare_utils.features.speech_encoder import normalised
from emoshare_utils.models.padding import mask

READ_LOG_MELS = ("whisper", "wav2vec2-bert")  # model types
AT_A_TIME = 8  # clips that a GPU encodes together; a CPU takes one after the other


def load_whisper_encoder(source: str, **how: Any) -> Any:
    """Whisper's encoder as `from_pretrained` loads it; the decoder's weights are not read."""
    said = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # else each of them is listed
    try:
        names = {r"^(model\.)?encoder\.": ""}
        return WhisperEncoder.from_pretrained(source, key_mapping=names, **how)
    finally:
        transformers.logging.set_verbosity(said)


def geometry(extractor: Any) -> tuple[int, int]:
    """Samples that make the first frame, and from one frame to the next: (1, 320) or (560, 320)."""
    if hasattr(extractor, "hop_length"):  # Whisper: a convolution takes every second log-mel
        return 1, 2 * extractor.hop_length
    return 560, 320  # two windows of 400, 160 apart


def require_extractor(extractor: Any) -> None:
    """Raise EncoderError unless it makes log-mels of samples."""
    if "input_features" not in getattr(extractor, "model_input_names", ()):
        raise EncoderError(
            "it reads log-mels, so beside it a preprocessor_config.json must name the feature "
            f"extractor that makes them; found {type(extractor).__name__}"
        )


class LogMelEncoder(nn.Module):
    """As `SpeechEncoder`, for a model of `READ_LOG_MELS` and its feature extractor.

    Args:
        model: the Hugging Face model, on the device to compute on.
        extractor: its feature extractor.
        normalise: give the samples of each clip zero mean and unit variance first.
        dtype: float32 or bfloat16.
    """

    def __init__(
        self, model: nn.Module, extractor: Any, normalise: bool, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.model, self.extractor, self.normalise = model.to(dtype), extractor, normalise
        self.field, self.hop = geometry(extractor)
        self.at_a_time = 1 if model.device.type == "cpu" else AT_A_TIME

    def forward(self, clips: Sequence[Tensor]) -> Iterator[tuple[Tensor, list[int]]]:
        if self.normalise:
            clips = [normalised(clip) for clip in clips]
        longest = getattr(self.extractor, "n_samples", None)  # Whisper: 30 s
        windows = [window for clip in clips for window in clip.split(longest or len(clip))]
        starts = range(0, len(windows), self.at_a_time)
        states = [self._states(windows[start : start + self.at_a_time]) for start in starts]
        lengths = [self._n_frames(clip) for clip in clips]
        for layer in zip(*states):
            yield torch.cat(layer), lengths

    def _states(self, windows: Sequence[Tensor]) -> list[Tensor]:
        """Layer 0, 1, ... and the last: the frames of all windows, end to end."""
        inputs = self.extractor(
            [window.numpy() for window in windows],
            sampling_rate=self.extractor.sampling_rate,
            return_tensors="pt",
        ).to(self.model.device)
        inputs["input_features"] = inputs["input_features"].to(self.model.dtype)
        out = self.model(**inputs, output_hidden_states=True)
        lengths = torch.tensor([self._n_frames(window) for window in windows])
        real = mask(lengths, out.last_hidden_state.shape[1]).to(self.model.device)
        return [state[real] for state in (*out.hidden_states[:-1], out.last_hidden_state)]

    def _n_frames(self, samples: Tensor) -> int:
        return (len(samples) - self.field) // self.hop + 1
