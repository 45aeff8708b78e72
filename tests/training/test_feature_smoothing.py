"""Feature-distribution smoothing: the method's equations, and training with it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import EMOTIONS, QUICK, assert_same, job, train, train_until, weights

from emoshare_utils.models.architectures import Architecture1
from emoshare_utils.training import predictions, steps
from emoshare_utils.training.feature_smoothing import FeatureSmoothing
from emoshare_utils.training.loop import new_learners


@pytest.fixture(scope="module")
def made(tmp_path_factory, heard):
    return heard(tmp_path_factory.mktemp("features"), train=36, devel=14, test=10)


def plain(z, y, seen):
    """Section 3.2 of Yang et al. (2021), clip by clip; `seen` are the epochs' (vectors, shares)."""
    bins = np.minimum((y * 20).astype(int), 19)
    means, variances, counts = {}, {}, {}
    for epoch, (vectors, shares) in enumerate(seen):
        own = np.minimum((shares * 20).astype(int), 19)
        for b in set(own.tolist()):
            m, n = vectors[own == b].mean(0), (own == b).sum()
            v = ((vectors[own == b] - m) ** 2).sum(0) / max(1, n - 1)
            counts[b] = n
            means[b] = m if epoch == 0 else 0.9 * means[b] + 0.1 * m
            variances[b] = v if epoch == 0 else 0.9 * variances[b] + 0.1 * v
    found = z.copy()
    for i, b in enumerate(bins):
        near = [n for n in range(b - 2, b + 3) if n in means]
        k = {n: np.exp(-((n - b) ** 2) / (2 * 2.0**2)) for n in near}
        several = [n for n in near if counts[n] > 1]
        m = sum(k[n] * means[n] for n in near) / sum(k[n] for n in near)
        v = sum(k[n] * variances[n] for n in several) / sum([k[n] for n in several] or [1])
        for w in range(z.shape[1]):
            if variances[b][w] > 1e-10:
                change = np.sqrt(np.clip(v[w] / variances[b][w], 0.1, 10))
                found[i, w] = change * (z[i, w] - means[b][w]) + m[w]
    return found


def test_it_calibrates_as_the_equations_say():
    rng = np.random.default_rng(0)
    once = np.array([0.45])  # a bin of one clip has no variance
    shares = rng.choice([0, 0.04, 0.1, 0.5, 0.58, 1.0], 300, p=[0.4, 0.2, 0.2, 0.1, 0.09, 0.01])
    shares = np.concatenate([shares[1:], once])
    seen = []
    for _ in range(3):
        vectors = rng.normal(shares[:, None], 0.1 + shares[:, None], (300, 4))
        vectors[:, 3] = 0.5  # a feature that never varies stays as it is
        vectors[shares == 0.5, 1] *= 30  # and a variance changes tenfold at most
        seen.append((vectors, shares))
    smoothing = FeatureSmoothing(4)
    for vectors, y in seen:
        smoothing.update(torch.tensor(vectors), y)
    z = torch.tensor(seen[-1][0], dtype=torch.float32)
    with_metadata = torch.cat([z, torch.ones(300, 2)], dim=1)
    found = smoothing(with_metadata, torch.tensor(shares))
    expected = plain(z.numpy().astype(float), shares, seen)
    np.testing.assert_allclose(found[:, :4], expected, atol=1e-4)
    assert not np.allclose(expected, z, atol=0.05)
    assert torch.equal(found[:, 4:], with_metadata[:, 4:])
    again = FeatureSmoothing(4)
    again.restore(smoothing.tensors())
    assert torch.equal(again(with_metadata, torch.tensor(shares)), found)


def test_vectors_stay_as_they_are_before_the_first_epoch_ends():
    z = torch.randn(5, 3)
    assert torch.equal(FeatureSmoothing(3)(z, torch.rand(5)), z)


def test_the_first_epoch_is_that_of_the_squared_error_and_the_next_is_not(made, tmp_path):
    for epochs, same in ((1, True), (3, False)):
        mse = train(made, tmp_path / f"mse{epochs}", epochs=epochs)
        found = train(made, tmp_path / f"fds{epochs}", epochs=epochs, loss="smoothed_features")
        equal = [torch.equal(x, weights(mse)[name]) for name, x in weights(found).items()]
        assert all(equal) == same


@pytest.mark.parametrize("shared_trunk", [False, True])
@pytest.mark.parametrize("average", [0.0, 0.5])
def test_it_resumes_to_the_same_weights(made, tmp_path, monkeypatch, shared_trunk, average):
    asked = {"loss": "smoothed_features", "shared_trunk": shared_trunk, "average": average}
    whole = train(made, tmp_path / "whole", **asked)
    train_until(2, made, tmp_path / "cut", monkeypatch, **asked)
    resumed = train(made, tmp_path / "cut", **asked)
    for emotion in EMOTIONS:
        assert_same(weights(whole, emotion), weights(resumed, emotion))
    pd.testing.assert_frame_equal(whole.history, resumed.history)


def test_joined_or_each_by_itself_it_trains_the_same_networks(made, tmp_path, monkeypatch):
    joined = train(made, tmp_path / "joined", loss="smoothed_features")
    for module in (steps, predictions):
        monkeypatch.setattr(module, "can_join", lambda networks, features: False)
    apart = train(made, tmp_path / "apart", loss="smoothed_features")
    assert_same(weights(joined), weights(apart), atol=1e-5)


@pytest.mark.parametrize("asked", [{"loss": "smoothed_features"}, {"shared_trunk": True}])
def test_an_architecture_of_its_own_steps_is_refused(made, monkeypatch, asked):
    monkeypatch.setattr(Architecture1, "regress", lambda *inputs: None, raising=False)
    own = replace(job(made), training=replace(QUICK, **asked))
    shares = pd.DataFrame(np.full((36, 2), 0.5), made[0].split("train")["clip_id"], list(EMOTIONS))
    setting = asked.get("loss", "shared_trunk")
    with pytest.raises(
        ValueError, match=f"^{setting}: Architecture1 computes its shares in steps of"
    ):
        new_learners(own, shares, torch.device("cpu"))
