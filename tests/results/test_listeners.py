"""What a rho is worth in listeners: against single listeners, plain loops, and what is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from emoshare_utils import corpora
from emoshare_utils.results import listeners
from emoshare_utils.results.bootstrap import interval, times_drawn
from emoshare_utils.results.listeners import (
    TARGET,
    draw_answers,
    panel_rhos,
    rhos_of_levels,
    worth_in_listeners,
    worth_in_words,
)
from emoshare_utils.results.metrics import spearman

CREMA_D = Path(__file__).resolve().parents[3] / "shared" / "data" / "crema-d"
PUBLISHED = Path(__file__).resolve().parents[2] / "figures" / "published" / "crema_d"
EMOTIONS = ["Joy", "Awe"]


def ids(n: int) -> list[str]:
    return [f"c{i:04d}" for i in range(n)]


def table_of(votes: np.ndarray, n_raters, panel: str = "voice") -> pd.DataFrame:
    about = {"clip_id": ids(len(votes)), "panel": panel, "n_raters": n_raters}
    return pd.DataFrame(about | dict(zip(EMOTIONS, votes.T)))


def system_of(predicted: np.ndarray) -> pd.DataFrame:
    about = {"encoder": "fbank", "architecture": 1, "seed": 0, "split": "devel", "share": 0.5}
    wide = pd.DataFrame(predicted, pd.Index(ids(len(predicted)), name="clip_id"), EMOTIONS)
    long = wide.melt(ignore_index=False, var_name="emotion", value_name="prediction")
    return long.reset_index().assign(**about)


def rated(n: int, n_raters: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Expected shares of n clips, and the votes of that many listeners; both (n, E)."""
    rng = np.random.default_rng(seed)
    expected = rng.beta(0.5, 1.5, (n, len(EMOTIONS)))
    return expected, rng.binomial(n_raters, expected)


def test_answers_are_drawn_as_from_single_listeners_without_replacement():
    votes, n_raters = np.array([[3, 0], [5, 1]]), np.array([5, 6])
    rng = np.random.default_rng(0)
    drawn = np.stack([draw_answers(votes, n_raters, 5, rng) for _ in range(20_000)])
    assert set(np.unique(drawn)) == {0, 1}
    assert (drawn[:, :, 0].sum(axis=1) == [3, 0]).all()  # all of its listeners: all of its votes
    four, fifth = drawn[:, :4].sum(axis=1), drawn[:, 4]
    for clip, emotion in np.ndindex(2, 2):
        law = stats.hypergeom(n_raters[clip], votes[clip, emotion], 4)
        found = np.bincount(four[:, clip, emotion], minlength=5) / len(drawn)
        np.testing.assert_allclose(found, law.pmf(range(5)), atol=0.015)
        for chosen in range(5):  # the fifth is one of those that are left
            here = four[:, clip, emotion] == chosen
            if here.sum() > 500:
                left = (votes[clip, emotion] - chosen) / (n_raters[clip] - 4)
                assert fifth[here, clip, emotion].mean() == pytest.approx(left, abs=0.04)


def test_rho_is_that_of_whole_listeners_who_chose_one_emotion_each():
    rng = np.random.default_rng(1)
    expected = rng.dirichlet([0.5, 0.5, 1], 300)
    single = np.stack([rng.choice(3, 8, p=p) for p in expected])  # (n, listeners): an emotion each
    votes = np.stack([(single == emotion).sum(axis=1) for emotion in (0, 1)], axis=1)
    brute = []
    for _ in range(listeners.DRAWS):
        order = rng.permuted(single, axis=1)
        for k in range(1, 5):
            chosen = [
                ((order[:, :4] == e).mean(axis=1), (order[:, 4 : 4 + k] == e).mean(axis=1))
                for e in (0, 1)
            ]
            brute.append(np.mean([spearman(*pair) for pair in chosen]))
    brute = np.reshape(brute, (-1, 4)).mean(axis=0)
    found = worth_in_listeners(
        system_of(votes + rng.random(votes.shape)), table_of(votes, 8), EMOTIONS
    )
    np.testing.assert_allclose(found["rho"][:4], brute, atol=0.01)


def test_panels_of_k_more_listeners_are_worth_k():
    expected, votes = rated(3000, 9)
    rng, more = np.random.default_rng(2), [(k, i) for k in range(1, 5) for i in range(12)]
    panels = [table_of(rng.binomial(k, expected), k, f"{k} more ({i})") for k, i in more]
    known = pd.concat([table_of(votes, 9), *panels])
    table = worth_in_listeners(system_of(expected), known, EMOTIONS)
    assert table["listeners"].iloc[:5].tolist() == [1, 2, 3, 4, 5] and len(table) == 5 + 48 + 1
    assert table["worth"].iloc[:5].tolist() == [1, 2, 3, 4, 5]
    panels = table.iloc[5:-1].groupby(table["who"].str[0])
    np.testing.assert_allclose(panels["rho"].mean(), table["rho"].iloc[:4], atol=0.012)
    np.testing.assert_allclose(panels["worth"].median(), [1, 2, 3, 4], atol=0.2)


