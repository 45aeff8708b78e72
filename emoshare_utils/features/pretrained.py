"""Encoders of wav2vec2, HuBERT and their kind, loaded from Hugging Face or a folder.

Whisper and w2v-BERT, which read log-mels: see `log_mel_encoder` for their frames.

Unless another layer or precision is asked for, frames are the `last_hidden_state`, in float32. An
n-sample clip has floor((n - 400) / 320) + 1 of them, the paper's 398 for its longest one (section
2.1); the two numbers follow from the convolutions in the model's configuration. A model made for
another sampling rate gets each clip resampled to it.
"""

import copy
import json
from collections.abc import Container, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from torchaudio.transforms import Resample
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    HubertConfig,
    HubertModel,
    PretrainedConfig,
)

from emoshare_utils.corpora import audio
from emoshare_utils.corpora.audio import SAMPLE_RATE
from emoshare_utils.device import choose_precision, one_thread
from emoshare_utils.features import hub
from emoshare_utils.features.encoder import CPU, Encoder, EncoderError, brief
from emoshare_utils.features.log_mel_encoder import (
    READ_LOG_MELS,
    LogMelEncoder,
    geometry,
    load_whisper_encoder,
    require_extractor,
)
from emoshare_utils.features.small_network import HOP, MiniConfig, start_as_filters
from emoshare_utils.features.speech_encoder import SpeechEncoder, normalised, supports
from emoshare_utils.features.speech_layers import receptive_field
from emoshare_utils.files import checksum
from emoshare_utils.names import ALL, POOLED, split_layer
from emoshare_utils.paths import home

VERSION = 2  # raise it when the frames of a clip change
TRAINING_ONLY = {"masked_spec_embed"}  # a weight that frames do not depend on
RATES = range(4_000, 192_001, 25)  # Hz; a filter from 16 kHz to any other takes gigabytes
READ_SAMPLES = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio")
READ_SAMPLES += ("wav2vec2-conformer", "sew", "sew-d")  # model types whose geometry is known here
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


MINIS = ("hubert-mini", "wav2vec2-mini")  # on equal terms, by notebook 07
FURTHER = "hubert-mini-3"  # the first of them, trained further: `pretraining.further`
MINI = Path(__file__).parents[1] / "pretraining" / "encoders"  # one folder each


class Loaded(NamedTuple):
    """A model, what tells its weights from others, and what it is fed: samples at `rate` Hz.

    `extractor` makes log-mels of these, where the model reads such.
    """

    model: nn.Module
    revision: str
    normalise: bool
    rate: int = SAMPLE_RATE
    extractor: Any = None


