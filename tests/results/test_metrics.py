"""Spearman's rho against scipy, its bootstrap, and the tables of results."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from emoshare_utils.results.bootstrap import bootstrap, interval
from emoshare_utils.results.comparisons import compare
from emoshare_utils.results.metrics import ccc, rho_per_clip, spearman
from emoshare_utils.results.scores import results

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


def resampled(seed: int, number: int, units: int) -> np.ndarray:
    return np.random.default_rng([seed, number]).integers(0, units, units)


@pytest.mark.parametrize("decimals", [1, 2, 9], ids=["many ties", "some ties", "no ties"])
def test_bootstrap_is_rho_of_resampled_clips(decimals):
    shares = np.stack([tied(80, 4), RNG.random(80)], axis=1)
    predictions = RNG.random((3, 80, 2)).round(decimals)
    ours = bootstrap(shares, predictions, resamples=4, seed=5)
    assert ours.shape == (4, 3, 2)
    for number, system, emotion in product(range(4), range(3), range(2)):
        clips = resampled(5, number, 80)
        x, y = shares[clips, emotion], predictions[system, clips, emotion]
        expected = stats.spearmanr(x, y).statistic
        assert ours[number, system, emotion] == pytest.approx(expected, abs=1e-12)


def test_speakers_are_drawn_with_all_their_clips():
    speakers = np.array(["a", "b", "c", "d", "e"])[RNG.integers(0, 5, 60)]
    shares, predictions = tied(60, 4)[:, None], RNG.random((1, 60, 1)).round(2)
    ours = bootstrap(shares, predictions, 4, seed=5, speakers=speakers)
    for number, rho in enumerate(ours[:, 0, 0]):
        drawn = [np.flatnonzero(speakers == "abcde"[i]) for i in resampled(5, number, 5)]
        clips = np.concatenate(drawn)
        expected = stats.spearmanr(shares[clips, 0], predictions[0, clips, 0]).statistic
        assert rho == pytest.approx(expected, abs=1e-12)


@pytest.mark.filterwarnings("error")
def test_a_constant_resample_has_no_rho():
    shares, predictions = np.array([[0.0], [1.0]]), np.array([[[0.2], [0.7]]])
    rhos = bootstrap(shares, predictions, resamples=200)
    assert np.isnan(rhos).any() and (rhos[np.isfinite(rhos)] == 1).all()
    assert np.isnan(bootstrap(shares, np.full((1, 2, 1), 0.3), 50)).all()
    predictions[0, 0, 0] = np.nan
    assert np.isnan(bootstrap(shares, predictions, 50)).all()


def test_bootstrap_does_not_depend_on_how_it_is_chunked(monkeypatch):
    shares, predictions = RNG.random((50, 2)), RNG.random((1, 50, 2))
    whole = bootstrap(shares, predictions, resamples=40)
    monkeypatch.setattr(metrics, "_CHUNK", 50 * 7)
    np.testing.assert_array_equal(bootstrap(shares, predictions, resamples=40), whole)


def voices(rng: np.random.Generator, n_speakers: int, clips_each: int, own: float) -> tuple:
    """Speakers, shares and predictions; `own` is what a speaker's clips have in common."""
    speakers = np.repeat(np.arange(n_speakers), clips_each)
    common = np.repeat(rng.normal(0, own, (n_speakers, 2)), clips_each, axis=0)
    share = rng.normal(size=len(speakers)) + common[:, 0]
    return speakers, share, 0.6 * share + rng.normal(size=len(speakers)) + common[:, 1]


def coverage(n_speakers: int, own: float, repetitions: int = 150) -> dict[str, float]:
    """How often the 95 % intervals over clips and over speakers hold the true rho."""
    true = spearman(*voices(np.random.default_rng(99), 20_000, 10, own)[1:])
    covered = {"clips": 0, "speakers": 0}
    for repetition in range(repetitions):
        speakers, x, y = voices(np.random.default_rng(repetition), n_speakers, 10, own)
        for over, groups in (("clips", None), ("speakers", speakers)):
            rhos = bootstrap(x[:, None], y[None, :, None], 150, repetition, groups)
            units = len(x) if groups is None else n_speakers
            low, high = interval(rhos[:, 0, 0], units)
            covered[over] += low <= true <= high
    return {over: count / repetitions for over, count in covered.items()}


def test_intervals_cover_the_true_rho_about_95_times_in_100():
    alike = coverage(n_speakers=40, own=0.0)
    assert 0.91 <= alike["clips"] <= 0.98 and 0.91 <= alike["speakers"] <= 0.98


def test_where_a_speakers_clips_are_alike_only_the_interval_over_speakers_covers():
    own_voice = coverage(n_speakers=40, own=1.0)
    assert own_voice["clips"] < 0.80
    assert 0.90 <= own_voice["speakers"] <= 0.98


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
    results, summary = results(table, ("Anger", "Boredom", "Calmness"), resamples=200)
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
    results, summary = results(table, ("Anger", "Calmness"), resamples=200)
    (row,) = summary.itertuples()
    assert row.mean_rho == pytest.approx(results["rho"].mean())
    assert row.ci_low < row.mean_rho < row.ci_high
    width = (results["ci_high"] - results["ci_low"]).mean()
    assert row.ci_high - row.ci_low < width  # a mean of two is surer than either