def test_a_worth_beyond_the_curve_or_below_it_is_said_so():
    expected, votes = rated(800, 8)
    table = worth_in_listeners(system_of(expected), table_of(votes, 8), EMOTIONS)
    assert table["worth"].iloc[-1] == np.inf
    assert worth_in_words(table).iloc[-1] == "more than 4 listeners"
    table = worth_in_listeners(system_of(-expected), table_of(votes, 8), EMOTIONS)
    assert table["worth"].iloc[-1] == 0 and table["rho"].iloc[-1] < -0.3


def test_rhos_of_levels_are_those_of_a_plain_loop():
    rng = np.random.default_rng(3)
    units, values = rng.integers(0, 5, 60), rng.integers(0, 30, 60) / 7
    levels = np.stack([rng.integers(0, top, 60) for top in (5, 2, 9, 1)])
    times = np.vstack([np.ones(5), times_drawn(5, range(20))])
    found = rhos_of_levels(times, units, values, levels)
    for row, counts in zip(found, times):
        clips = np.repeat(np.arange(60), counts[units].astype(int))
        plain = [spearman(values[clips], level[clips]) for level in levels]
        np.testing.assert_allclose(row, plain, rtol=1e-9)
    assert np.isnan(found[:, 3]).all()  # one value only


def test_intervals_are_those_of_a_plain_loop_over_speakers(monkeypatch):
    monkeypatch.setattr(listeners, "DRAWS", 3)
    expected, votes = rated(90, 9)
    predicted = expected + np.random.default_rng(4).normal(0, 0.3, expected.shape)
    units = np.arange(90) % 6
    found = worth_in_listeners(
        system_of(predicted), table_of(votes, 9), EMOTIONS, dict(zip(ids(90), units)), 40
    )
    assert (found["n"] == 90).all() and (found["n_speakers"] == 6).all() and len(found) == 6
    times, values = times_drawn(6, range(40)), []
    for counts in np.vstack([np.ones(6), times]):
        clips = np.repeat(np.arange(90), counts[units].astype(int))
        drawn = []
        for number in range(3):
            rng = np.random.default_rng([0, number])
            answers = draw_answers(votes, np.full(90, 9), 9, rng)[:, clips]
            predictors = [answers[TARGET : TARGET + k].mean(axis=0) for k in range(1, 6)]
            pairs = [
                (answers[:TARGET].mean(axis=0), one) for one in (*predictors, predicted[clips])
            ]
            drawn.append([[spearman(*pair) for pair in zip(a.T, b.T)] for a, b in pairs])
        values.append(np.mean(drawn, axis=(0, 2)))
    values = np.array(values)
    np.testing.assert_allclose(found["rho"], values[0])
    bounds = [interval(column, 6) for column in values[1:].T]
    np.testing.assert_allclose(found[["ci_speakers_low", "ci_speakers_high"]], bounds)
    worths = [np.interp(row[-1], [0, *row[:5]], range(6), right=6) for row in values]
    assert found["worth"].iloc[-1] == pytest.approx(worths[0])
    low, high = interval(np.array(worths[1:]), 6)
    assert found["worth_low"].iloc[-1] == pytest.approx(low)
    assert found["worth_high"].iloc[-1] == (pytest.approx(high) if high <= 5 else np.inf)


def test_clips_with_few_votes_are_left_out_and_few_such_clips_leave_nothing():
    expected, votes = rated(100, 12)
    n_raters = np.full(100, 12)
    n_raters[:9], votes[:9] = 3, np.minimum(votes[:9], 3)
    table = worth_in_listeners(system_of(expected), table_of(votes, n_raters), EMOTIONS)
    assert (table["n"] == 91).all() and table["listeners"].max() == listeners.MOST
    assert table["ci_speakers_low"].isna().all() and table["worth_low"].isna().all()
    n_raters[:11] = 4
    assert worth_in_listeners(system_of(expected), table_of(votes, n_raters), EMOTIONS).empty
    few = table_of(votes, 12).iloc[11:]  # the other clips have no votes at all
    assert worth_in_listeners(system_of(expected), few, EMOTIONS).empty
    nothing = table_of(votes, 12).head(0)
    assert worth_in_listeners(system_of(expected), nothing, EMOTIONS).empty
    assert worth_in_listeners(system_of(expected).head(0), table_of(votes, 12), EMOTIONS).empty


