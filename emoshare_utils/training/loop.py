"""The epochs of one system: all its networks, side by side."""

import time
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.device import give_memory_back, one_worker_a_core
from emoshare_utils.features.acoustic import MEL_BANDS
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.models.architectures import Sizes
from emoshare_utils.models.layers import Standardise
from emoshare_utils.progress import track
from emoshare_utils.results.metrics import spearman
from emoshare_utils.studies.released_code import build
from emoshare_utils.training import checkpoints
from emoshare_utils.training.batches import frame_statistics
from emoshare_utils.training.learner import Learner, step
from emoshare_utils.training.predictions import _batches, _is_large, _loader, _predict
from emoshare_utils.training.settings import Training


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


def _initial(architecture: int, width: int, sizes: Sizes, seed: int, emotion: str) -> nn.Module:
    """A network whose weights the seed and the emotion's name fix."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(f"{seed} {emotion}".encode()))
        return build(architecture, width, sizes)
