"""The rule for means over emotions where rho is undefined, in every table and comparison."""

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.results.bootstrap import interval
from emoshare_utils.results.comparisons import (
    architecture_gains,
    better_architectures,
    compare,
    feature_pairs,
)
from emoshare_utils.results.figures import bars, forest
from emoshare_utils.results.metrics import mean_note, mean_over_emotions
from emoshare_utils.results.predictions import best_system
from emoshare_utils.results.rendering import style
from emoshare_utils.results.scores import emotions_in_means, score
from emoshare_utils.results.tables import table1, table2
from emoshare_utils.studies.claims import ATTENTION, HUBERT, OPEN, UNDEFINED, claims

EMOTIONS = ["Anger", "Boredom", "Joy"]
LEFT_OUT = "constant share: Boredom; means are over 2 of 3 emotions"
SYSTEMS = [(encoder, a) for encoder in ("hubert-mini", "wav2vec2-mini", "fbank") for a in (1, 2)]


def predicted(systems=SYSTEMS, n=40, split="devel", seeds=(0,)) -> pd.DataFrame:
    """Devel predictions by systems of which each is noisier than the one before."""
    rng, tables = np.random.default_rng(0), []
    shares = {emotion: rng.integers(0, 9, n) / 8 for emotion in EMOTIONS}
    for place, (encoder, architecture) in enumerate(systems):
        for seed in seeds:
            for emotion, share in shares.items():
                about = {"encoder": encoder, "architecture": architecture, "seed": seed}
                guess = share + rng.normal(0, 0.2 + 0.1 * place, n)
                columns = {"clip_id": np.arange(n), "share": share, "prediction": guess}
                table = pd.DataFrame(columns)
                tables.append(table.assign(**about, emotion=emotion, split=split))
    return pd.concat(tables, ignore_index=True)


def unheard(table: pd.DataFrame, emotion: str = "Boredom") -> pd.DataFrame:
    return table.assign(share=table["share"].mask(table["emotion"] == emotion, 0.0))


def stuck(table: pd.DataFrame, encoder: str, architecture: int, emotion="Joy") -> pd.DataFrame:
    where = table["encoder"].eq(encoder) & table["architecture"].eq(architecture)
    where &= table["emotion"].eq(emotion) & table["seed"].eq(0)
    return table.assign(prediction=table["prediction"].mask(where, 0.3))


def test_the_rule():
    rho = np.array([[0.5, np.nan, 0.3], [0.9, np.nan, np.nan]])
    left_out = np.array([False, True, False])
    np.testing.assert_array_equal(mean_over_emotions(rho, left_out), [0.4, np.nan])
    assert np.isnan(mean_over_emotions(rho)).all()
    assert np.isnan(mean_over_emotions(rho, np.ones(3, bool))).all()
    assert mean_over_emotions([0.1, 0.2]) == np.mean([0.1, 0.2])
    assert mean_note({}, 0, 3, True) == ""
    why = {"constant share": ["A"], "constant prediction": ["B", "C"]}
    said = "constant share: A; constant prediction: B, C; no mean over emotions"
    assert mean_note(why, 1, 3, False) == said


@pytest.mark.filterwarnings("error")
def test_a_constant_share_is_left_out_of_every_mean():
    table, few = unheard(predicted()), ["Anger", "Joy"]
    results, summary = score(table, EMOTIONS, 50)
    assert (results.loc[results["emotion"] == "Boredom", "note"] == "constant share").all()
    assert emotions_in_means(results, EMOTIONS) == few
    assert (summary["note"] == LEFT_OUT).all()
    _, without = score(table[table["emotion"] != "Boredom"], few, 50)
    columns = [name for name in without if name != "note"]
    pd.testing.assert_frame_equal(summary[columns], without[columns], check_exact=True)
    assert best_system(summary)["encoder"] == "hubert-mini"
    contrasts = architecture_gains(summary) | feature_pairs(summary)
    found = compare(table, EMOTIONS, contrasts, resamples=50)
    alone = compare(table[table["emotion"] != "Boredom"], few, contrasts, resamples=50)
    columns = [name for name in found if name != "note"]
    pd.testing.assert_frame_equal(found[columns], alone[columns], check_exact=True)
    assert len(found) == 6 and found["difference"].notna().all()
    assert (found["note"] == LEFT_OUT).all() and (alone["note"] == "").all()
    assert LEFT_OUT in forest(found).get_supxlabel()
    assert "means are over 2 of 3" in bars(summary).get_supxlabel()


