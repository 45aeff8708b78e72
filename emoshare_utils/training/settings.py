"""How a network is trained, and what decides its numbers."""

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.device import choose_device, choose_precision
from emoshare_utils.features.metadata import WithMetadata, digest, metadata
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.files import checksum
from emoshare_utils.models.regressor import REGRESSORS, Sizes
from emoshare_utils.names import ARCHITECTURES, settings_of
from emoshare_utils.results.metrics import METRICS
from emoshare_utils.training.losses import LOSSES, median_listeners

VERSION = 3  # raise it when the same settings give other networks
PRECISIONS = ("float32", "bfloat16")
# not stored at these: they came after the rest
LATER_FIELDS = {
    "loss": "mse",
    "select": "rho",
    "warmup": 0,
    "shared_trunk": False,
    "recalibrate": False,
    "metadata": (),
}


@dataclass(frozen=True)
class Training:
    """How a network is trained; the defaults are the paper's (section 2.5).

    Attributes:
        learning_rate: Adam's.
        batch_size: clips per step.
        epochs: at most.
        patience: epochs without a better value on devel after which an emotion stops.
        standardise: frames to zero mean and unit variance over the training split.
        max_frames: zero-pad to this many frames; None: as little as possible.
        precision: of the arithmetic of CNN and LSTM, "float32" or "bfloat16". Weights, their
            updates, and everything after the LSTM are float32 in both.
        start_at_mean: the output's bias starts at the mean training share, not at a random value.
            This saves the first epochs, and keeps a ReLU output from starting dead.
        average: decay of an exponential moving average of the weights over the steps, whose
            weights are then judged on devel and kept. .98 averages about the last 50 steps, fewer
            in the beginning; 0 keeps the weights of the last step, as in the paper.
        shift: the most mel bands by which training moves a clip's (standardised) spectrum up or
            down, at random in every epoch, much as another vocal tract would. Only `fbank` has
            mel bands; other features stay as they are.
        shuffle_shares: a control: permute the shares that training sees over the clips, each
            emotion's on its own: those of train, and those of devel that choose the epoch.
            Predictions are still scored against the true shares.
        loss: what training minimises, one of `losses.LOSSES`.
        select: the metric on devel that chooses the epoch and stops training, one of
            `results.metrics.METRICS`.
        warmup: steps over which the learning rate rises in a straight line, as transformers need.
        shared_trunk: train one network for all emotions: one CNN, one LSTM, and an FFNN for each.
            An emotion keeps the trunk of its own best epoch, so that what is stored, and predicts,
            is one network per emotion as ever; one that has stopped teaches the trunk no more.
        recalibrate: give the shares of a network that has learnt to rank (`loss` soft_rank) their
            level and spread back, by train's shares (`recalibration`); no rank changes. The epoch
            is chosen before, which only a metric of ranks as rho does not notice.
        metadata: columns of the clip table, as sex, age or language, that the FFNN reads beside
            the pooled vector (`features.metadata`). Such networks cannot be exported, as
            recordings come without.
    """

    learning_rate: float = 1e-4
    batch_size: int = 128
    epochs: int = 150
    patience: int = 10
    standardise: bool = True
    max_frames: int | None = None
    precision: str = "float32"
    start_at_mean: bool = False
    average: float = 0.0
    shift: float = 0.0
    shuffle_shares: bool = False
    loss: str = "mse"
    select: str = "rho"
    warmup: int = 0
    shared_trunk: bool = False
    recalibrate: bool = False
    metadata: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size", "epochs", "patience"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} = {getattr(self, name)}: expected more than 0")
        if not 0 <= self.average < 1:
            raise ValueError(f"average = {self.average}: expected from 0 up to, not including, 1")
        if self.warmup < 0:
            raise ValueError(f"warmup = {self.warmup}: expected 0 or more steps")
        if self.shift < 0:
            raise ValueError(f"shift = {self.shift}: expected 0 or more mel bands")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision = {self.precision!r}: expected one of {', '.join(PRECISIONS)}"
            )
        if isinstance(self.metadata, str):
            raise ValueError(f"metadata = {self.metadata!r}: expected a list of columns")
        object.__setattr__(self, "metadata", tuple(self.metadata))
        LOSSES[self.loss], METRICS[self.select]  # UnknownName for another

    @classmethod
    def of(cls, given: Mapping[str, Any] | None, device: str = "auto") -> Self:
        """The defaults, changed as `given` says; ValueError for an entry that does not fit.

        The precision "auto" is bfloat16 where `device` multiplies it in hardware.
        """
        given = given or {}
        if given.get("precision") == "auto":
            precision = choose_precision("auto", choose_device(device))
            given = {**given, "precision": str(precision).removeprefix("torch.")}
        return settings_of(cls, given)

    def stored(self) -> dict[str, Any]:
        """The fields as files keep them."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in LATER_FIELDS or value != LATER_FIELDS[name]
        }


def stored_settings(corpus: Corpus, sizes: Sizes, training: Training) -> dict[str, Any]:
    """What decides a network's numbers besides its frames, architecture and seed."""
    settings = {
        "clips": corpus.digest(),
        "emotions": corpus.emotions,
        "sizes": sizes.stored(),
        "training": training.stored(),
        "version": VERSION,
        "torch": torch.__version__,
    }
    if training.metadata:
        settings["metadata"] = digest(metadata(corpus, training.metadata))
    if hasattr(LOSSES[training.loss], "fit_votes"):
        settings["listeners"] = median_listeners(corpus.listeners_of_clips("train"))
    return json.loads(json.dumps(settings))  # tuples become lists, as in the file


