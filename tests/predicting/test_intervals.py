"""Intervals: the quantile is the finite-sample one, and coverage is of speakers left out."""

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.predicting.intervals import Intervals, calibrate, quantile, spread

EMOTIONS = ("Anger", "Joy")


def panels(rng, speakers=30, clips=40, listeners=9, bias=0.0):
    """Predictions that are right up to a speaker's bias, and the shares of panels."""
    rows = []
    for speaker in range(speakers):
        off = rng.normal(0, bias)
        for number in range(clips):
            for emotion in EMOTIONS:
                expected = rng.uniform(0.05, 0.95)
                share = rng.binomial(listeners, np.clip(expected + off, 0, 1)) / listeners
                rows.append((emotion, f"{speaker}-{number}", share, expected))
    table = pd.DataFrame(rows, columns=["emotion", "clip_id", "share", "prediction"])
    clip_ids = pd.Series(table["clip_id"].unique())
    return table, pd.Series(clip_ids.str.split("-").str[0].to_numpy(), index=clip_ids)


@pytest.mark.parametrize(("n", "place"), [(9, 9), (10, 10), (19, 18), (99, 90), (100, 91)])
def test_the_quantile_counts_the_clip_to_come(n, place):
    misses = np.random.default_rng(0).permutation(n) + 1.0
    assert quantile(misses) == place


def test_new_speakers_are_covered_as_often_as_said():
    rng = np.random.default_rng(0)
    table, speakers = panels(rng, bias=0.1)
    found = calibrate(table, speakers)
    assert (found.speakers, found.clips) == (30, 1200)
    new, _ = panels(rng, speakers=200, bias=0.1)
    for emotion in EMOTIONS:
        rows = new[new["emotion"] == emotion]
        (low,), (high,) = (x.T for x in found.bounds(rows[["prediction"]].to_numpy(), (emotion,)))
        inside = rows["share"].between(low - 1e-9, high + 1e-9).mean()
        assert inside == pytest.approx(0.9, abs=0.03)
        said = found.coverage[emotion]
        assert said["mean"] == pytest.approx(inside, abs=0.03)
        assert said["lowest"] < said["mean"] < said["highest"]


def test_coverage_is_measured_on_speakers_who_did_not_calibrate():
    """One speaker's shares are far from the rest: only if left out is it found outside."""
    table, speakers = panels(np.random.default_rng(0), speakers=10)
    strange = table["clip_id"].str.startswith("0-")
    table.loc[strange, "share"] = 1 - table.loc[strange, "prediction"].round()
    found = calibrate(table, speakers)
    assert all(of_one["lowest"] < 0.4 for of_one in found.coverage.values())
    assert all(of_one["highest"] > 0.9 for of_one in found.coverage.values())


def test_bounds_stay_within_0_and_1_and_are_wider_in_the_middle():
    intervals = Intervals({"Anger": 0.5}, {}, 10, 100)
    low, high = intervals.bounds(np.array([[0.0], [0.5], [1.0]]), ("Anger",))
    np.testing.assert_allclose(low[:, 0], [0, 0.5 - 0.5 * spread(0.5), 1 - 0.05])
    np.testing.assert_allclose(high[:, 0], [0.05, 0.5 + 0.5 * spread(0.5), 1])


def test_few_speakers_or_clips_have_no_interval():
    rng = np.random.default_rng(0)
    for speakers, clips in ((4, 40), (6, 8)):
        found = calibrate(*panels(rng, speakers, clips))
        assert found.quantiles == {} and found.speakers == speakers
        low, high = found.bounds(np.full((2, 2), 0.5), EMOTIONS)
        assert np.isnan(low).all() and np.isnan(high).all()
    table, _ = panels(rng)
    assert calibrate(table, pd.Series(dtype=str)).quantiles == {}  # speakers are not known


def test_clips_without_a_share_do_not_count():
    table, speakers = panels(np.random.default_rng(0))
    masked = table.assign(clip_id="x" + table["clip_id"], share=np.nan)
    more = pd.concat([speakers, speakers.rename("x{}".format)])
    assert calibrate(pd.concat([table, masked]), more) == calibrate(table, speakers)
