"""Tiny systems to train in tests."""

import pytest
import torch

from emoshare_utils.errors import Stopped
from emoshare_utils.models.regressor import Sizes
from emoshare_utils.training import checkpoints
from emoshare_utils.training.settings import Job, Training
from emoshare_utils.training.systems import load_network, train_system

SIZES = Sizes(cnn=(8, 8), lstm=8, ffnn_1=(8,), ffnn_2=(8,))
QUICK = Training(learning_rate=5e-3, batch_size=16, epochs=4, patience=9, start_at_mean=True)
EMOTIONS = ("Anger", "Boredom")


def job(made, architecture=1, seed=0) -> Job:
    return Job(*made, architecture, seed, SIZES, QUICK)


def train(made, models, architecture=1, seed=0, settings=QUICK, **changes):
    corpus, store = made
    settings = Training(**(vars(settings) | changes))
    return train_system(corpus, store, architecture, seed, models, SIZES, settings, "cpu")


def train_until(killed_after, made, models, monkeypatch, **changes):
    """`train`, interrupted after an epoch."""
    write = checkpoints.write

    def write_and_interrupt(folder, about, epoch, *rest):
        write(folder, about, epoch, *rest)
        if epoch == killed_after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="running it again resumes"):
        patch.setattr(checkpoints, "write", write_and_interrupt)
        train(made, models, **changes)


def weights(system, emotion="Anger"):
    return load_network(system.folder, emotion, 5).state_dict()


def assert_same(one: dict, other: dict, atol: float = 0.0):
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], atol=atol, rtol=0, msg=name)
