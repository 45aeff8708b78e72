"""One independent network per emotion: training, early stopping, checkpoints, predictions."""

import copy
import hashlib
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from emoshare_utils.corpus import Corpus
from emoshare_utils.device import choose_device, one_worker_a_core
from emoshare_utils.metrics import spearman
from emoshare_utils.models import Sizes
from emoshare_utils.padding import pad
from emoshare_utils.progress import track
from emoshare_utils.released import build, read_sizes
from emoshare_utils.store import FeatureStore, StoreError, atomic, slug

VERSION = 1  # raise it when the same settings give other networks
PIECES = 2  # a batch is cut by length, so that short clips are not padded to the longest
EVALUATION_BATCH = 32
FEW_SHAPES = 64  # frames; batches of few different lengths let a CPU reuse its compiled kernels


@dataclass(frozen=True)
class Training:
    """How a network is trained; the defaults are the paper's (section 2.5).

    Attributes:
        learning_rate, batch_size: Adam's, and clips a step.
        epochs: at most.
        patience: epochs without a better devel rho after which an emotion stops.
        standardise: frames to zero mean and unit variance over the training split.
        max_frames: zero-pad to this many frames; None: to the longest clip of the batch.
        start_at_mean: the output's bias starts at the mean training share instead of by chance,
            which saves the first epochs, and a ReLU output from starting dead.
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
    start_at_mean: bool = False
    shuffle_shares: bool = False

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size", "epochs", "patience"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} = {getattr(self, name)}: expected more than 0")


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
        StoreError: a clip's frames are not in `store`, or are those of other audio.
    """
    encoder = store.settings["encoder"]
    folder = models / slug(encoder) / f"architecture_{architecture}-seed_{seed}"
    stale = store.missing(corpus.clips)
    if len(stale):
        raise StoreError(
            f"{store.folder} lacks the frames of {len(stale)} clips as they are now, "
            f"{stale['clip_id'].iloc[0]} among them: run "
            f"notebooks/02_embedding_extraction.ipynb with encoder = {encoder!r} first"
        )
    system = {"store": store.folder.name, "architecture": architecture, "seed": seed}
    about = system | _settings(corpus, sizes, training)
    finished = folder / "system.json"
    if finished.is_file() and json.loads(finished.read_text()) == about:
        return _read(folder)
    finished.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)

    chosen = choose_device(device)
    label = f"{encoder}, Architecture {architecture}, seed {seed}"
    networks, history = _train(corpus, store, architecture, seed, sizes, training, chosen, label)
    predictions = _predict_splits(corpus, store, networks, training.max_frames, chosen)
    system = {"encoder": encoder, "architecture": architecture, "seed": seed}
    predictions = predictions.assign(**system)[PREDICTION_COLUMNS]
    for emotion, network in networks.items():
        with atomic(folder / f"{slug(emotion)}.safetensors") as file:
            file.write(save(network.state_dict(), metadata={"about": json.dumps(about)}))
    with atomic(folder / "predictions.parquet") as file:
        predictions.to_parquet(file, index=False)
    with atomic(folder / "history.parquet") as file:
        history.assign(**system).to_parquet(file, index=False)
    with atomic(finished) as file:
        file.write((json.dumps(about, indent=2) + "\n").encode())
    return _read(folder)


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
    models: Path, corpus: Corpus, sizes: Sizes = Sizes(), training: Training = Training()
) -> pd.DataFrame:
    """The predictions of every finished system of this very clip table and these settings.

    Systems of other settings never stand beside them in one table; what they were padded to
    differs between encoders.
    """
    settings = _without_max_frames(_settings(corpus, sizes, training))
    tables = []
    for file in sorted(models.glob("*/*/system.json")):
        about = _without_max_frames(json.loads(file.read_text()))
        if settings.items() <= about.items():
            tables.append(pd.read_parquet(file.parent / "predictions.parquet"))
    return pd.concat(tables, ignore_index=True)


