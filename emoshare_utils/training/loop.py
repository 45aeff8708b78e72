"""The epochs of one system: the networks of all emotions are trained together."""

import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emoshare_utils.device import give_memory_back, one_worker_per_core
from emoshare_utils.features.acoustic import MEL_BANDS
from emoshare_utils.files import checksum
from emoshare_utils.models.kernels import is_large
from emoshare_utils.models.layers import Standardise
from emoshare_utils.models.regressor import Regressor, build
from emoshare_utils.progress import track
from emoshare_utils.results.metrics import METRICS
from emoshare_utils.training import checkpoints
from emoshare_utils.training.batches import Loader, frame_statistics, in_batches, loader_for
from emoshare_utils.training.feature_smoothing import FeatureSmoothing
from emoshare_utils.training.learner import Learner
from emoshare_utils.training.losses import LOSSES, fitted, mse
from emoshare_utils.training.predictions import pooled_vectors, predict
from emoshare_utils.training.recalibration import recalibrate
from emoshare_utils.training.settings import Job
from emoshare_utils.training.steps import step


def train(
    job: Job, folder: Path, device: torch.device
) -> tuple[dict[str, Regressor], pd.DataFrame]:
    """Train the networks of a system, or resume after the last epoch with a checkpoint in `folder`.

    Returns:
        The best network of every emotion, and the history: emotion, epoch, train_mse, devel_rho,
        and train_loss and devel_<metric> where another loss trains or another metric selects.
        With smoothed_features train_mse is that of the calibrated vectors, lower than others'.
    """
    order = np.random.default_rng(job.seed)
    train_shares, devel_shares = _shares(job, "train", order), _shares(job, "devel", order)
    learners = new_learners(job, train_shares, device)
    done, history = checkpoints.restore(folder, job.about, learners, order)
    if done:
        print(f"{job.label}: resumes after epoch {done}")
    network = learners[job.corpus.emotions[0]].network
    loader = loader_for(network, job.store, job.training, device)
    large, shared = is_large(network, device), job.training.shared_trunk
    start = time.perf_counter()
    train_ids, devel_ids = train_shares.index.to_numpy(), devel_shares.index.to_numpy()
    with one_worker_per_core() as pool:
        for epoch in track(range(done + 1, job.training.epochs + 1), job.label, unit="epochs"):
            if not (active := _active(learners, epoch, job.training.patience)):
                break
            targets = torch.tensor(train_shares[list(active)].to_numpy(), dtype=torch.float32)
            batches, shifts = _draw(job, order, len(train_ids))
            for batch, micro_batches in loader.batches(batches, train_ids, shifts):
                step(pool, list(active.values()), micro_batches, targets[batch], shared)
                if large:
                    give_memory_back()
            if job.training.loss == "smoothed_features":
                _take_statistics(pool, active, loader, train_shares, shared)
            judged = [learner.judged for learner in active.values()]
            predicted = predict(pool, judged, loader, devel_ids, shared)
            for (emotion, learner), prediction in zip(active.items(), predicted.T):
                row = {"emotion": emotion, "epoch": epoch} | learner.means(len(train_ids))
                found = _judge(
                    learner, devel_shares[emotion], prediction, epoch, job.training.select
                )
                history.append(row | found)
            checkpoints.write(folder, job.about, epoch, learners, order, history)
    waited = loader.waited_s / (time.perf_counter() - start)
    print(f"{job.label}: {waited:.1%} of the time went into waiting for frames")
    checkpoints.take_best(folder, learners)
    networks = {emotion: learner.judged for emotion, learner in learners.items()}
    if job.training.recalibrate:
        with one_worker_per_core() as pool:
            recalibrate(networks, loader, train_shares, pool)
    return networks, pd.DataFrame(history)


def _take_statistics(
    pool: Executor, active: dict[str, Learner], loader: Loader, shares: pd.DataFrame, shared: bool
) -> None:
    """Update the statistics that smooth features, by all clips of train as they are now."""
    networks = [learner.network for learner in active.values()]
    vectors = pooled_vectors(pool, networks, loader, shares.index.to_numpy(), shared)
    for (emotion, learner), of_one in zip(active.items(), vectors):
        learner.smoothing.update(of_one, shares[emotion].to_numpy())


