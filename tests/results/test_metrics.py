"""Spearman's rho against scipy, and the other metrics."""

import numpy as np
import pytest
from scipy import stats

from emoshare_utils.names import UnknownName
from emoshare_utils.results.metrics import METRICS, ccc, rho_per_clip, spearman

RNG = np.random.default_rng(0)


def tied(n: int, levels: int) -> np.ndarray:
    return RNG.integers(0, levels, n) / levels


@pytest.mark.parametrize("levels", [3, 10, 10_000])
def test_spearman_is_scipys_ties_included(levels):
    x, y = tied(200, levels), tied(200, levels)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


@pytest.mark.filterwarnings("error")
def test_a_constant_has_no_rho():
    assert np.isnan(spearman(tied(20, 5), np.full(20, 0.3)))
    assert np.isnan(spearman(np.zeros(20), tied(20, 5)))


def test_ccc_is_lins():
    x = np.array([0.1, 0.4, 0.2, 0.9])
    assert ccc(x, x) == pytest.approx(1)
    assert ccc(x, 1 - x) == pytest.approx(
        2 * np.cov(x, 1 - x, ddof=0)[0, 1] / (2 * x.var() + (2 * x.mean() - 1) ** 2)
    )
    assert ccc(x, x + 1) < ccc(x, x + 0.1) < 1  # rho would not see it
    assert np.isnan(ccc(np.ones(3), np.ones(3)))


def test_rho_per_clip_is_across_emotions():
    shares, predictions = RNG.random((5, 9)), RNG.random((5, 9))
    found = rho_per_clip(shares, predictions)
    expected = [stats.spearmanr(*pair).statistic for pair in zip(shares, predictions)]
    np.testing.assert_allclose(found, expected)
    shares[2] = 0.5
    assert list(np.isnan(rho_per_clip(shares, predictions))) == [False] * 2 + [True] + [False] * 2


def test_the_registry_says_which_way_is_better():
    shares, good, bad = RNG.random((3, 50))
    good = shares + 0.1 * good
    for metric in METRICS.values():
        better = metric.function(shares, good) > metric.function(shares, bad)
        assert better == metric.higher_is_better
    assert list(METRICS)[:3] == ["rho", "mae", "ccc"]
    with pytest.raises(UnknownName, match="metric = 'rhoo': did you mean 'rho'"):
        METRICS["rhoo"]