def load_network(folder: Path, emotion: str, width: int) -> nn.Module:
    """A trained network from a system's folder, in evaluation mode."""
    about = json.loads((folder / "system.json").read_text())
    network = build(about["architecture"], width, read_sizes(about["sizes"]))
    network.load_state_dict(load_file(folder / f"{slug(emotion)}.safetensors"))
    return network.eval()


class _Emotion:
    """The training of one emotion's network: its optimiser, and its best weights on devel."""

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        self.network = network
        self.optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate, fused=True)
        self.best_rho = -math.inf
        self.best_epoch = 0
        self.best_weights = copy.deepcopy(network.state_dict())
        self.squared_error = 0.0

    def judge(self, rho: float, epoch: int) -> None:
        """Keep the weights if rho is the best so far.

        A constant prediction never is; but where nothing better ever came it is kept, so that
        the results report it.
        """
        if rho > self.best_rho:
            self.best_rho, self.best_epoch = rho, epoch
        if rho == self.best_rho or self.best_rho == -math.inf:
            self.best_weights = copy.deepcopy(self.network.state_dict())


def _train(
    corpus: Corpus,
    store: FeatureStore,
    architecture: int,
    seed: int,
    sizes: Sizes,
    training: Training,
    device: torch.device,
    label: str,
) -> tuple[dict[str, nn.Module], pd.DataFrame]:
    """The best network of every emotion, and the history: emotion, epoch, train_mse, devel_rho."""
    clip_ids = corpus.split("train")["clip_id"].to_numpy()
    shares = corpus.shares("train")
    devel_ids, devel_shares = corpus.split("devel")["clip_id"], corpus.shares("devel")
    order = np.random.default_rng(seed)
    if training.shuffle_shares:
        shares, devel_shares = (order.permuted(x, axis=0) for x in (shares, devel_shares))
    statistics = _frame_statistics(store, clip_ids) if training.standardise else None
    emotions = {}
    for emotion, mean_share in zip(corpus.emotions, shares.mean(axis=0)):
        network = _initial(architecture, store.width, sizes, seed, emotion)
        if statistics:
            network.standardise.fit(*statistics)
        if training.start_at_mean:
            network.ffnn.start_at(mean_share)
        emotions[emotion] = _Emotion(network.to(device), training.learning_rate)

    history = []
    with one_worker_a_core() as pool:
        for epoch in track(range(1, training.epochs + 1), label, unit="epochs"):
            active = {
                emotion: state
                for emotion, state in emotions.items()
                if epoch - state.best_epoch <= training.patience
            }
            if not active:
                break
            columns = [corpus.emotions.index(emotion) for emotion in active]
            for batch in _batches(order.permutation(len(clip_ids)), training.batch_size):
                targets = shares[batch][:, columns]
                _step(pool, active, store, clip_ids[batch], targets, training, device)
            networks = [state.network for state in active.values()]
            predicted = _predict(pool, networks, store, devel_ids, training.max_frames, device)
            for (emotion, state), column, prediction in zip(active.items(), columns, predicted.T):
                rho = spearman(devel_shares[:, column], prediction)
                state.judge(rho, epoch)
                mse, state.squared_error = state.squared_error / len(clip_ids), 0.0
                history.append(
                    {"emotion": emotion, "epoch": epoch, "train_mse": mse, "devel_rho": rho}
                )
    for state in emotions.values():
        state.network.load_state_dict(state.best_weights)
    networks = {emotion: state.network for emotion, state in emotions.items()}
    return networks, pd.DataFrame(history)


