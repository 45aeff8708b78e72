"""The tables of results: every metric of every system, with intervals."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from emoshare_utils.results.metrics import METRICS, Metric, ccc
from emoshare_utils.results.scores import score

RNG = np.random.default_rng(0)
BOTH = ("Anger", "Calmness")


def tied(n: int, levels: int) -> np.ndarray:
    return RNG.integers(0, levels, n) / levels


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
    results, summary = score(table, ("Anger", "Boredom", "Calmness"), resamples=200)
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
    results, summary = score(table, ("Anger", "Calmness"), resamples=200)
    (row,) = summary.itertuples()
    assert row.mean_rho == pytest.approx(results["rho"].mean())
    assert row.ci_low < row.mean_rho < row.ci_high
    width = (results["ci_high"] - results["ci_low"]).mean()
    assert row.ci_high - row.ci_low < width  # a mean of two is surer than either


def test_results_have_intervals_over_speakers_mae_and_ccc(two_systems):
    table, speakers = two_systems(better_by=0.1, seeds=1)
    results, summary = score(table, BOTH, 200, speakers)
    for row in results.itertuples():
        assert row.ci_speakers_low < row.rho < row.ci_speakers_high
        rows = table[table["emotion"].eq(row.emotion) & table["architecture"].eq(row.architecture)]
        assert row.mae == pytest.approx((rows["share"] - rows["prediction"]).abs().mean())
        assert row.ccc == pytest.approx(ccc(*rows[["share", "prediction"]].to_numpy().T))
    assert (summary["ci_speakers_low"] < summary["mean_rho"]).all()
    assert (summary["n_speakers"] == 20).all()
    means = results.groupby("architecture")[["rho", "mae", "ccc"]].mean()
    np.testing.assert_allclose(summary[["mean_rho", "mean_mae", "mean_ccc"]], means)
    unknown = speakers.where(speakers != "s3")
    results, _ = score(table, BOTH, 20, unknown)
    assert results["ci_speakers_low"].isna().all() and results["ci_low"].notna().all()


COLUMNS = ["encoder", "architecture", "emotion", "seed", "split", "n", "rho", "ci_low", "ci_high"]
COLUMNS += ["ci_speakers_low", "ci_speakers_high", "mae", "ccc", "note"]


def test_a_metric_from_outside_has_columns_means_and_intervals_of_its_own(two_systems, monkeypatch):
    table, speakers = two_systems(better_by=0.1, seeds=1)
    before, _ = score(table, BOTH, 50, speakers)
    assert list(before.columns) == COLUMNS
    for name, interval in (("rmse", True), ("bias", False)):
        metric = Metric(rmse if interval else bias, name, higher_is_better=False, interval=interval)
        monkeypatch.setitem(METRICS.entries, name, metric)
    results, summary = score(table, BOTH, 50, speakers)
    bounds = ["rmse_ci_low", "rmse_ci_high", "rmse_ci_speakers_low", "rmse_ci_speakers_high"]
    assert list(results.columns) == [*COLUMNS[:-1], "rmse", *bounds, "bias", "note"]
    assert list(summary.columns)[-7:] == ["mean_rmse", *bounds, "mean_bias", "note"]
    pd.testing.assert_frame_equal(results[COLUMNS], before)
    for row in results.itertuples():
        rows = table[table["emotion"].eq(row.emotion) & table["architecture"].eq(row.architecture)]
        assert row.rmse == pytest.approx(((rows["share"] - rows["prediction"]) ** 2).mean() ** 0.5)
        assert row.rmse_ci_low < row.rmse < row.rmse_ci_high
        assert row.rmse_ci_speakers_low < row.rmse < row.rmse_ci_speakers_high
    means = results.groupby("architecture")["rmse"].mean()
    np.testing.assert_allclose(summary["mean_rmse"], means)
    assert (summary["rmse_ci_low"] < means.to_numpy()).all()
    widths = (results["rmse_ci_high"] - results["rmse_ci_low"]).groupby(results["architecture"])
    assert (summary["rmse_ci_high"] - summary["rmse_ci_low"] < widths.mean().to_numpy()).all()


def rmse(shares: np.ndarray, predictions: np.ndarray) -> float:
    return float(((shares - predictions) ** 2).mean() ** 0.5)


def bias(shares: np.ndarray, predictions: np.ndarray) -> float:
    return float((predictions - shares).mean())
