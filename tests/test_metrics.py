"""Spearman's rho against scipy, its bootstrap, and the tables of results."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from emoshare_utils import metrics

RNG = np.random.default_rng(0)


def tied(n: int, levels: int) -> np.ndarray:
    return RNG.integers(0, levels, n) / levels


@pytest.mark.parametrize("levels", [3, 10, 10_000])
def test_spearman_is_scipys_ties_included(levels):
    x, y = tied(200, levels), tied(200, levels)
    assert metrics.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


@pytest.mark.filterwarnings("error")
def test_a_constant_has_no_rho():
    assert np.isnan(metrics.spearman(tied(20, 5), np.full(20, 0.3)))
    assert np.isnan(metrics.spearman(np.zeros(20), tied(20, 5)))


def test_bootstrap_is_rho_of_resampled_clips():
    shares, predictions = tied(80, 4)[:, None], RNG.random((80, 1)).round(1)
    ours = metrics.bootstrap(shares, predictions, resamples=3, seed=5)
    counts = np.random.default_rng(5).multinomial(80, np.full(80, 1 / 80), size=3)
    for rho, count in zip(ours[:, 0], counts):
        x, y = np.repeat(shares[:, 0], count), np.repeat(predictions[:, 0], count)
        assert rho == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_bootstrap_does_not_depend_on_how_it_is_chunked(monkeypatch):
    shares, predictions = RNG.random((50, 2)), RNG.random((50, 2))
    whole = metrics.bootstrap(shares, predictions, resamples=40)
    monkeypatch.setattr(metrics, "_CHUNK", 50 * 7)
    np.testing.assert_array_equal(metrics.bootstrap(shares, predictions, resamples=40), whole)


def test_interval_covers_the_true_rho_about_95_times_in_100():
    rho = 0.5
    covariance = [[1, 2 * np.sin(np.pi * rho / 6)], [2 * np.sin(np.pi * rho / 6), 1]]
    covered = 0
    for trial in range(200):
        rng = np.random.default_rng(trial)
        x, y = rng.multivariate_normal([0, 0], covariance, size=150).T
        low, high = metrics.interval(metrics.bootstrap(x[:, None], y[:, None], 300, trial)[:, 0])
        covered += low <= rho <= high
    assert 0.90 <= covered / 200 <= 0.99


def predictions(n: int = 60) -> pd.DataFrame:
    tables = []
    for split in ("devel", "test"):
        for emotion in ("Anger", "Calmness", "Boredom"):
            share = tied(n, 8)
            predicted = np.full(n, 0.1) if emotion == "Boredom" else share + RNG.normal(0, 0.3, n)
            tables.append(
                pd.DataFrame(
                    {
                        "encoder": "fbank",
                        "architecture": 1,
                        "emotion": emotion,
                        "seed": 0,
                        "split": split,
                        "clip_id": [f"{split}{i}" for i in range(n)],
                        "share": np.nan if split == "test" else share,
                        "prediction": predicted,
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def test_results_report_a_constant_prediction_and_skip_masked_labels():
    table = predictions()
    results, summary = metrics.results(table, ("Anger", "Boredom", "Calmness"), resamples=200)
    assert list(results["emotion"]) == ["Anger", "Boredom", "Calmness"]
    assert set(results["split"]) == {"devel"} == set(summary["split"])
    boredom = results.set_index("emotion").loc["Boredom"]
    assert np.isnan(boredom["rho"]) and boredom["note"] == "constant prediction"
    assert np.isnan(summary["mean_rho"]).all()  # not quietly the mean of the other two
    for row in results[results["note"] == ""].itertuples():
        rows = table[(table["emotion"] == row.emotion) & (table["split"] == "devel")]
        assert row.rho == pytest.approx(
            stats.spearmanr(rows["share"], rows["prediction"]).statistic
        )
        assert row.ci_low < row.rho < row.ci_high and row.n == 60


def test_mean_rho_and_its_interval():
    table = predictions()
    table = table[table["emotion"] != "Boredom"]
    results, summary = metrics.results(table, ("Anger", "Calmness"), resamples=200)
    (row,) = summary.itertuples()
    assert row.mean_rho == pytest.approx(results["rho"].mean())
    assert row.ci_low < row.mean_rho < row.ci_high
    width = (results["ci_high"] - results["ci_low"]).mean()
    assert row.ci_high - row.ci_low < width  # a mean of two is surer than either
