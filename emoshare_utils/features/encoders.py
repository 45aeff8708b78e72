"""Encoders by name: the paper's four, any other from Hugging Face, or acoustic features."""

from collections.abc import Sequence

import numpy as np

from emoshare_utils.device import choose_device, one_thread
from emoshare_utils.features.acoustic import ACOUSTIC
from emoshare_utils.features.encoder import Encoder, EncoderError, brief, relative_error
from emoshare_utils.features.pretrained import (
    MINIS,
    PAPER_ENCODERS,
    HuggingFaceEncoder,
    UntrainedEncoder,
)
from emoshare_utils.names import POOLED, UNTRAINED, Registry, nearest, split_layer

# name -> class, or any function, called with (name, device, normalise, precision). Every other
# name is a Hugging Face id or a local folder.
ENCODERS = Registry(
    "encoder",
    {
        **ACOUSTIC,
        UNTRAINED: UntrainedEncoder,
        **dict.fromkeys([*MINIS, *PAPER_ENCODERS], HuggingFaceEncoder),
    },
)


def load_encoder(
    name: str, device: str = "auto", normalise: bool | None = None, precision: str = "float32"
) -> Encoder:
    """Load the encoder called `name`.

    Args:
        name: fbank, mfcc, spectrogram; egemaps, one frame per clip; wav2vec2-base,
            wav2vec2-large, hubert-base, hubert-large; hubert-mini, wav2vec2-mini, which come with
            this package, and untrained, the same network with random weights; any other in
            `ENCODERS`; or a Hugging Face id of, or local folder with, an encoder that reads
            samples. Its frames are the `last_hidden_state`. "@6" after the name asks for layer 6
            (0 is what enters the transformer, the last one is the `last_hidden_state`); "@pooled"
            for the mean over time of every layer, (layers + 1, W) for each clip.
        device: "auto", "cpu", "cuda", "cuda:N".
        normalise: zero mean and unit variance for each clip; None: as the paper's authors fed
            that encoder, or as its feature extractor says.
        precision: "float32", "bfloat16", or "auto": bfloat16 where the device multiplies it in
            hardware; it prints what it takes.

    Raises:
        EncoderError: it cannot be loaded, has no such layer, or makes other frames than it says;
            the message has the cause and what to do.
        ValueError: no such device or precision.
    """
    model_name, layer = split_layer(name)
    chosen, known = choose_device(device), model_name in ENCODERS
    factory = ENCODERS[model_name] if known else HuggingFaceEncoder
    try:
        encoder = factory(name, chosen, normalise, precision)
    except EncoderError as error:
        if known:
            raise
        raise EncoderError(
            f"{error}. If {model_name!r} is neither an id nor a folder: "
            f"{nearest(model_name, ENCODERS)}; a file with an encoder of your own belongs in "
            "EMOSHARE_EXTENSIONS"
        ) from error
    if layer is not None and encoder.n_layers is None:
        raise EncoderError(f"encoder {name!r}: {model_name} has no layers, so leave '@' out")
    if layer not in (None, POOLED) and layer > encoder.n_layers:
        raise EncoderError(f"encoder {name!r}: {model_name} has the layers 0 to {encoder.n_layers}")
    _try(encoder)
    encoder.request = {"name": name, "device": device, "normalise": normalise}
    encoder.request["precision"] = encoder.settings.get("precision", precision)  # not "auto"
    return encoder


def _try(encoder: Encoder) -> None:
    """Raise EncoderError unless two short clips get the frames and the width that it says.

    The longer clip has just enough samples for its third frame, the other one sample less, so a
    frame count from a wrong window or hop shows.
    """
    longer = encoder.shortest(3)
    lengths = [n for n in (longer - 1, longer) if encoder.n_frames(n)]
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, longer).astype(np.float32)
    said = [(encoder.n_frames(n), encoder.width) for n in lengths]
    try:
        with one_thread():  # two only wait for each other in clips so short
            found = encoder.encode([noise[:n] for n in lengths])
    except Exception as error:  # of torch, or of whoever wrote the encoder
        raise EncoderError(
            f"encoder {encoder.name!r} fails on clips of {lengths} samples: {brief(error)}"
        ) from error
    shapes = [frames.shape for frames in found]
    if shapes != said:
        raise EncoderError(
            f"encoder {encoder.name!r}: clips of {lengths} samples get frames of shape {shapes}, "
            f"but its n_frames and width say {said}. If it is an encoder of your own, correct "
            "these; if not, it cannot be used here"
        )
    if not all(np.isfinite(frames).all() for frames in found):
        raise EncoderError(
            f"encoder {encoder.name!r} makes NaN or infinite frames of noise: its weights are "
            "damaged, so get them again"
        )


def batch_error(encoder: Encoder, clips: Sequence[np.ndarray]) -> float:
    """The relative error of frames from a batch of `clips` against each clip encoded alone."""
    return relative_error(encoder.encode(clips), [encoder.frames(samples) for samples in clips])


def precision_error(encoder: Encoder, clips: Sequence[np.ndarray]) -> float:
    """The relative error of the encoder's frames against the same encoder in float32."""
    if encoder.settings.get("precision", "float32") == "float32":
        return 0.0
    exact = load_encoder(**encoder.request | {"precision": "float32"})
    return relative_error(encoder.encode(clips), exact.encode(clips))
