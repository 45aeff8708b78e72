"""Encoders by name: the paper's four, any other from Hugging Face, acoustic, or made elsewhere."""

from collections.abc import Iterator, Sequence

import numpy as np

from emoshare_utils.device import choose_device, one_thread
from emoshare_utils.features import hub
from emoshare_utils.features.acoustic import ACOUSTIC
from emoshare_utils.features.encoder import (
    Encoder,
    EncoderError,
    brief,
    encode_together,
    relative_error,
)
from emoshare_utils.features.own_frames import OwnFrames
from emoshare_utils.features.pretrained import (
    FURTHER,
    MINIS,
    PAPER_ENCODERS,
    HuggingFaceEncoder,
    UntrainedEncoder,
)
from emoshare_utils.names import ALL, FRAMES, POOLED, UNTRAINED, Registry, nearest, split_layer
from emoshare_utils.paths import resolve

# name -> class, or any function, called with (name, device, normalise, precision). Every other
# name is a Hugging Face id or a local folder.
ENCODERS = Registry(
    "encoder",
    {
        **ACOUSTIC,
        UNTRAINED: UntrainedEncoder,
        **dict.fromkeys([*MINIS, FURTHER, *PAPER_ENCODERS], HuggingFaceEncoder),
    },
)


def load_encoder(
    name: str, device: str = "auto", normalise: bool | None = None, precision: str = "float32"
) -> Encoder:
    """Load the encoder called `name`.

    Args:
        name: fbank, mfcc, spectrogram; egemaps, one frame per clip; wav2vec2-base, wav2vec2-large,
            hubert-base, hubert-large; hubert-mini, wav2vec2-mini, hubert-mini-3, which come with
            this package, and untrained, the same network with random weights; any other in
            `ENCODERS`; "frames:FOLDER", made elsewhere (`OwnFrames`); or a Hugging Face id of, or
            local folder with, an encoder that reads samples, or log-mels as Whisper and w2v-BERT
            do. Its frames are the `last_hidden_state`. "@6" after the name asks for layer 6 (0 is
            what enters the transformer, the last one is the `last_hidden_state`); "@pooled" for the
            mean over time of every layer, (layers + 1, W) for each clip; "@all" for the frames of
            every layer side by side, (L, (layers + 1) W), of which a network learns a mean.
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
    request = {"name": name, "device": device, "normalise": normalise, "precision": precision}
    return _ready(_made(**request), request)


def load_encoders(
    names: Sequence[str],
    device: str = "auto",
    normalise: bool | None = None,
    precision: str = "float32",
) -> Iterator[list[Encoder]]:
    """Load encoders, those that are layers of one model together; for `extract_layers`.

    Each list has the layers of one model, in the order of `names`, or one encoder. A model is
    loaded once, when its list is asked for. Arguments and errors as `load_encoder`.
    """
    about = device, normalise, precision
    models: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        models.setdefault(split_layer(name)[0], []).append(name)
    for name, *others in models.values():
        first = load_encoder(name, *about)
        if first.one_pass:
            asked = [first.request | {"name": other} for other in others]
            yield [first, *(_ready(first.at(request["name"]), request) for request in asked)]
        else:
            yield [first]
            yield from ([load_encoder(other, *about)] for other in others)


def _made(name: str, device: str, normalise: bool | None, precision: str) -> Encoder:
    model_name, _ = split_layer(name)
    chosen = choose_device(device)
    if model_name.startswith(FRAMES):
        return OwnFrames(name)
    if model_name in ENCODERS:
        return ENCODERS[model_name](name, chosen, normalise, precision)
    instead = (
        f"{nearest(model_name, ENCODERS)} (a file with an encoder of your own belongs in "
        "EMOSHARE_EXTENSIONS)"
    )
    is_folder = resolve(model_name).is_dir()
    if not is_folder and not hub.is_id(model_name):  # no network is asked for it
        raise EncoderError(
            f"encoder {model_name!r} is no encoder's name, no id of the hub such as 'org/model', "
            f"and no folder, as {resolve(model_name)} is not there: {instead}"
        )
    try:
        return HuggingFaceEncoder(name, chosen, normalise, precision)
    except EncoderError as error:
        if is_folder:
            raise
        raise EncoderError(f"{error}. If that is no id: {instead}") from error


def _ready(encoder: Encoder, request: dict) -> Encoder:
    """The encoder, once it has shown that it has the layer and makes the frames that it says."""
    name = request["name"]
    model_name, layer = split_layer(name)
    if layer is not None and encoder.n_layers is None:
        raise EncoderError(f"encoder {name!r}: {model_name} has no layers, so leave '@' out")
    if layer not in (None, POOLED, ALL) and layer > encoder.n_layers:
        raise EncoderError(f"encoder {name!r}: {model_name} has the layers 0 to {encoder.n_layers}")
    if encoder.reads_samples:
        _try(encoder)
    precision = encoder.settings.get("precision", request["precision"])  # not "auto"
    encoder.request = request | {"precision": precision}
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


def batch_errors(layers: Sequence[Encoder], clips: Sequence[np.ndarray]) -> list[float]:
    """For each of `layers`, of one model: the relative error of frames from a batch of `clips`.

    It is that against each clip encoded alone; 0 for frames made elsewhere, which are copied.
    """
    if not layers[0].reads_samples:
        return [0.0] * len(layers)
    alone = zip(*(encode_together(layers, [samples]) for samples in clips))
    exact = [[frames for (frames,) in layer] for layer in alone]
    return [*map(relative_error, encode_together(layers, clips), exact)]


def precision_errors(layers: Sequence[Encoder], clips: Sequence[np.ndarray]) -> list[float]:
    """For each of `layers`, of one model: the relative error against the same layer in float32."""
    first = layers[0]
    if first.settings.get("precision", "float32") == "float32":
        return [0.0] * len(layers)
    how = {"device": first.request["device"], "normalise": first.request["normalise"]}
    (exact,) = load_encoders([each.name for each in layers], **how, precision="float32")
    pairs = zip(encode_together(layers, clips), encode_together(exact, clips), strict=True)
    return [relative_error(frames, true) for frames, true in pairs]