def test_tables_leave_it_out_for_all_and_say_so():
    results, summary = score(unheard(predicted()), EMOTIONS, 10)
    table = table1(results, EMOTIONS)
    assert (table["n_emotions"] == 2).all() and (table["note"] == LEFT_OUT).all()
    np.testing.assert_allclose(sorted(table["mean"]), sorted(summary["mean_rho"]))
    html = style(table, "c").to_html()
    assert html.count(LEFT_OUT) == 1 and html.count("–<sup>a</sup>") == len(table)
    best = table.loc[table["mean"].idxmax(), "mean"]
    assert f"{best:.3f}<sup>a</sup>" in html
    rows = table2(results, EMOTIONS, corpus="made").set_index("encoder")
    assert rows["mean_rho"].notna().all() and rows["change_percent"].notna().all()


def test_a_constant_prediction_leaves_no_mean_and_wins_nothing():
    table = stuck(predicted(), "hubert-mini", 1)  # it would be the best
    results, summary = score(table, EMOTIONS, 20)
    assert np.isnan(summary.loc[0, "mean_rho"]) and np.isnan(summary.loc[0, "ci_low"])
    assert summary.loc[0, "note"] == "constant prediction: Joy; no mean over emotions"
    assert summary.loc[1:, "mean_rho"].notna().all() and (summary.loc[1:, "note"] == "").all()
    best = best_system(summary)
    assert (best["encoder"], best["architecture"]) == ("hubert-mini", 2)
    assert better_architectures(summary)[0] == ("hubert-mini", 2)
    found = compare(table, EMOTIONS, architecture_gains(summary), resamples=20)
    lost = found[found["difference"].isna()]
    assert list(lost["note"]) == [
        "constant prediction: Joy (HuBERT-mini (A1)); no mean over emotions"
    ]
    assert list(lost["sign"]) == [0] and lost["ci_low"].isna().all() and len(found) == 3
    rows = table2(results, EMOTIONS, corpus="made").set_index("encoder")
    assert rows.loc["hubert-mini", "architecture"] == 2


def test_of_two_architectures_without_a_mean_neither_is_the_best():
    table = stuck(stuck(predicted(), "hubert-mini", 1), "hubert-mini", 2, "Anger")
    row = table2(score(table, EMOTIONS, 5)[0], EMOTIONS).set_index("encoder").loc["hubert-mini"]
    assert pd.isna(row["architecture"]) and np.isnan(row["mean_rho"])
    assert row["max_rho"] > 0.5  # the other architecture has what each lacks
    assert "constant prediction" in row["note"]


def test_a_seed_without_a_mean_leaves_the_mean_over_seeds_undefined():
    table = stuck(predicted(seeds=(0, 1)), "hubert-mini", 1)
    results, summary = score(table, EMOTIONS, 5)
    assert better_architectures(summary)[0] == ("hubert-mini", 2)
    row = table1(results, EMOTIONS).iloc[-1]
    assert np.isnan(table1(results, EMOTIONS)["mean"]).sum() == 1 and row["seeds"] == 2


def test_an_emotion_that_one_system_was_not_trained_for_is_no_gain():
    table = predicted()
    lacking = table["encoder"].eq("hubert-mini") & table["emotion"].eq("Boredom")
    results, summary = score(table[~lacking], EMOTIONS, 10)
    lost = summary[summary["encoder"] == "hubert-mini"]
    assert lost[["mean_rho", "ci_low"]].isna().all(axis=None)
    assert "no result: Boredom; no mean over emotions" in set(summary["note"])
    assert best_system(summary)["encoder"] == "wav2vec2-mini"


def test_a_split_where_nobody_heard_anything_has_no_best_system(capsys):
    table = predicted()
    for emotion in EMOTIONS:
        table = unheard(table, emotion)
    results, summary = score(table, EMOTIONS, 10)
    assert best_system(summary) is None
    why = "constant share: Anger, Boredom, Joy; no mean over emotions"
    assert f"no best system, as none has a mean rho ({why})" in capsys.readouterr().out
    assert table1(results, EMOTIONS)["mean"].isna().all()
    assert table2(results, EMOTIONS)["mean_rho"].isna().all()
    assert better_architectures(summary) == [] and feature_pairs(summary) == {}
    found = compare(table, EMOTIONS, architecture_gains(summary), resamples=10)
    assert found["difference"].isna().all() and (found["note"] == why).all()
    assert "no ρ" in str([text.get_text() for text in forest(found).axes[0].texts])
    assert not len(bars(summary).axes[0].patches)
    said = claims(table, EMOTIONS, resamples=10)
    assert set(said.loc[said["claim"] == ATTENTION, "contrast"].str[:5]) == {"needs"}


