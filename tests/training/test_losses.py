"""Losses: a batch-level one has the gradient of the whole batch, by any micro-batches."""

import numpy as np
import pytest
import torch
from scipy import special, stats
from tiny import QUICK, assert_same, job, train, train_until, weights

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.device import one_worker_per_core
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.models.layers import Standardise
from emoshare_utils.models.padding import pad
from emoshare_utils.models.regressor import Regressor
from emoshare_utils.results.metrics import METRICS
from emoshare_utils.training.batches import Loader, frame_statistics
from emoshare_utils.training.learner import Learner
from emoshare_utils.training.loop import initial
from emoshare_utils.training.losses import LOSSES, BetaBinomial, ccc, derivative, mse
from emoshare_utils.training.settings import Training
from emoshare_utils.training.steps import step

BATCH = 36
CCC = Training(**vars(QUICK) | {"loss": "ccc"})


@pytest.fixture(scope="module")
def made(tmp_path_factory, heard) -> tuple[Corpus, FeatureStore]:
    corpus, store = heard(tmp_path_factory.mktemp("features"), train=BATCH, devel=14, test=10)
    return corpus.with_clips(corpus.clips.assign(n_raters=9)), store


def lively(made) -> Regressor:
    """A network whose predictions differ from clip to clip."""
    torch.manual_seed(0)
    network = initial(job(made, 2), "Anger")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return network


def both(made, clips: int, precision=torch.float32) -> tuple[list, list]:
    """The gradient by micro-batches of so many `clips`, and that of the whole batch."""
    corpus, store = made
    network, shares = lively(made), torch.rand(BATCH)
    loader = Loader(store, Standardise(5), precision, None, clips, torch.device("cpu"))
    clip_ids = corpus.split("train")["clip_id"].to_numpy()
    learner, taken = Learner(network, 1e-3, loss=ccc), []
    learner.update = lambda part: taken.extend(part[0])
    with one_worker_per_core() as pool:
        step(pool, [learner], loader.micro_batches(clip_ids), shares[:, None])
    features, lengths = pad([store.frames(clip) for clip in clip_ids])
    loss = ccc(network.regress(features.to(precision), lengths), shares)
    return taken, list(torch.autograd.grad(loss, list(network.parameters())))


def test_ccc_is_one_minus_lins_coefficient():
    rng = np.random.default_rng(0)
    predictions, shares = rng.random((2, 50))
    found = ccc(torch.tensor(predictions), torch.tensor(shares))
    assert found.item() == pytest.approx(1 - METRICS["ccc"].function(shares, predictions))


def test_ccc_of_one_value_everywhere_has_a_finite_gradient():
    _, slopes = derivative(ccc, torch.full((4,), 0.5), torch.full((4,), 0.5))
    assert slopes.isfinite().all()


@pytest.mark.parametrize("clips", [1, 5, BATCH])
def test_the_gradient_of_a_batch_level_loss_is_that_of_the_whole_batch(made, clips):
    found, whole = both(made, clips)
    assert min(x.abs().max() for x in whole) > 1e-4
    torch.testing.assert_close(found, whole, atol=1e-6, rtol=0)


def test_micro_batches_of_a_batch_level_loss_are_not_losses_of_their_own(made):
    """What averaging the loss over micro-batches would give is another gradient."""
    corpus, store = made
    network, shares = lively(made), torch.rand(BATCH)
    clip_ids, losses = corpus.split("train")["clip_id"].to_numpy(), []
    for rows in np.array_split(np.arange(BATCH), 7):
        features, lengths = pad([store.frames(clip) for clip in clip_ids[rows]])
        losses.append(ccc(network.regress(features, lengths), shares[rows]) * len(rows) / BATCH)
    naive = torch.autograd.grad(sum(losses), list(network.parameters()))
    found, _ = both(made, 5)
    assert max((a - b).abs().max() for a, b in zip(naive, found)) > 1e-4


