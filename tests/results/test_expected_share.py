"""Rho of the expected share: estimated from votes, beside the exact one of simulated listeners."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.corpora.panels import are_votes
from emoshare_utils.corpora.simulation.listeners import rate
from emoshare_utils.corpora.simulation.model import Model
from emoshare_utils.corpora.simulation.voices import plan
from emoshare_utils.results import expected_share
from emoshare_utils.results.expected_share import expected_rhos
from emoshare_utils.results.metrics import spearman


@pytest.fixture(scope="module")
def rated() -> Corpus:
    """The simulated corpus's plan and ratings, unspoken."""
    model = Model()
    clips = plan(1200, 0, 40, model)
    clips = clips.join(rate(clips, 0, 200, model))
    return Corpus("simulated", Path(), tuple(model.profiles), clips, "simulated listeners")


def by_kind(table: pd.DataFrame, split: str) -> pd.DataFrame:
    here = table[table["split"] == split]
    return here.pivot(index="emotion", columns="kind", values="rho")


def test_the_estimate_is_near_the_exact_one_of_simulated_listeners(rated):
    table = expected_rhos(rated)
    assert list(table.columns) == ["emotion", "split", "kind", "rho", "note"]
    assert len(table) == 9 * 4 * 2
    errors = by_kind(table, "all")
    errors = errors["estimated"] - errors["exact"]
    assert errors.abs().max() < 0.03 and -0.015 < errors.mean() < 0.005
    devel = by_kind(table, "devel")
    assert abs((devel["estimated"] - devel["exact"]).mean()) < 0.03
    here = rated.split("devel")
    for emotion, rho in devel["exact"].items():
        assert rho == pytest.approx(spearmanr(here[emotion], here[f"expected_{emotion}"])[0])


def test_exact_ones_leave_room(rated):
    table = expected_rhos(rated)
    exact = table[table["kind"] == "exact"]
    assert exact["rho"].between(0.7, 0.95).all()
    assert exact.groupby("split")["rho"].mean().between(0.75, 0.92).all()


def test_a_constant_share_or_an_unknown_expected_one_has_no_exact_one(rated):
    clips = rated.clips.assign(Anger=0.0).drop(columns="expected_Sadness")
    exact = expected_rhos(rated.with_clips(clips)).query("kind == 'exact'")
    assert set(exact["emotion"]) == set(rated.emotions) - {"Anger", "Sadness"}


@pytest.mark.parametrize(("raters", "error"), [(3, 0.06), (10, 0.03), (40, 0.01)])
@pytest.mark.parametrize("shape", [(0.3, 2.0), (2.0, 2.0)], ids=["near zero", "in the middle"])
def test_where_votes_are_binomial_the_estimate_is_right(raters, error, shape):
    rng = np.random.default_rng(0)
    p, n = rng.beta(*shape, 4000), np.full(4000, raters)
    shares = rng.binomial(n, p) / n
    drawn = expected_share.draw_expected(shares, n)
    estimate = np.mean([spearman(shares, one) for one in drawn])
    assert estimate == pytest.approx(spearman(shares, p), abs=error)
    np.testing.assert_allclose(drawn.mean(), p.mean(), atol=0.01)


def test_people_have_estimates_only_and_only_where_their_number_is_known(rated):
    people = Corpus("table", Path(), rated.emotions, rated.clips)
    table = expected_rhos(people)
    assert set(table["kind"]) == {"estimated"}
    unknown = rated.clips.assign(n_raters=pd.Series(pd.NA, rated.clips.index, dtype="Int64"))
    assert expected_rhos(Corpus("table", Path(), rated.emotions, unknown)).empty
    masked = rated.clips.copy()
    masked.loc[masked["split"] == "test", list(rated.emotions)] = np.nan
    table = expected_rhos(Corpus("table", Path(), rated.emotions, masked))
    assert set(table["split"]) == {"all", "train", "devel"}


def test_shares_that_are_not_votes_have_no_estimate(rated):
    n = np.array([10, 12, 18])
    assert are_votes(np.array([0.3, 0.33, 0.28]), n)  # two decimals of 3, 4 and 5 votes
    assert not are_votes(np.array([0.34, 0.33, 0.28]), n)
    assert not are_votes(np.array([0.0]), np.array([0]))
    scaled = rated.clips.assign(Anger=rated.clips["Anger"] * 0.9)
    found = expected_rhos(Corpus("table", Path(), rated.emotions, scaled))
    assert set(found["emotion"]) == set(rated.emotions) - {"Anger"}


def test_the_exact_one_is_preferred_and_none_is_said():
    rows = [("Joy", "devel", "estimated", 0.8), ("Joy", "devel", "exact", 0.9)]
    rows.append(("Joy", "test", "estimated", 0.7))
    table = pd.DataFrame(rows, columns=["emotion", "split", "kind", "rho"])
    found, kind = expected_share.known(table)
    assert found.to_dict() == {"Joy": 0.9} and kind == "exact"
    found, kind = expected_share.known(table, "test")
    assert found.to_dict() == {"Joy": 0.7} and kind == "estimated"
    found, kind = expected_share.known(table.head(0))
    assert found.empty and kind == ""


def test_it_is_no_upper_bound(rated):
    clips, rhos = rated.clips, expected_share.known(expected_rhos(rated), "all")[0]
    beaten = {
        emotion: spearman(clips[emotion], np.maximum(clips[f"expected_{emotion}"], 0.05))
        for emotion in rated.emotions
    }
    assert np.mean(list(beaten.values())) > rhos.mean() + 0.005


def test_a_mean_needs_every_emotion():
    rows = [("Joy", "devel", "exact", 0.9), ("Fear", "devel", "exact", 0.7)]
    table = pd.DataFrame(rows, columns=["emotion", "split", "kind", "rho"])
    assert expected_share.known_mean(table, ["Joy", "Fear"]) == (pytest.approx(0.8), "exact")
    assert expected_share.known_mean(table, ["Joy"]) == (0.9, "exact")
    for lacking in (["Joy", "Anger"], []):
        mean, kind = expected_share.known_mean(table, lacking)
        assert np.isnan(mean) and kind == ""