def extensions(architecture: int, sizes: Sizes, training: Training) -> list[str]:
    """Checksums of the files from outside the package that decide a network's numbers."""
    used = [LOSSES[training.loss], METRICS[training.select].function, type(sizes)]
    used += [REGRESSORS[architecture]] if architecture in REGRESSORS else []
    used = [getattr(x, "func", x) for x in used]  # what a functools.partial calls
    used = [x if inspect.isroutine(x) or inspect.isclass(x) else type(x) for x in used]
    outside = [x for x in used if not str(x.__module__).startswith("emoshare_utils.")]
    return sorted({checksum(_source(x)) for x in outside})


def _source(function: Any) -> bytes:
    """The file that defines a function or class, or its name if there is none to read."""
    try:
        return Path(inspect.getsourcefile(function)).read_bytes()
    except (TypeError, OSError):  # compiled, or defined in a notebook
        return f"{function.__module__}.{function.__qualname__}".encode()


@dataclass(frozen=True)
class Job:
    """One system to train: one network per emotion of `corpus`."""

    corpus: Corpus
    store: FeatureStore
    architecture: int
    seed: int
    sizes: Sizes = Sizes()
    training: Training = Training()

    def __post_init__(self) -> None:
        if self.training.metadata and not self.store.metadata:
            store = WithMetadata(self.store, self.corpus, self.training.metadata)
            object.__setattr__(self, "store", store)
        # what a frame holds is the store's to say, not the user's
        of_store = {"layers": self.store.layers, "metadata": self.store.metadata}
        object.__setattr__(self, "sizes", replace(self.sizes, **of_store))

    @property
    def encoder(self) -> str:
        return self.store.settings["encoder"]

    @property
    def label(self) -> str:
        return f"{self.encoder}, {ARCHITECTURES[self.architecture].name}, seed {self.seed}"

    @cached_property
    def about(self) -> dict[str, Any]:
        """All settings, as `system.json` keeps them."""
        own = {"store": self.store.folder.name}
        own |= {"architecture": self.architecture, "seed": self.seed}
        about = own | stored_settings(self.corpus, self.sizes, self.training)
        outside = extensions(self.architecture, self.sizes, self.training)
        return about | ({"extensions": outside} if outside else {})