def test_in_bfloat16_it_is_that_of_the_whole_batch_to_its_precision(made):
    found, whole = both(made, 5, torch.bfloat16)
    _, exact = both(made, 5)
    found, whole, exact = (torch.cat([x.flatten() for x in each]) for each in (found, whole, exact))
    assert 0 < (found - whole).norm() < (whole - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_steps_are_adam_on_the_batch_level_loss(made, tmp_path, average):
    corpus, store = made
    settings = {"average": average, "batch_size": BATCH, "epochs": 3, "start_at_mean": False}
    system = train(made, tmp_path, settings=CCC, **settings)
    network = initial(job(made), "Anger")
    clips = corpus.split("train")
    network.standardise.fit(*frame_statistics(store, clips["clip_id"].to_numpy()))
    mean = [parameter.detach().clone() for parameter in network.parameters()]
    optimiser = torch.optim.Adam(network.parameters(), lr=QUICK.learning_rate)
    features, lengths = pad([store.frames(clip) for clip in clips["clip_id"]])
    shares = torch.tensor(clips["Anger"].to_numpy(), dtype=torch.float32)
    history = system.history[system.history["emotion"] == "Anger"].set_index("epoch")
    for epoch in range(1, 1 + history["devel_rho"].idxmax()):
        predictions = network(features, lengths)
        loss = ccc(predictions, shares)
        assert history.loc[epoch, "train_loss"] == pytest.approx(loss.item(), rel=1e-4)
        expected = mse(predictions, shares).item()
        assert history.loc[epoch, "train_mse"] == pytest.approx(expected, rel=1e-4)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        kept = min(average, (1 + epoch) / (10 + epoch))
        mean = [kept * a + (1 - kept) * b.detach() for a, b in zip(mean, network.parameters())]
    found = weights(system)
    for (name, _), expected in zip(network.named_parameters(), mean):
        torch.testing.assert_close(found[name], expected, atol=1e-5, rtol=0, msg=name)


def test_it_learns_and_history_has_its_loss_where_it_is_not_the_mean_squared_error(made, tmp_path):
    history = train(made, tmp_path / "ccc", settings=CCC, epochs=25).history
    rows = history[history["emotion"] == "Anger"]
    assert rows["train_loss"].iloc[-1] < 0.5 < rows["train_loss"].iloc[0]
    assert rows["devel_rho"].max() > 0.7
    plain = train(made, tmp_path / "mse", epochs=1).history
    assert "train_loss" not in plain and "train_mse" in plain


def test_a_loss_registered_outside_trains(made, tmp_path, monkeypatch):
    monkeypatch.setattr(LOSSES, "entries", dict(LOSSES.entries))
    with pytest.raises(ValueError, match="loss = 'mae': "):
        Training(loss="mae")
    with pytest.raises(ValueError, match="loss = 'ccc2': did you mean 'ccc'"):
        Training(loss="ccc2")
    # additive: the batch-level way gives the steps of the mean squared error
    LOSSES.register("mae", lambda predictions, shares: (predictions - shares).abs().mean())
    LOSSES.register("again", lambda predictions, shares: (predictions - shares).square().mean())
    assert train(made, tmp_path / "mae", loss="mae").history["train_loss"].notna().all()
    same, again = (train(made, tmp_path / loss, loss=loss) for loss in ("mse", "again"))
    assert_same(weights(same), weights(again), atol=1e-5)
    assert again.history["train_loss"].to_numpy() == pytest.approx(
        again.history["train_mse"].to_numpy(), rel=1e-5
    )


# The other losses, each against a plain reference


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.uniform(0.02, 0.98, 40), np.round(rng.beta(0.6, 2, 40) * 9) / 9


def value(loss, pair):
    return LOSSES[loss](*map(torch.tensor, pair)).item()


def test_poisson_over_emotions_is_the_multinomial_and_a_term_for_the_sum():
    rng = np.random.default_rng(0)
    shares, p = rng.multinomial(9, [0.5, 0.3, 0.2], 40) / 9, rng.uniform(0.01, 0.9, (40, 3))
    found = sum(value("poisson", pair) for pair in zip(p.T, shares.T))
    total = p.sum(1)
    multinomial = -(shares * np.log(p / total[:, None])).sum(1)
    assert found == pytest.approx((multinomial + total - np.log(total)).mean(), rel=1e-5)
    _, slopes = derivative(LOSSES["poisson"], torch.zeros(3), torch.tensor([0.0, 0.5, 1.0]))
    assert slopes.isfinite().all() and slopes[2] < slopes[1] < 0 < slopes[0]


def test_binomial_is_the_votes_likelihood(pair):
    p, y = pair
    constant = stats.binom.logpmf(9 * y, 9, y)  # what no prediction changes, and the best there is
    at_best = np.where(
        (y > 0) & (y < 1), y * np.log(y.clip(1e-9)) + (1 - y) * np.log1p(-y.clip(0, 1 - 1e-9)), 0
    )
    expected = -(stats.binom.logpmf(np.round(9 * y), 9, p) - constant) / 9 - at_best
    assert value("binomial", pair) == pytest.approx(expected.mean())


@pytest.mark.parametrize("alike", [False, True])
def test_beta_binomial_is_scipys_with_the_concentration_of_the_batch(pair, alike):
    p, y = pair
    y = y if alike else np.random.default_rng(2).binomial(9, p) / 9
    spread = sum((9 * y - 9 * p) ** 2) / sum(9 * p * (1 - p))
    r = min(max((spread - 1) / 8, 1e-3), 1 - 1e-3)
    c = 1 / r - 1
    k = np.round(9 * y)
    expected = stats.betabinom.logpmf(k, 9, p * c, (1 - p) * c) - np.log(special.comb(9, k))
    found = BetaBinomial.of(*map(torch.tensor, (p, y)), 9.0).item()
    assert found == pytest.approx(-expected.mean() / 9)
    assert r > 0.2 if alike else r < 0.05
    plain = value("binomial", (p, y))
    assert found < plain - 0.05 if alike else found == pytest.approx(plain, abs=0.02)


def test_one_clip_that_seemed_certain_does_not_make_all_votes_alike():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.9, 64)
    y = rng.binomial(9, p) / 9
    certain = np.r_[p[:-1], 1e-4], np.r_[y[:-1], 1 / 9]
    slopes = [
        derivative(lambda a, b: BetaBinomial.of(a, b, 9.0), *map(torch.tensor, pair))[1]
        for pair in ((p, y), certain)
    ]
    torch.testing.assert_close(slopes[0][:-1], slopes[1][:-1], atol=0.002, rtol=0.2)


