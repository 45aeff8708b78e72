"""A trained system as a folder: it can be copied to another machine and used there.

    system.json            what it is: encoder, sizes, training, emotions, intervals, its files
    <emotion>.safetensors  one network per emotion
    card.md                for people: data, scores, limits
    <name>/                another such folder, whose shares are averaged with these, if any

Nothing in it is code. Every file has its checksum inside, and system.json those of the networks.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from emoshare_utils.corpora.audio import SAMPLE_RATE
from emoshare_utils.corpora.lengths import AudioError
from emoshare_utils.device import choose_device, one_worker_per_core
from emoshare_utils.features.encoder import Encoder, EncoderError
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.fill import BATCH_S
from emoshare_utils.files import DamagedError, FolderError, atomic, read_json, slug, write_json
from emoshare_utils.models.regressor import Regressor, Sizes, build, read_sizes
from emoshare_utils.models.weights import read_tensors, write_tensors
from emoshare_utils.predicting.intervals import Intervals
from emoshare_utils.training.batches import loader_for
from emoshare_utils.training.predictions import predict
from emoshare_utils.training.settings import Training

SHIPPED = Path(__file__).parent / "shipped"
FORMAT = 1  # raise it when older code cannot read the folder
VERSIONS = ("torch", "transformers")  # settings of an encoder that another machine may have others
LATER = ("loss", "select")  # of Training, which only training needs


class SystemFolderError(FolderError):
    """A folder that holds no usable trained system; it names the file and what to do."""


@dataclass(frozen=True)
class TrainedSystem:
    """A trained system, ready to predict.

    Attributes:
        folder: where it was read from.
        encoder: makes the frames.
        networks: emotion -> its network, in evaluation mode.
        interval: the intervals for a new panel's share.
        card: the model card, Markdown.
        longest: samples at 16 kHz of the longest clip of training; what is longer is read in
            windows of this length.
        checksum: 16 hex digits that tell this system from others.
        beside: systems on other feature sets, with whose shares those of `networks` are averaged.
    """

    folder: Path
    encoder: Encoder
    networks: dict[str, Regressor]
    interval: Intervals
    card: str
    longest: int
    training: Training
    checksum: str
    beside: tuple["TrainedSystem", ...] = ()

    @property
    def emotions(self) -> tuple[str, ...]:
        """In the order of the corpus."""
        return tuple(self.networks)

    def predict(self, samples: np.ndarray) -> pd.DataFrame:
        """The shares of one recording, samples (n,) float32 at 16 kHz.

        Returns:
            One row per emotion: emotion, share, low, high. The interval holds the share that a new
            panel would give, nine times in ten; NaN where the system has none.

        Raises:
            AudioError: it is too short.
        """
        if reason := self.refusal(samples):
            raise AudioError(reason)
        shares = self.shares([samples])
        low, high = self.interval.bounds(shares, self.emotions)
        columns = {"share": shares[0], "low": low[0], "high": high[0]}
        return pd.DataFrame({"emotion": self.emotions, **columns})

    def refusal(self, samples: np.ndarray) -> str:
        """Why a recording, samples (n,), cannot be read; "" if it can."""
        short = [each for each in (self, *self.beside) if not each.encoder.n_frames(len(samples))]
        if not short:
            return ""
        encoder = max((each.encoder for each in short), key=lambda encoder: encoder.shortest())
        least = encoder.shortest()
        return (
            f"{len(samples) / SAMPLE_RATE:.3f} s is too short: {encoder.name} needs "
            f"{least / SAMPLE_RATE:.3f} s ({least} samples at 16 kHz)"
        )

    def shares(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """The predicted shares (N, E) of clips, samples (n_i,) float32 at 16 kHz.

        Those of a clip that is longer than `longest` are the mean over its windows, each weighted
        by its seconds. A clip whose frames are not finite in float16 gets NaN.

        Raises:
            ValueError: a clip is too short for an encoder.
        """
        systems = (self.own_shares, *(each.shares for each in self.beside))
        return np.mean([shares(clips) for shares in systems], axis=0)

    def own_shares(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """`shares`, of this system's own networks alone."""
        if not len(clips):
            return np.empty((0, len(self.emotions)))
        pieces = [windows(clip, self.longest) for clip in clips]
        owners = np.repeat(np.arange(len(clips)), [len(each) for each in pieces])
        flat = [window for each in pieces for window in each]
        lengths = np.array([len(window) for window in flat], float)
        with one_worker_per_core() as pool:
            frames = _encode(pool, self.encoder, flat)
            bad = [not np.isfinite(each).all() for each in frames]
            # zeros, because computed beside others NaN would spread to them
            store = _Frames([np.zeros_like(x) if lost else x for x, lost in zip(frames, bad)])
            networks = list(self.networks.values())
            loader = loader_for(networks[0], store, self.training, self.encoder.device)
            of_windows = predict(pool, networks, loader, np.arange(len(flat)))
        of_windows[bad] = np.nan
        sums = np.zeros((len(clips), len(self.emotions)))
        np.add.at(sums, owners, of_windows * lengths[:, None])
        return sums / np.bincount(owners, lengths)[:, None]


