"""Samples -> (L, W) frames: the paper's four encoders, any other from Hugging Face, or acoustics.

Unless another layer or precision is asked for, frames are the `last_hidden_state`, in float32. An
n-sample clip has floor((n - 400) / 320) + 1 of them, the paper's 398 for its longest one (section
2.1).
"""

import json
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, HubertConfig, HubertModel

from emoshare_utils import acoustic, audio
from emoshare_utils.device import choose_device, choose_precision, one_thread
from emoshare_utils.objectives import HOP, Size, start_as_filters
from emoshare_utils.paths import home
from emoshare_utils.speech_encoder import SpeechEncoder, normalised, supports

VERSION = 2  # raise it when the frames of a clip change
TRAINING_ONLY = {"masked_spec_embed"}  # a weight that frames do not depend on
ABOUT = {"_name_or_path", "transformers_version", "architectures", "dtype"}  # nor these settings
POOLED = "pooled"


class EncoderError(RuntimeError):
    """An encoder that cannot be loaded, is none for speech, or has no such layer."""


@dataclass(frozen=True)
class Pretrained:
    """An encoder of the paper: its id, and whether the authors fed it normalised samples."""

    id: str
    normalise: bool


PAPER_ENCODERS = {
    "wav2vec2-base": Pretrained("facebook/wav2vec2-base", normalise=False),
    "wav2vec2-large": Pretrained("facebook/wav2vec2-large", normalise=False),
    "hubert-base": Pretrained("facebook/hubert-base-ls960", normalise=False),
    "hubert-large": Pretrained("facebook/hubert-large-ll60k", normalise=True),
}

MINI = Path(__file__).parent / "mini"  # pretrained by notebook 07, one folder each
MINIS = ("hubert-mini", "wav2vec2-mini")
UNTRAINED = "untrained"  # the network of both before its first update


@dataclass(frozen=True)
class Encoder:
    """What turns samples into frames.

    Attributes:
        name: as the user gave it, such as "fbank", "hubert-large", "hubert-large@6" or "org/model".
        width: W, the size of a frame.
        settings: everything that changes the numbers; names the feature store.
        device: where it computes.
        request: the arguments of `load_encoder` that make it anew in another process.
        encode: the samples of N clips, each (n_i,) float32 at 16 kHz -> their frames, each
            (L_i, W) float32. A clip's frames do not depend on the others.
    """

    name: str
    width: int
    settings: dict
    device: torch.device
    request: dict
    encode: Callable[[Sequence[np.ndarray]], list[np.ndarray]]

    def frames(self, samples: np.ndarray) -> np.ndarray:
        """The frames (L, W) of one clip, samples (n,) float32 at 16 kHz."""
        (frames,) = self.encode([samples])
        return frames


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


def split_layer(name: str) -> tuple[str, int | str | None]:
    """ "hubert-base@6" -> ("hubert-base", 6); the layer is a number, "pooled" or None."""
    asked = re.fullmatch(rf"(.+)@(\d+|{POOLED})", name)
    if not asked:
        return name, None
    model, layer = asked.groups()
    return model, layer if layer == POOLED else int(layer)


def batch_error(encoder: Encoder, clips: Sequence[np.ndarray]) -> float:
    """The relative error of frames from a batch of `clips` against each clip encoded alone."""
    return relative_error(encoder.encode(clips), [encoder.frames(samples) for samples in clips])


def precision_error(encoder: Encoder, clips: Sequence[np.ndarray]) -> float:
    """The relative error of the encoder's frames against the same encoder in float32."""
    if encoder.settings.get("precision", "float32") == "float32":
        return 0.0
    exact = load_encoder(**encoder.request | {"precision": "float32"})
    return relative_error(encoder.encode(clips), exact.encode(clips))