def test_beta_binomial_needs_to_know_how_many_listened(made, tmp_path):
    corpus, store = made
    _, slopes = derivative(
        LOSSES["beta_binomial"].fit_votes(np.array([9, np.nan, 9])),
        torch.zeros(3),
        torch.tensor([0.0, 0.5, 1.0]),
    )
    assert slopes.isfinite().all() and slopes[2] < slopes[1] < 0
    unknown = corpus.with_clips(corpus.clips.drop(columns="n_raters"))
    one = corpus.with_clips(corpus.clips.assign(n_raters=1))
    for clips in (unknown, one):
        with pytest.raises(ValueError, match="needs the number of listeners of each clip"):
            train((clips, store), tmp_path, loss="beta_binomial")


def test_other_numbers_of_listeners_are_another_training(made, tmp_path, capsys):
    corpus, store = made
    train(made, tmp_path, loss="beta_binomial", epochs=1)
    fewer = corpus.with_clips(corpus.clips.assign(n_raters=5))
    train((fewer, store), tmp_path, loss="beta_binomial", epochs=1)
    assert "has other settings" in capsys.readouterr().out


def test_soft_ranks_become_spearmans_rho_where_predictions_lie_apart(pair):
    _, y = pair
    p = np.random.default_rng(1).permutation(
        np.linspace(0, 40, 40)
    )  # far apart for any temperature
    expected = 1 - stats.spearmanr(p, y).statistic
    assert value("soft_rank", (p, y)) == pytest.approx(expected, abs=1e-6)


def test_balanced_mse_by_a_plain_loop(pair):
    p, y = pair
    terms = []
    for i in range(40):
        logits = [-((p[i] - y[j]) ** 2) / 0.02 for j in range(40)]
        terms.append(-0.02 * (logits[i] - np.log(np.sum(np.exp(logits)))))
    assert value("balanced_mse", pair) == pytest.approx(np.mean(terms))


def test_smoothed_labels_weigh_rare_shares_more(pair):
    p, y = pair
    bins = [min(int(share * 20), 19) for share in y]
    counts = np.array([bins.count(b) for b in range(20)], float)
    kernel = np.array([np.exp(-(i**2) / 8) for i in range(-2, 3)])
    smooth = [
        sum(kernel[i + 2] * counts[b + i] for i in range(-2, 3) if 0 <= b + i < 20) / kernel.sum()
        for b in range(20)
    ]
    weights = np.array([1 / smooth[b] for b in bins])
    expected = (weights / weights.mean() * (p - y) ** 2).mean()
    loss = LOSSES["smoothed_labels"].fit(y)
    assert loss(*map(torch.tensor, pair)).item() == pytest.approx(expected, rel=1e-5)
    assert weights[y > 0.8].min() > weights[y == 0].max()


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_killed_training_resumes_to_the_same_weights_under_every_loss(
    made, tmp_path, monkeypatch, name
):
    whole = train(made, tmp_path / "whole", loss=name)
    train_until(2, made, tmp_path / "killed", monkeypatch, loss=name)
    resumed = train(made, tmp_path / "killed", loss=name)
    assert_same(weights(resumed), weights(whole))
    assert np.isfinite(whole.predictions["prediction"]).all()
    other = train(made, tmp_path / "mse")
    same = torch.equal(*(weights(one)["ffnn.share.weight"] for one in (whole, other)))
    assert same == (name == "mse")