def windows(samples: np.ndarray, longest: int) -> list[np.ndarray]:
    """Cut (n,) samples into windows of `longest`, one every half of it; the last may be shorter.

    What is no longer than `longest` stays whole.
    """
    if len(samples) <= longest:
        return [samples]
    hop = longest // 2
    return [samples[start : start + longest] for start in range(0, len(samples) - hop, hop)]


def _encode(pool: Any, encoder: Encoder, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The frames of every clip, float16 as a feature store keeps them."""
    order = np.argsort([-len(clip) for clip in clips], kind="stable")
    most, batches, used = BATCH_S[encoder.device.type] * SAMPLE_RATE, [[]], 0
    for place in order:
        used += len(clips[place])
        if batches[-1] and used > most:
            batches.append([])
            used = len(clips[place])
        batches[-1].append(place)
    frames: list[np.ndarray] = [np.empty(0)] * len(clips)
    for batch, encoded in zip(
        batches, pool.map(_encode_batch, repeat(encoder), batches, repeat(clips))
    ):
        for place, clip in zip(batch, encoded):
            frames[place] = clip
    return frames


def _encode_batch(
    encoder: Encoder, batch: Sequence[int], clips: Sequence[np.ndarray]
) -> list[np.ndarray]:
    with np.errstate(over="ignore"):
        encoded = encoder.encode([clips[place] for place in batch])
        return [frames.astype(np.float16) for frames in encoded]


class _Frames:
    """Frames in memory, read as those of a feature store."""

    def __init__(self, frames: Sequence[np.ndarray]) -> None:
        self.all = frames

    def lengths(self, places: np.ndarray) -> np.ndarray:
        return np.array([len(self.all[place]) for place in places])

    def frames(self, place: int) -> np.ndarray:
        return self.all[place]


def load_system(folder: str | Path | None = None, device: str = "auto") -> TrainedSystem:
    """Read a trained system that `export` wrote, or the one that ships with the package.

    Args:
        folder: the system's; None: the one that ships.
        device: as `load_encoder` takes it.

    Raises:
        SystemFolderError: a file is missing, damaged or of another system, or the encoder cannot
            be had or is not the one that the networks were trained on.
        ValueError: no such device.
    """
    folder = SHIPPED if folder is None else Path(folder)
    device = str(choose_device(device))
    try:
        about = read_json(folder / "system.json")
        if about.get("format") != FORMAT:
            raise SystemFolderError(
                f"{folder / 'system.json'} has format {about.get('format')!r}, but this version "
                f"reads {FORMAT}: export the system again with it"
            )
        return _loaded(folder, about, device)
    except FileNotFoundError as error:
        missing = Path(error.filename or folder).name
        raise SystemFolderError(
            f"{folder} holds no trained system: it has no {missing}. Name a folder that "
            "`python -m emoshare_utils export` wrote, and copy all of it"
        ) from error
    except DamagedError as error:
        said = str(error).split(": run the notebook")[0]
        raise SystemFolderError(f"{said}: copy or export the system again") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SystemFolderError(
            f"{folder / 'system.json'} is no record of a trained system "
            f"({type(error).__name__}: {error}): export the system again"
        ) from error


def _loaded(folder: Path, about: Mapping[str, Any], device: str) -> TrainedSystem:
    encoder = matching_encoder(folder, about["encoder"], device)
    sizes, networks = read_sizes(about["sizes"]), {}
    for emotion in about["emotions"]:
        file = folder / f"{slug(emotion)}.safetensors"
        if content_id(file) != about["networks"][emotion]:
            read_tensors(file)  # says so if it is damaged
            raise SystemFolderError(
                f"{file} is not the network that system.json names: copy or export the system again"
            )
        network = build(about["architecture"], encoder.width, sizes)
        try:
            network.load_state_dict(read_tensors(file))
        except RuntimeError as error:
            raise SystemFolderError(
                f"{file} does not fit the sizes in system.json: export the system again"
            ) from error
        networks[emotion] = network.eval().requires_grad_(False).to(encoder.device)
    return TrainedSystem(
        folder=folder,
        encoder=encoder,
        networks=networks,
        interval=Intervals(**about["interval"]),
        card=(folder / "card.md").read_text("utf-8"),
        longest=about["longest"],
        training=Training(**{k: v for k, v in about["training"].items() if k not in LATER}),
        checksum=content_id(folder / "system.json"),
        beside=tuple(_beside(folder, about, device)),
    )


def _beside(folder: Path, about: Mapping[str, Any], device: str) -> Iterator[TrainedSystem]:
    """The systems in this one's folder that its record names, each the very one."""
    for name, expected in about.get("beside", {}).items():
        if slug(name) != name:
            raise SystemFolderError(
                f"{folder / 'system.json'} names no folder of its own: {name!r}"
            )
        if content_id(folder / name / "system.json") != expected:
            raise SystemFolderError(
                f"{folder / name} is not the system that {folder / 'system.json'} names: copy or "
                "export the system again"
            )
        system = load_system(folder / name, device)
        if system.emotions != tuple(about["emotions"]):
            raise SystemFolderError(f"{folder / name} predicts other emotions than {folder}")
        yield system


def matching_encoder(folder: Path, expected: Mapping[str, Any], device: str) -> Encoder:
    """The encoder that a system was trained on; SystemFolderError if it is another here."""
    name = expected["encoder"]
    asked = expected.get("normalise"), expected.get("precision", "float32")
    try:
        encoder = load_encoder(name, device, *asked)
    except EncoderError as error:
        raise SystemFolderError(
            f"the system in {folder} reads frames of {name!r}: {error}"
        ) from error
    here, expected = portable(encoder.settings), portable(expected)
    if here != expected:
        other = sorted(key for key in {*here, *expected} if here.get(key) != expected.get(key))
        said = ", ".join(f"{key} {here.get(key)!r}, not {expected.get(key)!r}" for key in other)
        raise SystemFolderError(
            f"the encoder {name!r} here is not the one that the system in {folder} was trained on "
            f"({said}): get that one, or train and export again with yours"
        )
    return encoder


def portable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """An encoder's settings without the versions of libraries and what only a store needs."""
    kept = {k: v for k, v in settings.items() if k not in (*VERSIONS, "width")}
    return json.loads(json.dumps(kept))  # tuples become lists, as in the file


def content_id(file: Path) -> str:
    """16 hex digits of the SHA-256 of a file's bytes."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:16]


def write_system(
    folder: Path,
    networks: Mapping[str, Regressor],
    encoder: Mapping[str, Any],
    architecture: int,
    sizes: Sizes,
    training: Training,
    longest: int,
    interval: Intervals,
    card: str,
    stored_as: torch.dtype = torch.float32,
    beside: Sequence[str] = (),
    **facts: Any,
) -> None:
    """Write a system's folder, which must be new or empty; `system.json` comes last.

    Args:
        encoder: the settings of the encoder or feature store.
        longest: samples at 16 kHz of the longest clip of training.
        stored_as: the type of the weights on disk; they compute as float32.
        beside: the names of systems that are in the folder already, to average the shares with.
        facts: more for system.json, for people: corpus, licence, scores.

    Raises:
        SystemFolderError: the folder has files already.
        FolderError: it cannot be written.
    """
    require_empty(folder, beside)
    folder.mkdir(parents=True, exist_ok=True)
    for emotion, network in networks.items():
        weights = {name: x.to(stored_as) for name, x in network.state_dict().items()}
        write_tensors(folder / f"{slug(emotion)}.safetensors", weights)
    with atomic(folder / "card.md") as file:
        file.write(card.encode())
    names = {emotion: folder / f"{slug(emotion)}.safetensors" for emotion in networks}
    about = {
        "format": FORMAT,
        **facts,
        "emotions": list(networks),
        "encoder": portable(encoder),
        "architecture": architecture,
        "sizes": sizes.stored(),
        "training": training.stored(),
        "longest": longest,
        "interval": interval.stored(),
        "networks": {emotion: content_id(file) for emotion, file in names.items()},
    }
    if beside:
        about["beside"] = {name: content_id(folder / name / "system.json") for name in beside}
    write_json(folder / "system.json", about)


def require_empty(folder: Path, but: Sequence[str] = ()) -> None:
    """SystemFolderError if the folder has files already, those named in `but` apart."""
    if folder.exists() and (
        not folder.is_dir() or any(file.name not in but for file in folder.iterdir())
    ):
        raise SystemFolderError(f"{folder} is there already and not empty: name a new folder")
