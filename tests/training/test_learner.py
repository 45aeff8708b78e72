"""A learner: its gradient, and the moving average of its weights."""

import copy
import math

import pytest
import torch
from tiny import job

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.models.layers import Standardise
from emoshare_utils.models.padding import pad
from emoshare_utils.training.batches import Loader
from emoshare_utils.training.learner import Learner
from emoshare_utils.training.loop import initial


@pytest.fixture(scope="module")
def made(tmp_path_factory, heard) -> tuple[Corpus, FeatureStore]:
    """60 clips whose first feature says how angry they sound; test labels are masked."""
    return heard(tmp_path_factory.mktemp("features"), train=36, devel=14, test=10)


@pytest.mark.parametrize("architecture", [1, 2, 3])
def test_the_gradient_of_micro_batches_is_the_gradient_of_the_batch(made, architecture):
    corpus, store = made
    network = initial(job(made, architecture), "Anger")
    clip_ids = corpus.split("train")["clip_id"].to_numpy()
    shares = torch.rand(36)
    features, lengths = pad([store.frames(clip) for clip in clip_ids])
    mse = torch.nn.functional.mse_loss(network(features, lengths), shares)
    whole = torch.autograd.grad(mse, list(network.parameters()))
    for clips in (1, 5, 36):
        reader = Loader(store, Standardise(5), torch.float32, None, clips, torch.device("cpu"))
        micro_batches = reader.micro_batches(clip_ids)
        assert len(micro_batches) == math.ceil(36 / clips)
        gradients, squared_error = Learner(network, 1.0).gradients(micro_batches, shares)
        torch.testing.assert_close(gradients, list(whole), atol=1e-7, rtol=1e-4)
        assert squared_error / 36 == pytest.approx(mse.item())


def test_averaged_weights_are_an_exponential_moving_average_over_the_steps(made):
    network = initial(job(made), "Anger")
    learner, plain = Learner(network, 1e-2, average=0.3), Learner(copy.deepcopy(network), 1e-2)
    expected = [parameter.detach().clone() for parameter in network.parameters()]
    for step in range(1, 7):
        gradient = [torch.full_like(parameter, (-1.0) ** step) for parameter in expected]
        for one in (learner, plain):
            one.update(([x.clone() for x in gradient], 0.0))
        kept = min(0.3, (1 + step) / (10 + step))
        expected = [kept * a + (1 - kept) * b for a, b in zip(expected, learner.parameters)]
    for found, mean, last in zip(learner.judged.parameters(), expected, learner.parameters):
        torch.testing.assert_close(found, mean)
        assert not torch.allclose(found, last)
    for one, other in zip(learner.parameters, plain.parameters):  # learning is the same
        torch.testing.assert_close(one, other)


def test_the_learning_rate_rises_over_the_warm_up_and_a_resumed_one_goes_on(made):
    network = initial(job(made), "Anger")
    gradient = [torch.ones_like(parameter) for parameter in network.parameters()]
    learner, rates, moved = Learner(network, 1e-2, warmup=4), [], []
    for _ in range(6):
        before = learner.parameters[0].detach().clone()
        learner.update(([x.clone() for x in gradient], 0.0))
        rates.append(learner.optimiser.param_groups[0]["lr"])
        moved.append((before - learner.parameters[0].detach()).mean().item())
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])
    assert moved == pytest.approx(rates, rel=1e-3)  # Adam moves by its rate along one gradient
    resumed = Learner(initial(job(made), "Anger"), 1e-2, warmup=10)
    resumed.restore(learner.tensors())
    resumed.update(([x.clone() for x in gradient], 0.0))
    assert resumed.optimiser.param_groups[0]["lr"] == pytest.approx(0.007)
