"""The bootstrap against resamples written out, and what its intervals cover."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from emoshare_utils.results import bootstrap as bootstrap_module
from emoshare_utils.results.bootstrap import bootstrap, interval, joint_interval
from emoshare_utils.results.metrics import mae, spearman

RNG = np.random.default_rng(0)


def tied(n: int, levels: int) -> np.ndarray:
    return RNG.integers(0, levels, n) / levels


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
    monkeypatch.setattr(bootstrap_module, "_VALUES_PER_CHUNK", 50 * 7)
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


def test_any_metric_gets_the_same_resamples():
    speakers = np.array(["a", "b", "c", "d"])[RNG.integers(0, 4, 30)]
    shares, predictions = RNG.random((30, 2)), RNG.random((3, 30, 2)).round(1)
    errors = bootstrap(shares, predictions, 5, seed=7, function=mae)
    for number, system, emotion in product(range(5), range(3), range(2)):
        clips = resampled(7, number, 30)
        expected = mae(shares[clips, emotion], predictions[system, clips, emotion])
        assert errors[number, system, emotion] == pytest.approx(expected)

    def rho(share: np.ndarray, prediction: np.ndarray) -> float:
        return spearman(share, prediction)

    for over in (None, speakers):
        fast = bootstrap(shares, predictions, 20, speakers=over)
        slow = bootstrap(shares, predictions, 20, speakers=over, function=rho)
        np.testing.assert_allclose(slow, fast, atol=1e-12)


def test_a_joint_interval_is_students_with_bonferronis_tail():
    rng = np.random.default_rng(0)
    values = rng.normal(0.1, 0.02, 500)
    low, high = joint_interval(0.1, np.append(values, np.nan), 5, 4)
    half = stats.t.ppf(1 - 0.025 / 4, 4) * values.std(ddof=1) * np.sqrt(5 / 4)
    assert (low, high) == (pytest.approx(0.1 - half), pytest.approx(0.1 + half))
    assert high - low > 1.2 * np.ptp(values)  # beyond every resample
    assert np.isnan(joint_interval(0.1, values, 1, 4)).all()
    assert np.isnan(joint_interval(0.1, np.full(9, np.nan), 5, 4)).all()
