"""Samples -> (L, W) frames: the paper's four encoders, any other from Hugging Face, or acoustics.

One clip at a time, float32, `last_hidden_state`. An n-sample clip has floor((n - 400) / 320) + 1
frames, the paper's 398 for its longest one (section 2.1).
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from emoshare_utils import acoustic, audio
from emoshare_utils.device import choose_device
from emoshare_utils.paths import home

VERSION = 1  # raise it when the frames of a clip change
HOP = 320  # samples: 20 ms
TRAINING_ONLY = {"masked_spec_embed"}  # a weight that frames do not depend on
NORMALISE_EPSILON = 1e-7  # as the encoders' own feature extractor


class EncoderError(RuntimeError):
    """An encoder that cannot be loaded or is none for speech."""


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

_SMALL = {
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 768,
    "conv_dim": (64,) * 7,
    "num_conv_pos_embeddings": 64,
    "num_conv_pos_embedding_groups": 16,
}
UNTRAINED = {  # two front ends of the paper's models at about 2 M parameters, weights by chance
    "untrained-wav2vec2": (
        transformers.Wav2Vec2Config(**_SMALL, feat_extract_norm="group"),
        False,
    ),
    "untrained-hubert": (
        transformers.HubertConfig(
            **_SMALL, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True
        ),
        True,
    ),
}


@dataclass(frozen=True)
class Encoder:
    """What turns the samples of one clip into frames.

    Attributes:
        name: as the user gave it, such as "fbank", "hubert-large" or "org/model".
        width: W, the size of a frame.
        settings: everything that changes the numbers; names the feature store.
        frames: samples (n,) float32 at 16 kHz -> frames (L, W) float32.
    """

    name: str
    width: int
    settings: dict
    frames: Callable[[np.ndarray], np.ndarray]


def load_encoder(name: str, device: str = "auto", normalise: bool | None = None) -> Encoder:
    """The encoder called `name`.

    Args:
        name: fbank, mfcc, spectrogram; wav2vec2-base, wav2vec2-large, hubert-base,
            hubert-large; untrained-wav2vec2, untrained-hubert; or any Hugging Face id of, or
            local folder with, an encoder that reads samples.
        device: "auto", "cpu", "cuda", "cuda:N".
        normalise: zero mean and unit variance for each clip; None: as the paper's authors fed
            that encoder, or as its feature extractor says.

    Raises:
        EncoderError: it cannot be loaded; the message has the cause and what to do.
        ValueError: no such device.
    """
    chosen = choose_device(device)
    if name in acoustic.ACOUSTIC:
        return _acoustic(name)
    model, normalise, revision = _load_model(name, normalise)
    network = SpeechEncoder(model, normalise).to(chosen).eval()
    settings = {
        "encoder": name,
        "revision": revision,
        "layer": "last_hidden_state",
        "normalise": normalise,
        "precision": "float32",
        "version": [VERSION, audio.VERSION],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    return Encoder(name, model.config.hidden_size, settings, _run(network))


class SpeechEncoder(nn.Module):
    """A frozen wav2vec2 / HuBERT: `forward` maps the samples (n,) of one clip to frames (L, W)."""

    def __init__(self, model: nn.Module, normalise: bool) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        self.normalise = normalise

    def forward(self, samples: Tensor) -> Tensor:
        if self.normalise:
            samples = samples - samples.mean()
            samples = samples / (samples.var(correction=0) + NORMALISE_EPSILON).sqrt()
        return self.model(samples[None]).last_hidden_state[0]


def n_frames(name: str, n_samples: int) -> int:
    """Frames of an n-sample clip: centred 10 ms hops for acoustic features, else 20 ms hops."""
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


def _run(network: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    buffers = [*network.parameters(), *network.buffers()]
    device = buffers[0].device

    @torch.inference_mode()
    def frames(samples: np.ndarray) -> np.ndarray:
        return network(torch.from_numpy(samples).to(device)).float().cpu().numpy()

    return frames


def _acoustic(name: str) -> Encoder:
    network = acoustic.ACOUSTIC[name]().eval()
    settings = {
        "encoder": name,
        "window": acoustic.WINDOW,
        "hop": acoustic.HOP,
        "fft": acoustic.FFT,
        "bands": acoustic.BANDS,
        "range_hz": [acoustic.F_MIN, acoustic.F_MAX],
        "version": [acoustic.VERSION, audio.VERSION],
        "torch": torch.__version__,
    }
    return Encoder(name, network.width, settings, _run(network))


def _load_model(name: str, normalise: bool | None) -> tuple[nn.Module, bool, str]:
    """The model, whether to normalise, and what tells these weights from others."""
    if name in UNTRAINED:
        config, default = UNTRAINED[name]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = AutoModel.from_config(config)
        return model, default if normalise is None else normalise, "seed 0"

    local = (home() / Path(name).expanduser()).is_dir()
    known = PAPER_ENCODERS.get(name)
    source = str(home() / Path(name).expanduser()) if local else known.id if known else name
    try:
        config = AutoConfig.from_pretrained(source)
        if not hasattr(config, "conv_stride"):
            raise ValueError(
                f"it is a {config.model_type} model, which does not read samples: wav2vec2, "
                "HuBERT, WavLM and their like do"
            )
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
        names = ", ".join([*acoustic.ACOUSTIC, *PAPER_ENCODERS, *UNTRAINED])
        raise EncoderError(
            f"encoder {name!r} ({source}) could not be loaded: {cause}. Without a network, name "
            "a local folder that holds config.json, preprocessor_config.json and "
            "model.safetensors, as in encoder = '/models/hubert-large-ll60k'. Names that are no "
            f"id or folder: {names}"
        ) from error
    revision = getattr(config, "_commit_hash", None) or _checksum(model)
    return model, normalise, revision


def _checksum(model: nn.Module) -> str:
    """What tells the weights of a local folder from others: CRC-32 of them all."""
    checksum = 0
    for name, tensor in model.state_dict().items():
        if name not in TRAINING_ONLY:
            checksum = zlib.crc32(tensor.numpy().tobytes(), checksum)
    return f"{checksum:08x}"
