"""Samples -> (L, W) frames: the paper's four encoders, any other from Hugging Face, or acoustics.

Unless another layer or precision is asked for, frames are the `last_hidden_state`, in float32. An
n-sample clip has floor((n - 400) / 320) + 1 of them, the paper's 398 for its longest one (section
2.1).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import transformers

from emoshare_utils.corpora import audio
from emoshare_utils.device import choose_device, choose_precision, one_thread
from emoshare_utils.features import acoustic
from emoshare_utils.features.encoder import Encoder, EncoderError, relative_error
from emoshare_utils.features.pretrained import VERSION, ClipByClip, _encode, _load_model
from emoshare_utils.features.small_network import HOP
from emoshare_utils.features.speech_encoder import SpeechEncoder, supports
from emoshare_utils.names import POOLED, split_layer


def load_encoder(
    name: str, device: str = "auto", normalise: bool | None = None, precision: str = "float32"
) -> Encoder:
    """The encoder called `name`.

    Args:
        name: fbank, mfcc, spectrogram; egemaps, one frame a clip; wav2vec2-base, wav2vec2-large,
            hubert-base, hubert-large; hubert-mini, wav2vec2-mini, which come with this package,
            and untrained, the same network by chance; or any Hugging Face id of, or local
            folder with, an encoder that reads samples. "@6" behind it asks for
            layer 6 (0 is what enters the transformer, the last number is the
            `last_hidden_state`); "@pooled" for the mean over time of every layer,
            (layers + 1, W) for each clip.
        device: "auto", "cpu", "cuda", "cuda:N".
        normalise: zero mean and unit variance for each clip; None: as the paper's authors fed
            that encoder, or as its feature extractor says.
        precision: "float32", "bfloat16", or "auto": bfloat16 where the device multiplies it in
            hardware; it says what it took.

    Raises:
        EncoderError: it cannot be loaded or has no such layer; the message has the cause and
            what to do.
        ValueError: no such device or precision.
    """
    chosen = choose_device(device)
    model_name, layer = split_layer(name)
    request = {"name": name, "device": device, "normalise": normalise, "precision": precision}
    if model_name in acoustic.ACOUSTIC:
        if layer is not None:
            raise EncoderError(f"encoder {name!r}: {model_name} has no layers, so leave '@' out")
        return _acoustic(name, chosen, request)
    dtype = choose_precision(precision, chosen)
    model, normalise, revision = _load_model(model_name, normalise)
    n_layers = model.config.num_hidden_layers
    if layer not in (None, POOLED) and layer > n_layers:
        raise EncoderError(f"encoder {name!r}: {model_name} has the layers 0 to {n_layers}")
    model = model.to(chosen).eval().requires_grad_(False)
    with one_thread():  # as the workers that use it: a CPU lays out weights for its threads
        network = (SpeechEncoder if supports(model) else ClipByClip)(model, normalise, dtype)
    settings = {
        "encoder": name,
        "revision": revision,
        "layer": "last_hidden_state" if layer is None else layer,
        "normalise": normalise,
        "precision": str(dtype).removeprefix("torch."),
        "version": [VERSION, audio.VERSION],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    request["precision"] = settings["precision"]
    encode = _encode(network, layer)
    return Encoder(name, model.config.hidden_size, settings, chosen, request, encode)


def batch_error(encoder: Encoder, clips: Sequence[np.ndarray]) -> float:
    """The relative error of frames from a batch of `clips` against each clip encoded alone."""
    return relative_error(encoder.encode(clips), [encoder.frames(samples) for samples in clips])


def precision_error(encoder: Encoder, clips: Sequence[np.ndarray]) -> float:
    """The relative error of the encoder's frames against the same encoder in float32."""
    if encoder.settings.get("precision", "float32") == "float32":
        return 0.0
    exact = load_encoder(**encoder.request | {"precision": "float32"})
    return relative_error(encoder.encode(clips), exact.encode(clips))


def n_frames(name: str, n_samples: int) -> int:
    """Frames of an n-sample clip: one every 10 ms for acoustic features, one for eGeMAPS, else
    one every 20 ms."""
    if name in acoustic.ONE_FRAME:
        return 1
    if name in acoustic.ACOUSTIC:
        return n_samples // acoustic.HOP + 1
    return (n_samples - audio.MIN_SAMPLES) // HOP + 1


def paper_frames(name: str) -> int:
    """The paper's maximum sequence length: 797 frames for acoustic features, else 398."""
    return 797 if name in acoustic.ACOUSTIC else 398


def max_frames(padding: str | int, name: str) -> int | None:
    """What to zero-pad to: "batch" (None), "paper" (398 or 797), or a number of frames."""
    if padding == "batch":
        return None
    if padding == "paper":
        return paper_frames(name)
    if isinstance(padding, int) and padding > 0:
        return padding
    raise ValueError(f"padding = {padding!r}: expected 'batch', 'paper' or a number of frames")


def _acoustic(name: str, device: torch.device, request: dict) -> Encoder:
    try:
        network = acoustic.ACOUSTIC[name]().eval().to(device)
    except ImportError as error:
        raise EncoderError(f"encoder {name!r}: {error}") from error
    settings = {
        "encoder": name,
        **network.settings,
        "version": [acoustic.VERSION, audio.VERSION],
        "torch": torch.__version__,
    }

    @torch.inference_mode()
    def encode(clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [network(torch.from_numpy(samples).to(device)).cpu().numpy() for samples in clips]

    return Encoder(name, network.width, settings, device, request, encode)
