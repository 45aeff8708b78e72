"""The paper's tables computed again, and the intervals of a normal model."""

import numpy as np
import pytest
from scipy import stats

from emoshare_utils.studies import paper_table as paper

NAMES = ["wav2vec2-base", "wav2vec2-large", "hubert-base", "hubert-large", "mfcc"]


def test_the_means_of_table_1():
    means = paper.means()
    assert list(means["encoder"].unique()) == [*NAMES, "baseline"] and len(means) == 11
    expected = [0.4176, 0.4259, 0.2498, 0.2470, 0.4941, 0.5021, 0.5170, 0.5217, 0.2900, 0.2451]
    assert list(means["mean"].round(4)) == [*expected, 0.4997]
    assert list(means["architecture"].dropna()) == [1, 2] * 5


def test_table_2_is_the_better_architecture_per_emotion_and_274_is_nothing():
    table = paper.readings().set_index("encoder")
    assert list(table.index) == NAMES
    assert list(table["better_per_emotion"].round(4)) == [0.4261, 0.2813, 0.5021, 0.5231, 0.2993]
    assert list(table["printed"]) == [0.425, 0.274, 0.502, 0.523, 0.299]
    assert table["derived"].to_dict() == {
        "wav2vec2-base": "Architecture 2",  # .4259, cut off
        "wav2vec2-large": "none",
        "hubert-base": "Architecture 2; better per emotion",
        "hubert-large": "better per emotion",
        "mfcc": "better per emotion",
    }


def test_the_percentages():
    large = paper.changes().set_index("encoder").loc["hubert-large"]
    assert large["printed"] == 4.6
    assert round(large["better_per_emotion_printed_baseline"], 1) == 4.6
    assert round(large["architecture_2_column_baseline"], 1) == 4.4
    assert round(large["architecture_2_printed_baseline"], 1) == 4.3
    gaps = paper.gaps().set_index(["encoder", "against"])
    gains = [gaps.loc[(name, "Architecture 1"), "change_percent"] for name in NAMES]
    assert np.round(gains, 1).tolist() == [2.0, -1.1, 1.6, 0.9, -15.5]
    assert gaps.loc[("hubert-large", "Architecture 1"), "gap"] == pytest.approx(0.0047, abs=5e-5)
    baseline = gaps.loc[("hubert-large", "Baseline")]
    assert (baseline["gap"].round(4), baseline["change_percent"].round(1)) == (0.022, 4.4)


def test_one_emotions_interval_is_about_15_thousandths():
    low, high = paper.fisher_interval(0.5)
    assert (high - low) / 2 == pytest.approx(0.015, abs=5e-4)
    z = np.arctanh(0.5) + 1.96 * 1.03 / np.sqrt(9925 - 3)
    assert high == pytest.approx(np.tanh(z), abs=1e-4)
    narrow = paper.fisher_interval(0.5, confidence=0.5)
    assert low < narrow[0] < 0.5 < narrow[1] < high


def test_the_interval_holds_rho_as_often_as_it_says():
    rng, rho, n = np.random.default_rng(0), 0.4, 300
    r = 2 * np.sin(np.pi / 6 * rho)
    x, noise = rng.standard_normal((2, 2000, n))
    y = r * x + np.sqrt(1 - r**2) * noise
    ranks = stats.rankdata([x, y], axis=2) - (n + 1) / 2
    found = (ranks[0] * ranks[1]).sum(1) / (ranks[0] ** 2).sum(1)
    bounds = np.array([paper.fisher_interval(value, n) for value in found])
    assert ((bounds[:, 0] < rho) & (rho < bounds[:, 1])).mean() == pytest.approx(0.95, abs=0.015)


def test_systems_that_agree_differ_by_less_chance():
    far, near = (paper.difference_half_width(0.52, 0.517, rho, 2000, 150) for rho in (0.5, 0.95))
    one = np.diff(paper.fisher_interval(0.52, 2000)).item() / 2
    assert 0.2 * one < near < 0.5 * one < 0.8 * one < far < 1.42 * one
    again = paper.difference_half_width(0.52, 0.517, 0.95, 2000, 150)
    assert again == near
    wider = paper.difference_half_width(0.52, 0.517, 0.95, 500, 150)
    assert wider == pytest.approx(2 * near, rel=0.25)
    with pytest.raises(ValueError, match="between = -0.9: no two predictions"):
        paper.difference_half_width(0.52, 0.517, -0.9)


def test_the_simulated_difference_is_steigers_for_pearson():
    """Against the variance of a difference of two correlations with one variable in common."""
    a, b, c, n = 0.5, 0.45, 0.8, 1000
    covariance = c * (1 - a**2 - b**2) - a * b * (1 - a**2 - b**2 - c**2) / 2
    sd = np.sqrt(((1 - a**2) ** 2 + (1 - b**2) ** 2 - 2 * covariance) / n)
    found = paper.difference_half_width(a, b, c, n, draws=1500)
    assert found == pytest.approx(1.96 * sd, rel=0.12)  # ranks cost a little more