@pytest.mark.parametrize(("clips", "speakers", "known"), [(50, 5, 5), (50, 4, 4), (49, 5, 0)])
def test_few_speakers_or_an_unknown_one_have_no_interval(clips, speakers, known):
    expected, votes = rated(50, 8)
    of = {name: f"s{i % speakers}" for i, name in enumerate(ids(clips))}
    table = worth_in_listeners(system_of(expected), table_of(votes, 8), EMOTIONS, of, 20)
    assert (table["n_speakers"] == known).all()
    assert (table["ci_speakers_low"].notna() == (known == 5)).all()
    assert np.isnan(table["worth_low"].iloc[-1]) == (known < 5)


def test_an_emotion_that_nobody_heard_is_left_out_of_all_means():
    expected, votes = rated(100, 8)
    votes[:, 1] = 0
    both = worth_in_listeners(system_of(expected), table_of(votes, 8), EMOTIONS)
    alone = worth_in_listeners(system_of(expected), table_of(votes, 8), EMOTIONS[:1])
    np.testing.assert_allclose(both["rho"], alone["rho"], atol=0.03)


def test_other_panels_are_compared_on_the_clips_they_share():
    expected, votes = rated(200, 8)
    seen = np.random.default_rng(5).binomial(10, expected)
    face = table_of(seen, 10, "face panel").iloc[20:]
    known = pd.concat([table_of(votes, 8), face])
    plain = [stats.spearmanr(votes[20:, e], seen[20:, e]).statistic for e in (0, 1)]
    found = panel_rhos(known, EMOTIONS, ids(200))
    assert found.to_dict() == {"face panel": pytest.approx(np.mean(plain))}
    assert panel_rhos(known, EMOTIONS, ids(50))["face panel"] != found["face panel"]
    assert panel_rhos(table_of(votes, 8), EMOTIONS, ids(200)).empty
    assert panel_rhos(face, EMOTIONS, ids(200)).empty and panel_rhos(known, EMOTIONS, []).empty
    table = worth_in_listeners(system_of(expected), known, EMOTIONS)
    assert table["who"].tolist()[3:] == ["4 other listeners", "face panel", "Mel filterbank (A1)"]
    assert (table["n"] == 180).all()


@pytest.mark.skipif(not CREMA_D.is_dir(), reason=f"the CREMA-D sample is not at {CREMA_D}")
def test_the_reference_lines_on_crema_d():
    corpus, _ = corpora.load("crema_d", CREMA_D, allow_missing=True)
    votes, devel = corpora.panel_votes("crema_d", corpus), corpus.split("devel")
    panels = panel_rhos(votes, corpus.emotions, devel["clip_id"])
    expected = {"face panel": 0.400, "audio-visual panel": 0.541, "intended emotion": 0.464}
    assert panels.to_dict() == pytest.approx(expected, abs=0.0006)
    published = pd.read_csv(PUBLISHED / "fig2.csv")
    speakers = corpus.clips.set_index("clip_id")["speaker"]
    table = worth_in_listeners(published, votes, corpus.emotions, speakers, resamples=100)
    assert (table["n"] == 1166).all() and (table["n_speakers"] == 15).all()
    measured = [0.363, 0.447, 0.481, 0.507, 0.361, 0.483, 0.427]
    np.testing.assert_allclose(table["rho"].iloc[:7], measured, atol=0.01)
    system = table.iloc[-1]
    assert system["worth"] > 3.5 and system["worth_low"] == pytest.approx(2.8, abs=0.4)


def test_the_page_of_results_says_what_the_published_table_says():
    page = (PUBLISHED.parents[2] / "docs" / "results.md").read_text()
    table = pd.read_csv(PUBLISHED / "worth.csv")
    said = [f"{rho:.2f}".removeprefix("0") for rho in table["rho"]]
    one, two, three, four, *_, system = said
    listeners = f"reaches {one}, two {two}, three {three} and four {four}; the best system {system}"
    assert listeners in page
    worth, low, high = table[["worth", "worth_low", "worth_high"]].to_numpy().T
    assert np.isinf(high[[5, 7]]).all()
    assert np.isinf(worth[7])  # beyond what four listeners reach
    assert f"worth four listeners or more ({low[7]:.1f} to more than four over" in page
    assert f"panel {worth[5]:.1f} ({low[5]:.1f} to more than four)" in page
    said = f"worth {worth[6]:.1f} ({low[6]:.1f} to {high[6]:.1f}), the face panel "
    assert f"{said}{worth[4]:.1f} ({low[4]:.1f} to {high[4]:.1f})" in page