def test_claims_name_the_cause_and_take_no_encoder_without_a_mean():
    table = unheard(stuck(predicted(), "hubert-mini", 2))
    said = claims(table, EMOTIONS, resamples=50)
    (of_pair,) = said[said["claim"].eq(HUBERT) & said["n"].notna()].itertuples()
    assert of_pair.holds == UNDEFINED and np.isnan(of_pair.difference)
    assert of_pair.note.startswith("constant share: Boredom; constant prediction: Joy (HuBERT-mini")
    attention = said[said["claim"] == ATTENTION]
    assert attention["contrast"].str.contains("good embedding, wav2vec2-mini").any()
    assert OPEN not in set(said.loc[said["difference"].isna(), "holds"])


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.filterwarnings("error")
def test_a_devel_split_of_very_few_clips(n):
    table = predicted(n=n)
    speakers = dict.fromkeys(range(n), "one")
    results, summary = score(table, EMOTIONS, 50, speakers)
    assert (summary["n_speakers"] == 1).all() and summary["ci_speakers_low"].isna().all()
    found = compare(table, EMOTIONS, architecture_gains(summary), "devel", 50, speakers)
    assert len(found) == 3 and found["ci_speakers_low"].isna().all()
    if n == 1:
        assert (results["note"] == "constant share").all() and summary["mean_rho"].isna().all()
    table1(results, EMOTIONS), claims(table, EMOTIONS, "devel", 20, speakers)


def test_resamples_without_a_value_do_not_count_and_half_of_them_are_needed():
    values = np.linspace(0, 1, 101)
    gaps = np.where(np.arange(101) % 4 == 0, np.nan, values)
    assert interval(gaps) == pytest.approx(interval(values), abs=0.02)
    assert np.isnan(interval(np.where(np.arange(101) < 60, np.nan, values))).all()
    assert np.isnan(interval(np.full(10, np.nan))).all()
    table = predicted(n=30)
    rare = table["emotion"].eq("Boredom") & table["clip_id"].ge(3)
    table = table.assign(
        share=table["share"].mask(table["emotion"] == "Boredom", 0.5).mask(rare, 0)
    )
    _, summary = score(table, EMOTIONS, 200)
    assert summary[["mean_rho", "ci_low", "ci_high"]].notna().all(axis=None)  # .95^30 lack all 3


def test_a_test_split_whose_clips_each_lack_a_share_has_no_results():
    table = predicted(split="test", n=3)
    holes = table["clip_id"].map(dict(enumerate(EMOTIONS))) == table["emotion"]
    results, summary = score(table.assign(share=table["share"].mask(holes)), EMOTIONS, 5)
    assert results.empty and summary.empty


def test_seeds_are_resampled_together_with_the_clips():
    table = predicted([("fbank", 1), ("fbank", 2)], seeds=(0, 1, 2))
    contrast = {"1 - 2": {("fbank", 1): 1, ("fbank", 2): -1}}
    (fixed,) = compare(table, EMOTIONS, contrast, resamples=300).itertuples()
    (drawn,) = compare(table, EMOTIONS, contrast, resamples=300, over_seeds=True).itertuples()
    assert drawn.difference == fixed.difference and drawn.seeds == 3
    assert drawn.ci_high - drawn.ci_low > fixed.ci_high - fixed.ci_low
    worse = table["seed"].eq(2) & table["architecture"].eq(1)
    apart = table.assign(prediction=table["prediction"].mask(worse, -table["prediction"]))
    (drawn,) = compare(apart, EMOTIONS, contrast, resamples=300, over_seeds=True).itertuples()
    assert drawn.ci_low < -1 and drawn.ci_high > 0 and drawn.sign == 0
    seeds = predicted([("fbank", 1), ("fbank", 2)], seeds=range(6))
    last = seeds["seed"].eq(5) & seeds["architecture"].eq(1)
    seeds["prediction"] = seeds["prediction"].mask(last, -seeds["prediction"])
    (drawn,) = compare(seeds, EMOTIONS, contrast, resamples=300, over_seeds=True).itertuples()
    assert -1.2 < drawn.ci_low < -0.7  # of five drawn, three are the last one, whose change is -1.8
    one = table[table["seed"] == 0]
    alike = [compare(one, EMOTIONS, contrast, resamples=50, over_seeds=x) for x in (False, True)]
    pd.testing.assert_frame_equal(*alike)
    with pytest.raises(ValueError, match=r"different seeds.*train each with seeds \[0, 1, 2\]"):
        compare(table[~worse], EMOTIONS, contrast, resamples=5, over_seeds=True)
