"""Recalibration: no rank changes, and shares fit those of train again."""

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from tiny import train, train_until, weights

from emoshare_utils.models.regressor import Sizes
from emoshare_utils.results.metrics import spearman
from emoshare_utils.training.recalibration import SLOPES, fit_line
from emoshare_utils.training.settings import Training
from emoshare_utils.training.systems import train_system


@pytest.fixture(scope="module")
def made(tmp_path_factory, heard):
    return heard(tmp_path_factory.mktemp("features"), train=60, devel=20, test=10)


def test_the_line_is_that_of_a_logistic_regression_on_votes():
    rng = np.random.default_rng(0)
    predictions = rng.uniform(0.4, 0.9, 200)
    true = expit(3 * logit(predictions) - 4)
    shares = rng.binomial(10, true) / 10
    a, c = fit_line(predictions, shares)
    z = logit(predictions)
    votes = LogisticRegression(C=np.inf, tol=1e-10).fit(
        np.tile(z, 2)[:, None], np.repeat([1, 0], 200), np.concatenate([shares, 1 - shares])
    )
    assert a == pytest.approx(votes.coef_.item(), rel=1e-3)
    assert c == pytest.approx(votes.intercept_.item(), rel=1e-3)
    assert abs(a - 3) < 0.5


def test_a_line_never_turns_ranks_round_and_takes_what_is_certain():
    turned = fit_line(np.array([0.1, 0.5, 0.9]), np.array([0.9, 0.5, 0.1]))[0]
    assert turned == pytest.approx(SLOPES[0])  # as flat as it may be
    assert np.isfinite(fit_line(np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.5]))).all()
    a, c = fit_line(np.full(5, 0.3), np.full(5, 0.8))
    assert expit(a * logit(0.3) + c) == pytest.approx(0.8, abs=1e-3)


def test_ranks_stay_and_shares_come_nearer(made, tmp_path, monkeypatch):
    asked = {"loss": "soft_rank", "epochs": 6, "average": 0.5}
    plain = train(made, tmp_path / "plain", **asked)
    found = train(made, tmp_path / "recalibrated", recalibrate=True, **asked)
    both = plain.predictions.merge(
        found.predictions, on=["emotion", "split", "clip_id", "share"], suffixes=("", "_line")
    ).query("split == 'devel'")
    for _, rows in both.groupby("emotion"):
        assert spearman(rows["prediction"].to_numpy(), rows["prediction_line"].to_numpy()) == 1
    error = [(both[x] - both["share"]).abs().mean() for x in ("prediction", "prediction_line")]
    assert error[1] < error[0]
    for name, tensor in weights(found).items():  # all but the last layer stays
        assert torch.equal(tensor, weights(plain)[name]) != name.startswith("ffnn.share")
    train_until(2, made, tmp_path / "cut", monkeypatch, recalibrate=True, **asked)
    resumed = train(made, tmp_path / "cut", recalibrate=True, **asked)
    for name, tensor in weights(found).items():
        assert torch.equal(tensor, weights(resumed)[name])


def test_it_needs_a_sigmoid(made, tmp_path):
    corpus, store = made
    with pytest.raises(ValueError, match="recalibrate needs sizes.output = 'sigmoid', not 'relu'"):
        train_system(
            corpus, store, 1, 0, tmp_path, Sizes(output="relu"), Training(recalibrate=True), "cpu"
        )