def _step(
    pool: Executor,
    active: dict[str, _Emotion],
    store: FeatureStore,
    clip_ids: np.ndarray,
    shares: np.ndarray,
    training: Training,
    device: torch.device,
) -> None:
    """One optimiser step of every active emotion on one batch.

    The batch is cut by length and the gradients summed, which is the gradient of the whole:
    short clips are then not padded to the longest.
    """
    by_length = np.argsort(store.lengths(clip_ids), kind="stable")
    pieces = []
    for piece in np.array_split(by_length, min(PIECES, len(by_length))):
        frames = [store.frames(clip) for clip in clip_ids[piece]]
        features, lengths = (x.to(device) for x in pad(frames, training.max_frames, FEW_SHAPES))
        targets = torch.tensor(shares[piece], dtype=torch.float32, device=device)
        pieces.append((features, lengths, targets))

    def step(column: int, state: _Emotion) -> None:
        state.optimiser.zero_grad()
        for features, lengths, targets in pieces:
            error = state.network(features, lengths) - targets[:, column]
            squared_error = error.square().sum()
            (squared_error / len(clip_ids)).backward()
            state.squared_error += float(squared_error.detach())
        state.optimiser.step()

    list(pool.map(step, range(len(active)), active.values()))


def _initial(architecture: int, width: int, sizes: Sizes, seed: int, emotion: str) -> nn.Module:
    """A network whose weights the seed and the emotion's name fix."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(f"{seed} {emotion}".encode()))
        return build(architecture, width, sizes)


def _batches(order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _frame_statistics(store: FeatureStore, clip_ids: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every feature over the frames of these clips, (W,) each."""
    count, total, squares = 0, np.zeros(store.width), np.zeros(store.width)
    for clip in clip_ids:
        frames = store.frames(clip).astype(np.float64)
        count += len(frames)
        total += frames.sum(axis=0)
        squares += (frames**2).sum(axis=0)
    mean = total / count
    variance = squares / count - mean**2
    scale = np.sqrt(np.where(variance > 1e-10, variance, 1.0))  # a constant feature stays as it is
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(scale, dtype=torch.float32)


def _predict(
    pool: Executor,
    networks: Sequence[nn.Module],
    store: FeatureStore,
    clip_ids: Sequence[str],
    max_frames: int | None,
    device: torch.device,
) -> np.ndarray:
    """The share each network predicts for each clip, (N, networks).

    Clips are batched by length, which changes no number.
    """
    clip_ids = np.asarray(clip_ids)
    predictions = np.empty((len(clip_ids), len(networks)))
    by_length = np.argsort(store.lengths(clip_ids), kind="stable")
    for batch in _batches(by_length, EVALUATION_BATCH):
        frames = [store.frames(clip) for clip in clip_ids[batch]]
        features, lengths = (x.to(device) for x in pad(frames, max_frames, FEW_SHAPES))
        shares = pool.map(_share, networks, repeat(features), repeat(lengths))
        predictions[batch] = np.stack(list(shares), axis=1)
    return predictions


@torch.no_grad()
def _share(network: nn.Module, features: Tensor, lengths: Tensor) -> np.ndarray:
    return network(features, lengths).cpu().numpy()


def _predict_splits(
    corpus: Corpus,
    store: FeatureStore,
    networks: dict[str, nn.Module],
    max_frames: int | None,
    device: torch.device,
) -> pd.DataFrame:
    """Predictions for devel and test; the share is null where the test labels are masked."""
    tables = []
    for split in ("devel", "test"):
        clips = corpus.split(split)
        if clips.empty:
            continue
        with one_worker_a_core() as pool:
            predictions = _predict(
                pool, list(networks.values()), store, clips["clip_id"], max_frames, device
            )
        for emotion, prediction in zip(networks, predictions.T):
            tables.append(
                pd.DataFrame(
                    {
                        "emotion": emotion,
                        "split": split,
                        "clip_id": clips["clip_id"].to_numpy(),
                        "share": clips[emotion].to_numpy(float),
                        "prediction": prediction,
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def _settings(corpus: Corpus, sizes: Sizes, training: Training) -> dict:
    """What decides a network's numbers besides its frames, architecture and seed."""
    settings = {
        "clips": _digest(corpus),
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


def _digest(corpus: Corpus) -> str:
    """What tells one clip table from another: its clips, audio, splits and shares."""
    columns = ["clip_id", "split", "audio_checksum", *corpus.emotions]
    rows = pd.util.hash_pandas_object(corpus.clips[columns].astype(str), index=False)
    return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()[:16]
