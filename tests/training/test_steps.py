"""The step of all emotions: joined or each by itself, the same networks."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import EMOTIONS, QUICK, assert_same, job, train, train_until, weights

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.device import one_worker_per_core
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.models.layers import Standardise
from emoshare_utils.models.padding import pad
from emoshare_utils.training import batches, predictions, steps
from emoshare_utils.training.batches import Loader
from emoshare_utils.training.learner import Learner
from emoshare_utils.training.loop import initial, new_learners
from emoshare_utils.training.losses import ccc, mse
from emoshare_utils.training.systems import load_network


@pytest.fixture(scope="module")
def made(tmp_path_factory, heard) -> tuple[Corpus, FeatureStore]:
    """60 clips whose first feature says how angry they sound; test labels are masked."""
    return heard(tmp_path_factory.mktemp("features"), train=36, devel=14, test=10)


def never(networks, features) -> bool:
    return False


@pytest.mark.parametrize("architecture", [1, 2, 3])
@pytest.mark.parametrize("loss", [mse, ccc])
@pytest.mark.parametrize("lstm_clips", [3, 10, 32])
@pytest.mark.parametrize("kept_bytes", [0, steps.KEPT_BYTES])
def test_a_joined_step_is_that_of_each_network(
    made, architecture, loss, lstm_clips, kept_bytes, monkeypatch
):
    corpus, store = made
    monkeypatch.setattr(steps, "KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(batches, "LSTM_CLIPS", lstm_clips)
    clip_ids, shares = corpus.split("train")["clip_id"].to_numpy(), torch.rand(36, 3)
    loader = Loader(store, Standardise(5), torch.float32, None, 5, torch.device("cpu"))
    micro_batches = loader.micro_batches(clip_ids)
    networks = [initial(job(made, architecture), name) for name in ("Anger", "Calmness", "a")]
    learners = [Learner(network, 1e-3, loss=loss) for network in networks]
    found = []
    monkeypatch.setattr(Learner, "update", lambda learner, part: found.append((learner, part)))
    with one_worker_per_core() as pool:
        steps.step(pool, learners, micro_batches, shares)
        loss_sums = [learner.loss_sum for learner in learners]
        monkeypatch.setattr(steps, "can_join", never)
        monkeypatch.setattr(predictions, "can_join", never)
        steps.step(pool, learners, micro_batches, shares)
    assert len(found) == 6
    for learner, loss_sum in zip(learners, loss_sums):
        joined, plain = (part for who, part in found if who is learner)
        torch.testing.assert_close(joined[0], plain[0], atol=1e-6, rtol=1e-4)
        assert joined[1] == pytest.approx(plain[1], rel=1e-5)
        assert learner.loss_sum == pytest.approx(2 * loss_sum, rel=1e-5)


@pytest.mark.parametrize("architecture", [1, 2, 3])
@pytest.mark.parametrize("loss", [mse, ccc])
@pytest.mark.parametrize("kept_bytes", [0, steps.KEPT_BYTES])
def test_a_shared_trunk_takes_the_step_of_one_network_with_a_head_per_emotion(
    made, architecture, loss, kept_bytes, monkeypatch
):
    corpus, store = made
    monkeypatch.setattr(steps, "KEPT_BYTES", kept_bytes)
    clip_ids, shares = corpus.split("train")["clip_id"].to_numpy(), torch.rand(36, 3)
    loader = Loader(store, Standardise(5), torch.float32, None, 5, torch.device("cpu"))
    shared = replace(QUICK, shared_trunk=True)
    tiny = replace(job(made, architecture), training=shared)
    frame = pd.DataFrame(shares.numpy(), clip_ids, ["Anger", "Calmness", "Joy"])
    learners = list(new_learners(tiny, frame, torch.device("cpu")).values())
    for learner in learners:
        learner.loss = loss
    plain = copy.deepcopy(learners[0].network)  # its trunk, and every learner's head
    heads = [copy.deepcopy(learner.network.ffnn) for learner in learners]
    features, lengths = pad([store.frames(clip) for clip in clip_ids])
    vector = plain.vector(*plain.cnn(features, lengths))
    sum(loss(head(vector), one) for head, one in zip(heads, shares.T)).backward()
    found = []
    monkeypatch.setattr(Learner, "update", lambda learner, part: found.append(part))
    with one_worker_per_core() as pool:
        steps.step(pool, learners, loader.micro_batches(clip_ids), shares, shared_trunk=True)
    errors = (torch.stack([head(vector) for head in heads], 1) - shares).square().sum(0)
    for (gradients, squared_error), head, error in zip(found, heads, errors, strict=True):
        expected = [x.grad for x in (*plain.trunk, *head.parameters())]
        torch.testing.assert_close(gradients, expected, atol=1e-5, rtol=1e-4)
        assert squared_error == pytest.approx(error.item(), rel=1e-5)


@pytest.mark.parametrize("shared_trunk", [False, True])
@pytest.mark.parametrize("joined", [False, True])
def test_a_step_on_smoothed_features_is_that_of_the_calibrated_vectors(
    made, shared_trunk, joined, monkeypatch
):
    torch.manual_seed(0)
    corpus, store = made
    clip_ids, shares = corpus.split("train")["clip_id"].to_numpy(), torch.rand(36, 3)
    asked = replace(QUICK, shared_trunk=shared_trunk, loss="smoothed_features")
    frame = pd.DataFrame(shares.numpy(), clip_ids, ["Anger", "Calmness", "Joy"])
    tiny = replace(job(made), training=asked)
    learners = list(new_learners(tiny, frame, torch.device("cpu")).values())
    features, lengths = pad([store.frames(clip) for clip in clip_ids])
    found, errors = [], []
    for learner, of_one in zip(learners, shares.T):
        learner.smoothing.update(torch.randn(200, 8) ** 2, np.random.default_rng(0).random(200))
        vectors = learner.network.vector(*learner.network.frames(features, lengths))
        predictions = learner.network.ffnn(learner.smoothing(vectors, of_one))
        errors.append((predictions - of_one).square().sum().item())
        plain = learner.network.ffnn(vectors)
        assert (plain - of_one).square().sum().item() != pytest.approx(errors[-1], rel=1e-3)
    monkeypatch.setattr(Learner, "update", lambda learner, part: found.append(part))
    if not joined:
        monkeypatch.setattr(steps, "can_join", never)
    loader = Loader(store, Standardise(5), torch.float32, None, 5, torch.device("cpu"))
    with one_worker_per_core() as pool:
        steps.step(pool, learners, loader.micro_batches(clip_ids), shares, shared_trunk)
    assert sorted(part[1] for part in found) == pytest.approx(sorted(errors), rel=1e-4)


def test_a_shared_trunk_resumes_to_the_same_weights_and_predicts_as_stored(
    made, tmp_path, monkeypatch
):
    whole = train(made, tmp_path / "whole", shared_trunk=True, loss="soft_rank")
    train_until(2, made, tmp_path / "cut", monkeypatch, shared_trunk=True, loss="soft_rank")
    resumed = train(made, tmp_path / "cut", shared_trunk=True, loss="soft_rank")
    for emotion in EMOTIONS:
        assert_same(weights(whole, emotion), weights(resumed, emotion))
    pd.testing.assert_frame_equal(whole.history, resumed.history)
    own = train(made, tmp_path / "own", loss="soft_rank")
    assert not torch.equal(
        weights(own)["cnn.convolutions.0.weight"], weights(whole)["cnn.convolutions.0.weight"]
    )
    corpus, store = made
    clips = corpus.split("devel")["clip_id"].to_numpy()
    features, lengths = pad([store.frames(clip) for clip in clips])
    for emotion in EMOTIONS:
        alone = load_network(whole.folder, emotion, 5)(features, lengths)
        rows = whole.predictions.query("emotion == @emotion and split == 'devel'")
        stored = rows.set_index("clip_id")["prediction"][clips].to_numpy()
        np.testing.assert_allclose(alone.detach().numpy(), stored, atol=1e-6)


def test_training_joined_gives_the_networks_of_plain_training(made, tmp_path, monkeypatch):
    joined = train(made, tmp_path / "joined")
    again = train(made, tmp_path / "again")
    assert_same(weights(joined), weights(again))
    monkeypatch.setattr(steps, "can_join", never)
    monkeypatch.setattr(predictions, "can_join", never)
    plain = train(made, tmp_path / "plain")
    assert_same(weights(joined), weights(plain), atol=1e-5)
    torch.testing.assert_close(
        torch.tensor(joined.predictions["prediction"]),
        torch.tensor(plain.predictions["prediction"]),
        atol=1e-5,
        rtol=0,
    )
