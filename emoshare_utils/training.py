"""One independent network per emotion: training, early stopping, checkpoints, predictions."""

import copy
import json
import time
import zlib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from emoshare_utils import checkpoints
from emoshare_utils.acoustic import MEL_BANDS
from emoshare_utils.corpus import Corpus
from emoshare_utils.device import choose_device, give_memory_back, one_worker_a_core
from emoshare_utils.learner import Learner, step
from emoshare_utils.loader import Loader, frame_statistics
from emoshare_utils.metrics import spearman
from emoshare_utils.models import Sizes, Standardise
from emoshare_utils.progress import track
from emoshare_utils.released import build, read_sizes
from emoshare_utils.store import FeatureStore, atomic, locked, slug

VERSION = 2  # raise it when the same settings give other networks
EVALUATION_BATCH = 32
LARGE = 1_000_000  # parameters
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Training:
    """How a network is trained; the defaults are the paper's (section 2.5).

    Attributes:
        learning_rate, batch_size: Adam's, and clips a step.
        epochs: at most.
        patience: epochs without a better devel rho after which an emotion stops.
        standardise: frames to zero mean and unit variance over the training split.
        max_frames: zero-pad to this many frames; None: as little as may be.
        precision: of the arithmetic of CNN and LSTM, "float32" or "bfloat16"; weights, their
            steps, and everything after the LSTM are float32 in both.
        start_at_mean: the output's bias starts at the mean training share instead of by chance,
            which saves the first epochs, and a ReLU output from starting dead.
        average: the weights that are judged on devel and kept are a running mean over all steps, in
            which a step counts that many times as much as the next (Polyak averaging; .98: about
            the last 50, and fewer in the beginning); 0: those of the last step, as in the paper.
        shift: mel bands by which, at most, training moves a clip's (standardised) spectrum up or
            down, by chance and anew each epoch, much as another vocal tract would. Only `fbank`
            has mel bands; other features stay as they are.
        shuffle_shares: a control: permute the shares that training sees over the clips, each
            emotion's on its own: those of train, and those of devel that choose the epoch.
            Predictions are still scored against the true shares.
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

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size", "epochs", "patience"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} = {getattr(self, name)}: expected more than 0")
        if not 0 <= self.average < 1:
            raise ValueError(f"average = {self.average}: expected from 0 up to, not including, 1")
        if self.shift < 0:
            raise ValueError(f"shift = {self.shift}: expected 0 or more mel bands")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision = {self.precision!r}: expected one of {', '.join(PRECISIONS)}"
            )


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
    from emoshare_utils.cluster import train_over_cluster  # Dask is an extra

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


PREDICTION_COLUMNS = [
    "encoder",
    "architecture",
    "emotion",
    "seed",
    "split",
    "clip_id",
    "share",
    "prediction",
]


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


def _train(
    corpus: Corpus,
    store: FeatureStore,
    about: dict,
    sizes: Sizes,
    training: Training,
    device: torch.device,
    folder: Path,
) -> tuple[dict[str, nn.Module], pd.DataFrame]:
    """The best network of every emotion, and the history: emotion, epoch, train_mse, devel_rho.

    Goes on after the last epoch that `folder` has a checkpoint of.
    """
    architecture, seed = about["architecture"], about["seed"]
    label = f"{store.settings['encoder']}, Architecture {architecture}, seed {seed}"
    clip_ids = corpus.split("train")["clip_id"].to_numpy()
    shares = corpus.shares("train")
    devel_ids, devel_shares = corpus.split("devel")["clip_id"].to_numpy(), corpus.shares("devel")
    order = np.random.default_rng(seed)
    if training.shuffle_shares:
        shares, devel_shares = (order.permuted(x, axis=0) for x in (shares, devel_shares))

    shift = training.shift if store.settings["encoder"] in MEL_BANDS else 0
    standardise = Standardise(store.width)
    if training.standardise:
        standardise.fit(*frame_statistics(store, clip_ids))
    learners = {}
    for emotion, mean_share in zip(corpus.emotions, shares.mean(axis=0)):
        network = _initial(architecture, store.width, sizes, seed, emotion)
        network.standardise.load_state_dict(standardise.state_dict())
        if training.start_at_mean:
            network.ffnn.start_at(mean_share)
        network = network.to(device)
        learners[emotion] = Learner(network, training.learning_rate, training.average)
    targets = torch.tensor(shares, dtype=torch.float32)
    done, history = checkpoints.restore(folder, about, learners, order)
    if done:
        print(f"{label}: goes on after epoch {done}")

    network = learners[corpus.emotions[0]].network
    loader, large = _loader(store, network, training, device), _is_large(network, device)
    start = time.perf_counter()
    with one_worker_a_core() as pool:
        for epoch in track(range(done + 1, training.epochs + 1), label, unit="epochs"):
            active = {
                emotion: learner
                for emotion, learner in learners.items()
                if epoch - learner.best_epoch <= training.patience
            }
            if not active:
                break
            columns = [corpus.emotions.index(emotion) for emotion in active]
            batches = _batches(order.permutation(len(clip_ids)), training.batch_size)
            bands = order.uniform(-shift, shift, len(clip_ids)) if shift else None
            for batch, pieces in loader.batches(batches, clip_ids, bands):
                step(pool, list(active.values()), pieces, targets[batch][:, columns])
                if large:
                    give_memory_back()
            networks = [learner.judged for learner in active.values()]
            predicted = _predict(pool, networks, loader, devel_ids)
            for (emotion, learner), column, prediction in zip(active.items(), columns, predicted.T):
                rho = spearman(devel_shares[:, column], prediction)
                learner.judge(rho, epoch)
                mse, learner.squared_error = learner.squared_error / len(clip_ids), 0.0
                history.append(
                    {"emotion": emotion, "epoch": epoch, "train_mse": mse, "devel_rho": rho}
                )
            checkpoints.write(folder, about, epoch, learners, order, history)
    waited = loader.waited_s / (time.perf_counter() - start)
    print(f"{label}: {waited:.1%} of the time went into waiting for frames")
    checkpoints.take_best(folder, learners)
    networks = {emotion: learner.judged for emotion, learner in learners.items()}
    return networks, pd.DataFrame(history)


def _is_large(network: nn.Module, device: torch.device) -> bool:
    """Whether a CPU computes so long on a network that small pieces and tidying up pay."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return device.type == "cpu" and parameters > LARGE