def relative_error(frames: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    """Root of the summed squared differences over all clips, over that of the exact frames."""
    difference = sum(np.square(ours - true).sum() for ours, true in zip(frames, exact, strict=True))
    return float(np.sqrt(difference / sum(np.square(true).sum() for true in exact)))


class ClipByClip(nn.Module):
    """A model that `SpeechEncoder` does not know, run by its own code on one clip at a time."""

    def __init__(self, model: nn.Module, normalise: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model.to(dtype)
        self.normalise = normalise

    def forward(self, clips: Sequence[Tensor]) -> Iterator[tuple[Tensor, list[int]]]:
        states = [self._states(clip) for clip in clips]
        lengths = [len(clip[-1]) for clip in states]
        for layer in zip(*states):
            yield torch.cat(layer), lengths

    def _states(self, samples: Tensor) -> list[Tensor]:
        if self.normalise:
            samples = normalised(samples)
        samples = samples[None].to(self.model.device, self.model.dtype)
        out = self.model(samples, output_hidden_states=True)
        return [*(state[0] for state in out.hidden_states[:-1]), out.last_hidden_state[0]]


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


def _encode(
    network: nn.Module, layer: int | str | None
) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    @torch.inference_mode()
    def encode(clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        for samples in clips:
            if len(samples) < audio.MIN_SAMPLES:
                raise ValueError(f"{len(samples)} samples: at least {audio.MIN_SAMPLES} are needed")
        states = network([torch.from_numpy(samples) for samples in clips])
        if layer == POOLED:
            means = [torch.stack(_means(*state)) for state in states]
            return [clip.numpy() for clip in torch.stack(means, dim=1).cpu()]
        last = layer is None
        state, lengths = deque(states, 1).pop() if last else next(islice(states, layer, None))
        return [clip.numpy() for clip in state.float().cpu().split(lengths)]

    return encode


def _means(state: Tensor, lengths: list[int]) -> list[Tensor]:
    return [clip.float().mean(0) for clip in state.split(lengths)]


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


def _load_model(name: str, normalise: bool | None) -> tuple[nn.Module, bool, str]:
    """The model, whether to normalise, and what tells these weights from others."""
    if name == UNTRAINED:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = start_as_filters(HubertModel(HubertConfig(**Size().settings())))
        return model, normalise is not False, "seed 0"

    folder = MINI / name if name in MINIS else home() / Path(name).expanduser()
    known = PAPER_ENCODERS.get(name)
    source = str(folder) if folder.is_dir() else known.id if known else name
    try:
        config = AutoConfig.from_pretrained(source)
        if not hasattr(config, "conv_stride"):
            raise ValueError(
                f"it is a {config.model_type} model, which does not read samples: wav2vec2, "
                "HuBERT, WavLM and their like do"
            )
        with _no_bar() if folder.is_dir() else nullcontext():
            model, loaded = AutoModel.from_pretrained(
                source, dtype=torch.float32, output_loading_info=True
            )
        absent = sorted(set(loaded["missing_keys"]) - TRAINING_ONLY)
        if absent:  # transformers would fill them by chance
            raise ValueError(f"it lacks {len(absent)} of the model's weights, as {absent[0]}")
        if normalise is None:
            normalise = (
                known.normalise
                if known
                else bool(AutoFeatureExtractor.from_pretrained(source).do_normalize)
            )
    except Exception as error:  # of the network, the files, or what is in them
        cause = " ".join(str(error).split())[:300].rstrip(".")
        names = ", ".join([*acoustic.ACOUSTIC, *PAPER_ENCODERS, *MINIS, UNTRAINED])
        raise EncoderError(
            f"encoder {name!r} ({source}) could not be loaded: {cause}. Without a network, name "
            "a local folder that holds config.json, preprocessor_config.json and "
            "model.safetensors, as in encoder = '/models/hubert-large-ll60k'. Names that are no "
            f"id or folder: {names}"
        ) from error
    revision = getattr(config, "_commit_hash", None) or _checksum(model)
    return model, normalise, revision


@contextmanager
def _no_bar() -> Iterator[None]:
    """Without transformers' progress bar, which a folder on disk is too quick for."""
    shown = transformers.logging.is_progress_bar_enabled()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.logging.enable_progress_bar()


def _checksum(model: nn.Module) -> str:
    """What tells a local folder from others: CRC-32 of its configuration and all its weights."""
    config = {key: value for key, value in model.config.to_dict().items() if key not in ABOUT}
    checksum = zlib.crc32(json.dumps(config, sort_keys=True, default=str).encode())
    for name, tensor in model.state_dict().items():
        if name not in TRAINING_ONLY:
            checksum = zlib.crc32(tensor.numpy().tobytes(), checksum)
    return f"{checksum:08x}"