class HuggingFaceEncoder(Encoder):
    """A Hugging Face model that reads samples or log-mels; arguments as `load_encoder`.

    Raises:
        EncoderError: the model cannot be loaded, is another kind, or says no rate to resample to;
            "@pooled" or "@all" of layers of two widths or lengths.
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
        model_name, _ = split_layer(name)
        dtype = choose_precision(precision, device)
        model, revision, normalise, self.rate, self.extractor = self._load(model_name, normalise)
        self.config, self.n_layers = model.config, model.config.num_hidden_layers
        self.settings |= {
            "revision": revision,
            "normalise": normalise,
            "precision": str(dtype).removeprefix("torch."),
            "version": [VERSION, audio.VERSION],
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
        # absent where they are the paper's encoders', so that their stores keep their names
        if self.rate != SAMPLE_RATE:
            self.settings["rate"] = self.rate
        if self.extractor:
            self.settings["extractor"] = checksum(_without_names(self.extractor.to_dict()))
        self._choose_layer(name)
        self.resample = Resample(SAMPLE_RATE, self.rate)
        model = model.to(device).eval().requires_grad_(False)
        with one_thread():  # as the workers that use it: a CPU lays out weights for its threads
            if self.extractor:
                self.network = LogMelEncoder(model, self.extractor, normalise, dtype)
            else:
                network = SpeechEncoder if supports(model) else ClipByClip
                self.network = network(model, normalise, dtype)

    @property
    def one_pass(self) -> bool:
        """Not where a subclass makes other frames of the states, one layer at a time."""
        return type(self).encode is HuggingFaceEncoder.encode

    def at(self, name: str) -> "HuggingFaceEncoder":
        """The encoder of the layer that `name` asks for, with the weights of this one."""
        other = copy.copy(self)
        other._choose_layer(name)
        return other

    def _choose_layer(self, name: str) -> None:
        self.name, (_, self.layer) = name, split_layer(name)
        self._read_geometry(self.config)
        layer = "last_hidden_state" if self.layer is None else self.layer
        self.settings = self.settings | {"encoder": name, "layer": layer}
        for of_another in ("hop", "layers"):
            self.settings.pop(of_another, None)
        if self.layer == ALL:
            self.settings["layers"] = self.n_layers + 1
            self.width *= self.n_layers + 1
        if self.layer != POOLED and self.hop * SAMPLE_RATE != HOP * self.rate:
            self.settings["hop"] = self.hop * SAMPLE_RATE / self.rate

    def _read_geometry(self, config: PretrainedConfig) -> None:
        """Set `width`; and `field`, `hop` and `least` in samples at the encoder's own rate.

        An adapter follows the last layer and pads each of its convolutions by one frame on either
        side. SEW's layers run on the mean of a few frames each; its last one is spread out again.
        """
        if self.extractor:
            self.width, (self.field, self.hop) = config.hidden_size, geometry(self.extractor)
            self.least = self.field
            return
        front = [*zip(config.conv_kernel, config.conv_stride)]
        squeezed = [(getattr(config, "squeeze_factor", 1),) * 2]
        adapter, self.width = [], config.hidden_size
        last = self.layer in (None, self.n_layers)
        if getattr(config, "add_adapter", False):
            adapter = [(config.adapter_kernel_size - 2, config.adapter_stride)]
            adapter *= config.num_adapter_layers
            if last:
                self.width = config.output_hidden_size
            elif self.layer == POOLED and config.output_hidden_size != self.width:
                raise EncoderError(
                    f"encoder {self.name!r}: its layers are {self.width} wide and its adapter's "
                    f"frames {config.output_hidden_size}, so ask for one layer, as in '@1'"
                )
        if self.layer == ALL and (adapter or squeezed != [(1, 1)]):
            raise EncoderError(
                f"encoder {self.name!r}: its layers and its last one have other numbers of frames, "
                "so they cannot be weighted: ask for one layer, as in '@1'"
            )
        self.field, self.hop = receptive_field(front + (adapter if last else squeezed))
        every = front + squeezed + adapter  # each of them runs, whatever the layer asked for
        self.least = max(receptive_field(every[: i + 1])[0] for i in range(len(every)))

    def n_frames(self, n_samples: int) -> int:
        """floor((n - 400) / 320) + 1 for most models; "@pooled" has one frame per layer."""
        n_samples = self._at_its_rate(n_samples)
        if n_samples < self.least:
            return 0
        return 1 + (self.n_layers if self.layer == POOLED else (n_samples - self.field) // self.hop)

    def encode(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        (frames,) = self.encode_layers([self], clips)
        return frames

    @torch.inference_mode()
    def encode_layers(
        self, layers: Sequence["HuggingFaceEncoder"], clips: Sequence[np.ndarray]
    ) -> list[list[np.ndarray]]:
        """For each of `layers`, which `at` made, the frames of all clips: one pass, as deep as any.

        Raises:
            ValueError: a clip is too short for a frame, or a layer is of other weights.
        """
        self._refuse_short(clips)
        for each in layers:
            if getattr(each, "network", None) is not self.network:
                raise ValueError(
                    f"{each.name} and {self.name} do not share their weights: encode together only "
                    "what one list of load_encoders holds"
                )
        last = self.n_layers
        asked = [last if each.layer is None else each.layer for each in layers]
        deepest = last if {POOLED, ALL} & {*asked} else max(asked)
        states = self.network([self._resampled(torch.from_numpy(samples)) for samples in clips])
        found, means, every = {}, [], []
        for number, (state, lengths) in enumerate(islice(states, deepest + 1)):
            if number in asked:
                found[number] = [clip.numpy() for clip in state.float().cpu().split(lengths)]
            if POOLED in asked:
                means.append(torch.stack(_means(state, lengths)))
            if ALL in asked:
                every.append(state.float())
        if POOLED in asked:
            found[POOLED] = [clip.numpy() for clip in torch.stack(means, dim=1).cpu()]
        if ALL in asked:
            side_by_side = torch.cat(every, dim=1).cpu()
            found[ALL] = [clip.numpy() for clip in side_by_side.split(lengths)]
        return [found[layer] for layer in asked]

    def _refuse_short(self, clips: Sequence[np.ndarray]) -> None:
        for samples in clips:
            if not self.n_frames(len(samples)):
                raise ValueError(
                    f"{len(samples)} samples: at least {self.shortest()} are needed for a frame of "
                    f"{self.name}"
                )

    def _at_its_rate(self, n_samples: int) -> int:
        """How many samples at the encoder's rate `n_samples` at 16 kHz become, rounded up."""
        return -(-n_samples * self.rate // SAMPLE_RATE)

    def _resampled(self, samples: Tensor) -> Tensor:
        longer = F.pad(samples, (0, SAMPLE_RATE // 100))  # of long clips torchaudio drops samples
        return self.resample(longer)[: self._at_its_rate(len(samples))]

    def _load(self, model_name: str, normalise: bool | None) -> Loaded:
        beside = MINI if model_name in (*MINIS, FURTHER) else home()
        folder = beside / Path(model_name).expanduser()
        known = PAPER_ENCODERS.get(model_name)
        source = str(folder) if folder.is_dir() else known.id if known else model_name
        if normalise is None and known:
            normalise = known.normalise
        try:
            with hub.no_bar() if folder.is_dir() else nullcontext():
                where = {} if folder.is_dir() else hub.access(source)
                model, commit = _read(source, **where)
            normalise, rate, extractor = _fed(source, normalise, known is not None, **where)
            if reads_log_mels := model.config.model_type in READ_LOG_MELS:
                require_extractor(extractor)
        except EncoderError as error:
            raise EncoderError(f"encoder {model_name!r} ({source}): {error}") from error
        except Exception as error:  # of the network, the files, or what is in them
            get = (
                "" if folder.is_dir() else f" (`hf download {source} --local-dir FOLDER` gets them)"
            )
            raise EncoderError(
                f"encoder {model_name!r} ({source}) could not be loaded: {brief(error)}. Without a "
                "network, name a local folder that holds config.json, preprocessor_config.json "
                f"and model.safetensors{get}, as in encoder = '/models/hubert-large-ll60k'"
            ) from error
        extractor = extractor if reads_log_mels else None
        return Loaded(model, commit or _revision(model), normalise, rate, extractor)


class UntrainedEncoder(HuggingFaceEncoder):
    """The small encoders' network before its first update, the same at every load."""

    def _load(self, model_name: str, normalise: bool | None) -> Loaded:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = start_as_filters(HubertModel(HubertConfig(**MiniConfig().settings())))
        return Loaded(model, "seed 0", normalise is not False)


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


def _read(source: str, **where: bool) -> tuple[nn.Module, str | None]:
    """The model of a folder or id, in float32, and the commit of an id.

    Raises:
        EncoderError: it is another kind of model.
        ValueError: it lacks weights.
    """
    config = AutoConfig.from_pretrained(source, **where)
    if config.model_type not in READ_SAMPLES + READ_LOG_MELS:
        raise EncoderError(
            f"it is a {config.model_type} model, not an encoder that reads samples: expected one "
            f"of {', '.join(READ_SAMPLES + READ_LOG_MELS)}"
        )
    if config.model_type in READ_LOG_MELS and getattr(config, "add_adapter", False):
        raise EncoderError("its adapter is not supported here: take a model without (add_adapter)")
    if not getattr(config, "num_hidden_layers", 0):
        raise EncoderError("it has no layers: num_hidden_layers is 0")
    how = {"dtype": torch.float32, "output_loading_info": True, **where}
    if config.model_type == "whisper":
        model, loaded = load_whisper_encoder(source, **how)
    else:
        model, loaded = AutoModel.from_pretrained(source, **how)
    absent = sorted(set(loaded["missing_keys"]) - TRAINING_ONLY)
    if absent:  # transformers would give them random values
        raise ValueError(f"it lacks {len(absent)} of the model's weights, as {absent[0]}")
    return model, getattr(config, "_commit_hash", None)


def _fed(source: str, normalise: bool | None, known: bool, **where: bool) -> tuple[bool, int, Any]:
    """Whether to normalise samples, the rate in Hz that a model was made for, and its extractor.

    Its feature extractor says both; a file that leaves the rate out means 16,000 Hz, which is
    transformers' default. Where a folder has no such file, a user who gives `normalise` gets
    16,000 Hz and is told so; the paper's encoders, which are `known`, read 16,000 Hz.

    Raises:
        EncoderError: it says something else than true or false, or no rate.
    """
    files = [Path(source) / name for name in ("preprocessor_config.json", "processor_config.json")]
    here = Path(source).is_dir()
    if normalise is not None and (here or known) and not any(file.is_file() for file in files):
        if here:
            print(f"{source} has no preprocessor_config.json: taken to read 16,000 Hz", flush=True)
        return normalise, SAMPLE_RATE, None
    extractor = AutoFeatureExtractor.from_pretrained(source, **where)
    if normalise is None:
        normalise = _said(extractor, "do_normalize", (True, False, None), "true or false")
    rate = _said(extractor, "sampling_rate", RATES, "Hz, a multiple of 25 from 4,000 to 192,000")
    return bool(normalise), int(rate), extractor


def _said(extractor: object, key: str, known: Container, expected: str) -> Any:
    value = getattr(extractor, key, None)
    if value not in known:
        raise EncoderError(
            f"its preprocessor_config.json says {key} = {value!r:.80}: expected {expected}"
        )
    return value


def _revision(model: nn.Module) -> str:
    """What tells a local folder from others: the checksum of its configuration and weights."""
    weights = model.state_dict().items()
    return checksum(
        _without_names(model.config.to_dict()),
        *(tensor.numpy() for name, tensor in weights if name not in TRAINING_ONLY),
    )


def _without_names(settings: dict) -> bytes:
    """The settings of a model or extractor without those that change no number."""
    kept = {key: value for key, value in settings.items() if key not in ABOUT}
    return json.dumps(kept, sort_keys=True, default=str).encode()
