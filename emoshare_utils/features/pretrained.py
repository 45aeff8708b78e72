"""Encoders of wav2vec2, HuBERT and their kind, loaded from Hugging Face or a folder."""

import json
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

from emoshare_utils.corpora import audio
from emoshare_utils.features import acoustic
from emoshare_utils.features.encoder import EncoderError
from emoshare_utils.features.small_network import Size, start_as_filters
from emoshare_utils.features.speech_encoder import normalised
from emoshare_utils.names import POOLED, UNTRAINED
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
MINI = (
    Path(__file__).parents[1] / "pretraining" / "encoders"
)  # pretrained by notebook 07, one folder each
MINIS = ("hubert-mini", "wav2vec2-mini")


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
