"""Paired differences between systems."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from emoshare_utils.results.bootstrap import interval
from emoshare_utils.results.comparisons import compare
from emoshare_utils.results.scores import score

RNG = np.random.default_rng(0)
ONE, TWO = ("fbank", 1), ("fbank", 2)
DIFFERENCE = {"1 - 2": {ONE: 1, TWO: -1}}
BOTH = ("Anger", "Calmness")


def test_paired_differences_are_surer_than_the_systems_intervals(two_systems):
    table, speakers = two_systems(better_by=0.15)
    found = compare(table, BOTH, DIFFERENCE, resamples=400, speakers=speakers)
    (row,) = found.itertuples()
    _, summary = score(table, BOTH, 400, speakers)
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


def test_a_difference_resamples_both_systems_alike_and_averages_seeds(two_systems):
    table, _ = two_systems(better_by=0.15)
    (row,) = compare(table, BOTH, DIFFERENCE, resamples=50).itertuples()
    wide = table.pivot(
        index="clip_id", columns=["architecture", "seed", "emotion"], values="prediction"
    )
    shares = table[(table["architecture"] == 1) & (table["seed"] == 0)]
    shares = shares.pivot(index="clip_id", columns="emotion", values="share")
    differences = []
    for number in range(50):
        clips = np.random.default_rng([0, number]).integers(0, 200, 200)
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


def test_equal_systems_are_not_told_apart(two_systems):
    found = compare(two_systems(better_by=0.0)[0], BOTH, DIFFERENCE, resamples=400)
    assert found["ci_low"][0] < 0 < found["ci_high"][0]
    assert found["ci_speakers_low"].isna().all() and (found["n_speakers"] == 0).all()
    assert list(found["sign"]) == [0]
    assert compare(two_systems(better_by=0.0)[0], BOTH, {}).empty


def test_a_difference_on_one_speaker_alone_has_no_sign(two_systems):
    table, speakers = two_systems(better_by=0.0, seeds=1)
    one = table[table["architecture"] == 1]
    noise = RNG.normal(0, 3, len(one)) * one["clip_id"].map(speakers).eq("s0").to_numpy()
    both = pd.concat([one.assign(prediction=one["prediction"] + noise), one.assign(architecture=2)])
    (row,) = compare(both, BOTH, DIFFERENCE, speakers=speakers).itertuples()
    assert row.ci_high < 0 == row.ci_speakers_high and row.sign == 0
    (row,) = compare(both, BOTH, DIFFERENCE).itertuples()
    assert row.sign == -1


def test_a_system_that_is_not_there_or_met_other_clips_is_not_compared(two_systems):
    table, _ = two_systems(better_by=0.0)
    with pytest.raises(ValueError, match=r"'gone'.*\('mfcc', 1\).*\('fbank', 1\)"):
        compare(table, BOTH, {"gone": {ONE: 1, ("mfcc", 1): -1}})
    fewer = table[(table["architecture"] == 1) | (table["clip_id"] > 0)]
    with pytest.raises(ValueError, match="devel: 2 sets of clips.*03_training"):
        compare(fewer, BOTH, DIFFERENCE)
