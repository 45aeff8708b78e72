"""One independent network per emotion: trained, stored in a folder, and read again."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.device import choose_device, one_worker_per_core
from emoshare_utils.errors import Stopped
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.files import DamagedError, locked, read_json, slug, write_json
from emoshare_utils.models.regressor import Regressor, Sizes, build, read_sizes
from emoshare_utils.models.weights import read_tensors, write_tensors
from emoshare_utils.storage import read_parquet, write_parquet
from emoshare_utils.training import checkpoints
from emoshare_utils.training.batches import loader_for
from emoshare_utils.training.loop import train
from emoshare_utils.training.predictions import predict, prediction_table, read_finished
from emoshare_utils.training.settings import Job, Training, extensions, stored_settings


@dataclass(frozen=True)
class System:
    """A trained system: one network per emotion under one encoder, architecture and seed.

    Attributes:
        predictions: clip by clip for devel and test, with PREDICTION_COLUMNS.
        history: encoder, architecture, emotion, seed, epoch, train_mse, devel_rho; train_loss
            where the loss is not the mean squared error, and the devel value of another metric
            that selects.
        folder: the networks, `<emotion>.safetensors`, with the weights that were best on devel.
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

    The networks share the reading of batches and nothing else (but for `shared_trunk`): each
    starts from its own seed, has its own optimiser, and stops on its own value on devel.

    Args:
        models: the folder of models; `system.json` in this system's folder has its settings.
        seed: with the emotion's name, fixes initial weights; alone, the order of clips.

    Raises:
        StoreError: a clip's frames are not in `store`, or are those of other audio.
        FolderError: the disk is full, or another process is training this very system.
    """
    job = Job(corpus, store, architecture, seed, sizes, training)
    folder = system_folder(models, store, architecture, seed)
    store.require(corpus.clips)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if not (system := _finished(folder, job)):
            (folder / "system.json").unlink(missing_ok=True)
            try:
                _make(job, folder, choose_device(device))
            except KeyboardInterrupt:
                raise Stopped(
                    f"{job.label} was stopped by hand: finished epochs are kept, and running it "
                    "again resumes from there"
                ) from None
        checkpoints.remove(folder)
    return system or read_system(folder)


def _finished(folder: Path, job: Job) -> System | None:
    """This very system, if it is finished and whole; says what is damaged or other."""
    try:
        if not (folder / "system.json").is_file():
            return None
        if read_json(folder / "system.json") != job.about:
            print(f"{folder} has other settings: its networks are retrained")
            return None
        for emotion in job.corpus.emotions:
            read_tensors(_weights(folder, emotion))
        return read_system(folder)
    except (DamagedError, FileNotFoundError) as error:
        print(f"{job.label} is trained again: {error}")
        return None


def _make(job: Job, folder: Path, device: torch.device) -> None:
    """Train a system and write its folder, `system.json` last."""
    networks, history = train(job, folder, device)
    any_network = next(iter(networks.values()))
    loader = loader_for(any_network, job.store, job.training, device)
    predicted = {}
    with one_worker_per_core() as pool:
        for split in ("devel", "test"):
            clip_ids = job.corpus.split(split)["clip_id"].to_numpy()
            if len(clip_ids):
                predicted[split] = predict(pool, list(networks.values()), loader, clip_ids)
    system = {"encoder": job.encoder, "architecture": job.architecture, "seed": job.seed}
    predictions = prediction_table(job.corpus, predicted, **system)
    for emotion, network in networks.items():
        write_tensors(_weights(folder, emotion), network.state_dict())
    write_parquet(folder / "predictions.parquet", predictions)
    write_parquet(folder / "history.parquet", history.assign(**system))
    write_json(folder / "system.json", job.about)


def system_folder(
    models: Path, store: FeatureStore, architecture: int, seed: int, **_: object
) -> Path:
    """Where `train_system` puts a system."""
    return models / slug(store.settings["encoder"]) / f"architecture_{architecture}-seed_{seed}"


def collect(
    models: Path,
    corpus: Corpus,
    sizes: Sizes = Sizes(),
    training: Training = Training(),
    stores: Collection[str] | None = None,
) -> pd.DataFrame:
    """The predictions of every finished system of this very clip table and these settings.

    Systems of other settings are left out, and those whose loss, metric or architecture comes from
    a file that has changed since; only what clips are padded to may differ.

    Args:
        stores: folder names of the feature stores that count; None: all.
    """
    settings, files = stored_settings(corpus, sizes, training), []
    for file in models.glob("*/*/system.json"):
        try:
            about = read_json(file)
        except DamagedError as error:
            print(f"{error}. Until then its predictions are left out")
            continue
        if about.get("extensions", []) == extensions(about["architecture"], sizes, training):
            files.append(file)
    return read_finished(files, settings, stores)


def load_network(folder: Path, emotion: str, width: int) -> Regressor:
    """A trained network from a system's folder, in evaluation mode.

    ValueError if it reads metadata, which recordings do not have.
    """
    about = read_json(folder / "system.json")
    if metadata := about["training"].get("metadata"):
        raise ValueError(
            f"{folder} was trained with training.metadata = {metadata}: it serves the tables of "
            "its run alone: train a system without metadata for what looks into networks"
        )
    network = build(about["architecture"], width, read_sizes(about["sizes"]))
    network.load_state_dict(read_tensors(_weights(folder, emotion)))
    return network.eval()


def _weights(folder: Path, emotion: str) -> Path:
    return folder / f"{slug(emotion)}.safetensors"


def read_system(folder: Path) -> System:
    """A finished system, as `train_system` returned it; DamagedError where a file has changed."""
    return System(
        predictions=read_parquet(folder / "predictions.parquet"),
        history=read_parquet(folder / "history.parquet"),
        folder=folder,
    )
