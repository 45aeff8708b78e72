"""One independent network per emotion: training, early stopping, checkpoints, predictions."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save
from torch import nn

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.device import choose_device
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.files import atomic, locked, slug
from emoshare_utils.models.architectures import Sizes
from emoshare_utils.progress import track
from emoshare_utils.studies.released_code import build, read_sizes
from emoshare_utils.training import checkpoints
from emoshare_utils.training.loop import _train
from emoshare_utils.training.predictions import PREDICTION_COLUMNS, _predict_splits
from emoshare_utils.training.settings import Training

VERSION = 2  # raise it when the same settings give other networks


@dataclass(frozen=True)
class System:
    """A trained system: one network an emotion under one encoder, architecture and seed.

    Attributes:
        predictions: clip by clip for devel and test, as DESIGN's predictions table.
        history: encoder, architecture, emotion, seed, epoch, train_mse, devel_rho.
        folder: the checkpoints, `<emotion>.safetensors`, best weights on devel.
    """

    predictions: pd.DataFrame
    history: pd.DataFrame
    folder: Path


def train_system(
    corpus: Corpus,
    store: FeatureStore,
    architecture: int,
    seed: int,
    models: Path,
    sizes: Sizes = Sizes(),
    training: Training = Training(),
    device: str = "auto",
) -> System:
    """Train Architecture `architecture` for every emotion of `corpus`, or read what is finished.

    The networks share the reading of batches and nothing else: each starts from its own seed,
    has its own optimiser, and stops on its own devel rho.

    Args:
        models: the folder of models; `system.json` in this system's folder says its settings.
        seed: with the emotion's name, fixes initial weights; alone, the order of clips.
        sizes: a `released.Variant` computes with parts of the released code.

    Raises:
        StoreError: a clip's frames are not in `store`, or are those of other audio; the disk is
            full; or another process trains this very system.
    """
    encoder = store.settings["encoder"]
    folder = _folder(models, store, architecture, seed)
    store.require(corpus.clips)
    system = {"store": store.folder.name, "architecture": architecture, "seed": seed}
    about = system | _settings(corpus, sizes, training)
    finished = folder / "system.json"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if not (finished.is_file() and json.loads(finished.read_text()) == about):
            if finished.is_file():
                print(f"{folder} has other settings: its networks are trained anew")
            finished.unlink(missing_ok=True)
            try:
                _make(corpus, store, about, sizes, training, choose_device(device), folder)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"{encoder}, Architecture {architecture}, seed {seed} was stopped by hand: "
                    "finished epochs are kept, and the same command goes on from there"
                ) from None
        checkpoints.remove(folder)
    return _read(folder)


def _make(
    corpus: Corpus,
    store: FeatureStore,
    about: dict,
    sizes: Sizes,
    training: Training,
    device: torch.device,
    folder: Path,
) -> None:
    """Train a system and write its folder, `system.json` last."""
    networks, history = _train(corpus, store, about, sizes, training, device, folder)
    predictions = _predict_splits(corpus, store, networks, training, device)
    system = {"encoder": store.settings["encoder"]}
    system |= {key: about[key] for key in ("architecture", "seed")}
    predictions = predictions.assign(**system)[PREDICTION_COLUMNS]
    for emotion, network in networks.items():
        with atomic(folder / f"{slug(emotion)}.safetensors") as file:
            file.write(save(network.state_dict(), metadata={"about": json.dumps(about)}))
    with atomic(folder / "predictions.parquet") as file:
        predictions.to_parquet(file, index=False)
    with atomic(folder / "history.parquet") as file:
        history.assign(**system).to_parquet(file, index=False)
    with atomic(folder / "system.json") as file:
        file.write((json.dumps(about, indent=2) + "\n").encode())


def train_systems(
    corpus: Corpus,
    requests: Sequence[dict],
    models: Path,
    device: str = "auto",
    scheduler: str = "",
) -> list[System]:
    """Train several systems in turn, or side by side on the workers of a Dask cluster.

    Args:
        requests: of each system the store, architecture, seed, sizes and training, as
            `train_system` takes them.
        scheduler: the address of a Dask scheduler, or local:N for N processes here; empty: in
            turn. The systems are the same either way.

    Raises:
        StoreError: see `train_system`.
        ClusterError: the scheduler or its workers cannot do it.
    """
    shared = {"corpus": corpus, "models": models.resolve(), "device": device}
    if not scheduler:
        return [train_system(**shared, **request) for request in requests]
    from emoshare_utils.training.remote import train_over_cluster  # Dask is an extra

    folders = [_folder(models, **request) for request in requests]
    tasks = [
        shared | request | {"store": request["store"].folder.resolve()} for request in requests
    ]
    done = train_over_cluster(tasks, scheduler)
    for _ in track(done, f"training over {scheduler}", len(tasks), "systems", every_s=0):
        pass
    return [_read(folder) for folder in folders]


def _folder(models: Path, store: FeatureStore, architecture: int, seed: int, **_: object) -> Path:
    return models / slug(store.settings["encoder"]) / f"architecture_{architecture}-seed_{seed}"


def collect(
    models: Path,
    corpus: Corpus,
    sizes: Sizes = Sizes(),
    training: Training = Training(),
    stores: Collection[str] | None = None,
) -> pd.DataFrame:
    """The predictions of every finished system of this very clip table and these settings.

    Systems of other settings never stand beside them in one table; what they were padded to
    differs between encoders.

    Args:
        stores: folder names of the feature stores that count; None: all.
    """
    settings = _without_max_frames(_settings(corpus, sizes, training))
    tables = []
    for file in sorted(models.glob("*/*/system.json")):
        about = _without_max_frames(json.loads(file.read_text()))
        if settings.items() <= about.items() and (stores is None or about["store"] in stores):
            tables.append(pd.read_parquet(file.parent / "predictions.parquet"))
    return pd.concat(tables, ignore_index=True)


def load_network(folder: Path, emotion: str, width: int) -> nn.Module:
    """A trained network from a system's folder, in evaluation mode."""
    about = json.loads((folder / "system.json").read_text())
    network = build(about["architecture"], width, read_sizes(about["sizes"]))
    network.load_state_dict(load_file(folder / f"{slug(emotion)}.safetensors"))
    return network.eval()


def _settings(corpus: Corpus, sizes: Sizes, training: Training) -> dict:
    """What decides a network's numbers besides its frames, architecture and seed."""
    settings = {
        "clips": corpus.digest(),
        "emotions": corpus.emotions,
        "sizes": asdict(sizes),
        "training": asdict(training),
        "version": VERSION,
        "torch": torch.__version__,
    }
    return json.loads(json.dumps(settings))  # tuples become lists, as in the file


def _without_max_frames(settings: dict) -> dict:
    for part in ("sizes", "training"):
        settings[part].pop("max_frames", None)
    return settings


def _read(folder: Path) -> System:
    return System(
        predictions=pd.read_parquet(folder / "predictions.parquet"),
        history=pd.read_parquet(folder / "history.parquet"),
        folder=folder,
    )