def two_systems(better_by: float, seeds: int = 2) -> tuple[pd.DataFrame, pd.Series]:
    """Architecture 1 and 2 on the same 200 clips of 20 speakers; the second has less noise."""
    rng, n = np.random.default_rng(1), 200
    share, hard = {e: rng.random(n) for e in ("Anger", "Calmness")}, rng.normal(0, 0.3, n)
    tables = []
    for architecture, noise in ((1, 0.1 + better_by), (2, 0.1)):
        for seed in range(seeds):
            for emotion in share:
                predicted = share[emotion] + hard + rng.normal(0, noise, n)
                about = {"encoder": "fbank", "architecture": architecture, "seed": seed}
                columns = {"clip_id": np.arange(n), "share": share[emotion]}
                table = pd.DataFrame(columns | {"prediction": predicted, "emotion": emotion})
                tables.append(table.assign(**about, split="devel"))
    speakers = pd.Series([f"s{i % 20}" for i in range(n)], index=np.arange(n))
    return pd.concat(tables, ignore_index=True), speakers


def test_an_interval_over_few_units_is_as_wide_as_students():
    normal = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    assert interval(normal) == pytest.approx(stats.norm.interval(0.95), abs=0.01)
    low, high = interval(normal, 8)
    assert (
        -low
        == pytest.approx(high)
        == pytest.approx(stats.t.ppf(0.975, 7) * (8 / 7) ** 0.5, abs=0.01)
    )
    assert interval(normal, 10_000) == pytest.approx(interval(normal), abs=0.01)
    assert np.isnan(interval(np.full(3, np.nan), 8)).all()


ONE, TWO = ("fbank", 1), ("fbank", 2)
DIFFERENCE = {"1 - 2": {ONE: 1, TWO: -1}}
BOTH = ("Anger", "Calmness")


def test_paired_differences_are_surer_than_the_systems_intervals():
    table, speakers = two_systems(better_by=0.15)
    found = compare(table, BOTH, DIFFERENCE, resamples=400, speakers=speakers)
    (row,) = found.itertuples()
    _, summary = results(table, BOTH, 400, speakers)
    means = summary.groupby("architecture")["mean_rho"].mean()
    assert (row.contrast, row.split, row.n, row.n_speakers, row.seeds) == (
        *("1 - 2", "devel"),
        *(200, 20, 2),
    )
    assert row.difference == pytest.approx(means[1] - means[2])
    assert row.ci_low < row.difference < row.ci_high < 0
    assert row.ci_speakers_low < row.difference < row.ci_speakers_high < 0 and row.sign == -1
    one = summary[summary["architecture"] == 1].iloc[0]
    assert row.ci_high - row.ci_low < one["ci_high"] - one["ci_low"]


def test_a_difference_resamples_both_systems_alike_and_averages_seeds():
    table, _ = two_systems(better_by=0.15)
    (row,) = compare(table, BOTH, DIFFERENCE, resamples=50).itertuples()
    wide = table.pivot(
        index="clip_id", columns=["architecture", "seed", "emotion"], values="prediction"
    )
    shares = table[(table["architecture"] == 1) & (table["seed"] == 0)]
    shares = shares.pivot(index="clip_id", columns="emotion", values="share")
    differences = []
    for number in range(50):
        clips = resampled(0, number, 200)
        rhos = {
            (architecture, seed, emotion): stats.spearmanr(
                shares[emotion].iloc[clips], wide[architecture, seed, emotion].iloc[clips]
            ).statistic
            for architecture, seed, emotion in wide.columns
        }
        differences.append(
            np.mean([rhos[1, *rest] - rhos[2, *rest] for rest in product((0, 1), BOTH)])
        )
    assert (row.ci_low, row.ci_high) == pytest.approx(interval(np.array(differences), 200))


def test_equal_systems_are_not_told_apart():
    found = compare(two_systems(better_by=0.0)[0], BOTH, DIFFERENCE, resamples=400)
    assert found["ci_low"][0] < 0 < found["ci_high"][0]
    assert found["ci_speakers_low"].isna().all() and (found["n_speakers"] == 0).all()
    assert list(found["sign"]) == [0]
    assert compare(two_systems(better_by=0.0)[0], BOTH, {}).empty


def test_a_difference_on_one_speaker_alone_has_no_sign():
    table, speakers = two_systems(better_by=0.0, seeds=1)
    one = table[table["architecture"] == 1]
    noise = RNG.normal(0, 3, len(one)) * one["clip_id"].map(speakers).eq("s0").to_numpy()
    both = pd.concat([one.assign(prediction=one["prediction"] + noise), one.assign(architecture=2)])
    (row,) = compare(both, BOTH, DIFFERENCE, speakers=speakers).itertuples()
    assert row.ci_high < 0 == row.ci_speakers_high and row.sign == 0
    (row,) = compare(both, BOTH, DIFFERENCE).itertuples()
    assert row.sign == -1


def test_a_system_that_is_not_there_or_met_other_clips_is_not_compared():
    table, _ = two_systems(better_by=0.0)
    with pytest.raises(ValueError, match=r"'gone'.*\('mfcc', 1\).*\('fbank', 1\)"):
        compare(table, BOTH, {"gone": {ONE: 1, ("mfcc", 1): -1}})
    fewer = table[(table["architecture"] == 1) | (table["clip_id"] > 0)]
    with pytest.raises(ValueError, match="devel: 2 sets of clips.*03_training"):
        compare(fewer, BOTH, DIFFERENCE)


def test_results_have_intervals_over_speakers_mae_and_ccc():
    table, speakers = two_systems(better_by=0.1, seeds=1)
    results, summary = results(table, BOTH, 200, speakers)
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
    results, _ = results(table, BOTH, 20, unknown)
    assert results["ci_speakers_low"].isna().all() and results["ci_low"].notna().all()


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