def _active(learners: dict[str, Learner], epoch: int, patience: int) -> dict[str, Learner]:
    """Those that have not stopped before `epoch`."""
    return {
        emotion: learner
        for emotion, learner in learners.items()
        if not learner.stopping.is_over(epoch, patience)
    }


def new_learners(job: Job, shares: pd.DataFrame, device: torch.device) -> dict[str, Learner]:
    """A learner for every emotion, with initial weights; shares (clips, emotions) of train.

    Raises:
        ValueError: `recalibrate` with an output that is no sigmoid, or `shared_trunk` or the loss
            smoothed_features with an architecture that computes a share in steps of its own.
    """
    training = job.training
    if training.recalibrate and job.sizes.output != "sigmoid":
        raise ValueError(
            f"recalibrate needs sizes.output = 'sigmoid', not {job.sizes.output!r}: set either"
        )
    standardise = Standardise(job.store.width)
    if training.standardise:
        mean, scale = frame_statistics(job.store, shares.index.to_numpy())
        sound = job.store.width - job.store.metadata
        mean[sound:], scale[sound:] = 0, 1  # metadata are as they should be
        standardise.fit(mean, scale)
    learners, listeners = {}, job.corpus.listeners_of_clips("train")
    trunk = initial(job, "all emotions") if training.shared_trunk else None
    smooth = training.loss == "smoothed_features"
    if trunk is not None or smooth:
        _require_plain_trunk(job, "smoothed_features" if trunk is None else "shared_trunk")
    for emotion, mean_share in zip(shares, shares.to_numpy().mean(axis=0)):
        network = initial(job, emotion)
        if trunk is not None:
            for own, shared in zip(network.trunk, trunk.trunk):
                own.data.copy_(shared)
        network.standardise.load_state_dict(standardise.state_dict())
        if training.start_at_mean:
            network.ffnn.start_at(mean_share)
        network = network.to(device)
        loss = LOSSES[training.loss]
        loss = mse if smooth else fitted(loss, shares[emotion].to_numpy(), listeners)
        smoothing = FeatureSmoothing(job.sizes.lstm) if smooth else None
        learners[emotion] = Learner(
            network, training.learning_rate, training.average, loss, training.warmup, smoothing
        )
    return learners


def _require_plain_trunk(job: Job, setting: str) -> None:
    network = initial(job, "all emotions")
    if not network.has_plain_trunk:
        raise ValueError(
            f"{setting}: {type(network).__name__} computes its shares in steps of its own: "
            + ("train its networks separately" if setting == "shared_trunk" else "set another loss")
        )


def _shares(job: Job, split: str, order: np.random.Generator) -> pd.DataFrame:
    """The shares that training sees of a split: a row per clip_id, a column per emotion."""
    shares = job.corpus.shares(split)
    if job.training.shuffle_shares:
        shares = order.permuted(shares, axis=0)
    return pd.DataFrame(shares, job.corpus.split(split)["clip_id"], list(job.corpus.emotions))


def initial(job: Job, emotion: str) -> Regressor:
    """A network with the initial weights that the seed and the emotion's name fix."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(checksum(f"{job.seed} {emotion}".encode()), 16))
        return build(job.architecture, job.store.width, job.sizes)


def _draw(
    job: Job, order: np.random.Generator, n_clips: int
) -> tuple[Iterator[np.ndarray], np.ndarray | None]:
    """The batches of an epoch in random order, and a random shift for each clip, if any."""
    batches = in_batches(order.permutation(n_clips), job.training.batch_size)
    shift = job.training.shift if job.encoder in MEL_BANDS else 0
    return batches, order.uniform(-shift, shift, n_clips) if shift else None


def _judge(
    learner: Learner, shares: pd.Series, prediction: np.ndarray, epoch: int, select: str
) -> dict[str, float]:
    """Judge a network on devel after `epoch`; returns rho and the metric that selects."""
    found = {
        name: METRICS[name].function(shares.to_numpy(), prediction)
        for name in dict.fromkeys(["rho", select])
    }
    value = found[select] if METRICS[select].higher_is_better else -found[select]
    learner.stopping.judge(value, epoch)
    return {f"devel_{name}": value for name, value in found.items()}
