"""Encoders of wav2vec2, HuBERT and their kind, loaded from Hugging Face or a folder.

Unless another layer or precision is asked for, frames are the `last_hidden_state`, in float32. An
n-sample clip has floor((n - 400) / 320) + 1 of them, the paper's 398 for its longest one (section
2.1); the two numbers are those of the convolutions in the model's configuration.
"""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, HubertConfig, HubertModel

from emoshare_utils.corpora import audio
from emoshare_utils.device import choose_precision, one_thread
from emoshare_utils.features.encoder import CPU, Encoder, EncoderError
from emoshare_utils.features.small_network import MiniConfig, start_as_filters
from emoshare_utils.features.speech_encoder import SpeechEncoder, normalised, supports
from emoshare_utils.features.speech_layers import receptive_field
from emoshare_utils.files import checksum
from emoshare_utils.names import POOLED, split_layer
from emoshare_utils.paths import home

VERSION = 2  # raise it when the frames of a clip change
TRAINING_ONLY = {"masked_spec_embed"}  # a weight that frames do not depend on
ABOUT = {"_name_or_path", "transformers_version", "architectures", "dtype"}  # nor these settings


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
MINIS = ("hubert-mini", "wav2vec2-mini")
MINI = Path(__file__).parents[1] / "pretraining" / "encoders"  # one folder each, by notebook 07


class HuggingFaceEncoder(Encoder):
    """A Hugging Face model that reads samples; arguments as `load_encoder`.

    Raises:
        EncoderError: the model cannot be loaded.
        ValueError: an unknown precision.
    """

    def __init__(
        self,
        name: str,
        device: torch.device = CPU,
        normalise: bool | None = None,
        precision: str = "float32",
    ) -> None:
        super().__init__(name, device)
        model_name, self.layer = split_layer(name)
        dtype = choose_precision(precision, device)
        model, normalise, revision = self._load(model_name, normalise)
        config = model.config
        self.n_layers, self.width = config.num_hidden_layers, config.hidden_size
        convolutions = [*zip(config.conv_kernel, config.conv_stride)]
        if self.layer in (None, self.n_layers) and getattr(config, "add_adapter", False):
            self.width = config.output_hidden_size
            convolutions += [(1, config.adapter_stride)] * config.num_adapter_layers  # padded by 1
        self.field, self.hop = receptive_field(convolutions)
        self.settings |= {
            "revision": revision,
            "layer": "last_hidden_state" if self.layer is None else self.layer,
            "normalise": normalise,
            "precision": str(dtype).removeprefix("torch."),
            "version": [VERSION, audio.VERSION],
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
        model = model.to(device).eval().requires_grad_(False)
        with one_thread():  # as the workers that use it: a CPU lays out weights for its threads
            network = SpeechEncoder if supports(model) else ClipByClip
            self.network = network(model, normalise, dtype)

    def n_frames(self, n_samples: int) -> int:
        """floor((n - 400) / 320) + 1 for most models; "@pooled" has one frame per layer."""
        pooled = self.layer == POOLED
        return 1 + (self.n_layers if pooled else (n_samples - self.field) // self.hop)

    @torch.inference_mode()
    def encode(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        for samples in clips:
            if len(samples) < self.field:
                raise ValueError(f"{len(samples)} samples: at least {self.field} are needed")
        states = self.network([torch.from_numpy(samples) for samples in clips])
        if self.layer == POOLED:
            means = [torch.stack(_means(*state)) for state in states]
            return [clip.numpy() for clip in torch.stack(means, dim=1).cpu()]
        last = self.layer is None
        state, lengths = deque(states, 1).pop() if last else next(islice(states, self.layer, None))
        return [clip.numpy() for clip in state.float().cpu().split(lengths)]

    def _load(self, model_name: str, normalise: bool | None) -> tuple[nn.Module, bool, str]:
        """The model, whether to normalise, and what tells these weights from others."""
        folder = (MINI if model_name in MINIS else home()) / Path(model_name).expanduser()
        known = PAPER_ENCODERS.get(model_name)
        source = str(folder) if folder.is_dir() else known.id if known else model_name
        try:
            with _no_bar() if folder.is_dir() else nullcontext():
                model, commit = _read(source)
            if normalise is None and known:
                normalise = known.normalise
            elif normalise is None:
                normalise = bool(AutoFeatureExtractor.from_pretrained(source).do_normalize)
        except Exception as error:  # of the network, the files, or what is in them
            cause = " ".join(str(error).split())[:300].rstrip(".")
            raise EncoderError(
                f"encoder {model_name!r} ({source}) could not be loaded: {cause}. Without a "
                "network, name a local folder that holds config.json, preprocessor_config.json "
                "and model.safetensors, as in encoder = '/models/hubert-large-ll60k'"
            ) from error
        return model, normalise, commit or _revision(model)


class UntrainedEncoder(HuggingFaceEncoder):
    """The small encoders' network before its first update, the same at every load."""

    def _load(self, model_name: str, normalise: bool | None) -> tuple[nn.Module, bool, str]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = start_as_filters(HubertModel(HubertConfig(**MiniConfig().settings())))
        return model, normalise is not False, "seed 0"


class ClipByClip(nn.Module):
    """A model that `SpeechEncoder` does not know, run by its own code on one clip at a time."""

    def __init__(self, model: nn.Module, normalise: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model.to(dtype)
        self.normalise = normalise

    def forward(self, clips: Sequence[Tensor]) -> Iterator[tuple[Tensor, list[int]]]:
        for layer in zip(*(self._states(clip) for clip in clips)):
            yield torch.cat(layer), [len(state) for state in layer]

    def _states(self, samples: Tensor) -> list[Tensor]:
        if self.normalise:
            samples = normalised(samples)
        samples = samples[None].to(self.model.device, self.model.dtype)
        out = self.model(samples, output_hidden_states=True)
        return [*(state[0] for state in out.hidden_states[:-1]), out.last_hidden_state[0]]


def _means(state: Tensor, lengths: list[int]) -> list[Tensor]:
    return [clip.float().mean(0) for clip in state.split(lengths)]


def _read(source: str) -> tuple[nn.Module, str | None]:
    """The model of a folder or id, in float32, and the commit of an id.

    Raises:
        ValueError: it is another kind of model, or lacks weights.
    """
    config = AutoConfig.from_pretrained(source)
    if not hasattr(config, "conv_stride"):
        raise ValueError(
            f"it is a {config.model_type} model, which does not read samples: wav2vec2, HuBERT, "
            "WavLM and their like do"
        )
    model, loaded = AutoModel.from_pretrained(source, dtype=torch.float32, output_loading_info=True)
    absent = sorted(set(loaded["missing_keys"]) - TRAINING_ONLY)
    if absent:  # transformers would give them random values
        raise ValueError(f"it lacks {len(absent)} of the model's weights, as {absent[0]}")
    return model, getattr(config, "_commit_hash", None)


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


def _revision(model: nn.Module) -> str:
    """What tells a local folder from others: the checksum of its configuration and weights."""
    config = {key: value for key, value in model.config.to_dict().items() if key not in ABOUT}
    weights = model.state_dict().items()
    return checksum(
        json.dumps(config, sort_keys=True, default=str).encode(),
        *(tensor.numpy() for name, tensor in weights if name not in TRAINING_ONLY),
    )