def _loader(
    store: FeatureStore, network: nn.Module, training: Training, device: torch.device
) -> Loader:
    """Batches for `network`, and all that start with the same standardisation."""
    standardise = copy.deepcopy(network.standardise).cpu()
    precision = getattr(torch, training.precision)
    # a large network gains more from little padding than it loses by small pieces
    piece_clips = 8 if _is_large(network, device) else max(8, training.batch_size // 2)
    return Loader(store, standardise, precision, training.max_frames, piece_clips, device)


def _initial(architecture: int, width: int, sizes: Sizes, seed: int, emotion: str) -> nn.Module:
    """A network whose weights the seed and the emotion's name fix."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(f"{seed} {emotion}".encode()))
        return build(architecture, width, sizes)


def _batches(order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _predict(
    pool: Executor, networks: Sequence[nn.Module], loader: Loader, clip_ids: np.ndarray
) -> np.ndarray:
    """The share each network predicts for each clip, (N, networks).

    Clips are batched by length, which changes no number.
    """
    predictions = np.empty((len(clip_ids), len(networks)))
    by_length = np.argsort(loader.store.lengths(clip_ids), kind="stable")
    for batch, pieces in loader.batches(_batches(by_length, EVALUATION_BATCH), clip_ids):
        for rows, features, lengths in pieces:
            shares = pool.map(_share, networks, repeat(features), repeat(lengths))
            predictions[batch[rows]] = np.stack(list(shares), axis=1)
    return predictions


@torch.no_grad()
def _share(network: nn.Module, features: Tensor, lengths: Tensor) -> np.ndarray:
    return network.regress(features, lengths).cpu().numpy()


def _predict_splits(
    corpus: Corpus,
    store: FeatureStore,
    networks: dict[str, nn.Module],
    training: Training,
    device: torch.device,
) -> pd.DataFrame:
    """Predictions for devel and test; the share is null where the test labels are masked."""
    tables = []
    loader = _loader(store, networks[corpus.emotions[0]], training, device)
    for split in ("devel", "test"):
        clips = corpus.split(split)
        if clips.empty:
            continue
        with one_worker_a_core() as pool:
            clip_ids = clips["clip_id"].to_numpy()
            predictions = _predict(pool, list(networks.values()), loader, clip_ids)
        for emotion, prediction in zip(networks, predictions.T):
            tables.append(
                pd.DataFrame(
                    {
                        "emotion": emotion,
                        "split": split,
                        "clip_id": clip_ids,
                        "share": clips[emotion].to_numpy(float),
                        "prediction": prediction,
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


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
