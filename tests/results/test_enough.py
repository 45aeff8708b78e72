"""Too little data, and predictions that hardly vary: nothing of either is announced."""

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.results import enough
from emoshare_utils.results.changes import BASELINE_HOLDS_ZERO, HOLDS_ZERO, OTHER_CLIPS
from emoshare_utils.results.comparisons import architecture_gains, better_architectures, compare
from emoshare_utils.results.predictions import best_system, highest, of_system
from emoshare_utils.results.scores import score
from emoshare_utils.results.tables import table1, table2
from emoshare_utils.runner.executed import headline
from emoshare_utils.studies import claims

EMOTIONS = ["Joy", "Enjoy"]
FEW_SPEAKERS = "4 speakers: too few for an interval over speakers (5)"


def system(encoder, architecture, noise, n=40, scale=1.0, n_speakers=4, seed=0):
    """Predictions of n clips: the shares with this much noise, drawn together about .50."""
    rng = np.random.default_rng(7)
    share = rng.integers(0, 9, (n, len(EMOTIONS))) / 8
    other = np.random.default_rng([n, architecture, *encoder.encode()])
    predicted = 0.5 + scale * (share - 0.5 + other.normal(0, noise, share.shape))
    about = {"encoder": encoder, "architecture": architecture, "seed": seed, "split": "devel"}
    rows = [
        pd.DataFrame({"clip_id": range(n), "share": share[:, k], "prediction": predicted[:, k]})
        for k in range(len(EMOTIONS))
    ]
    parts = [one.assign(emotion=name, **about) for one, name in zip(rows, EMOTIONS)]
    return pd.concat(parts, ignore_index=True), {i: f"s{i % n_speakers}" for i in range(n)}


def systems(*which, **about):
    made = [system(*one, **about) for one in which]
    return pd.concat([table for table, _ in made], ignore_index=True), made[0][1]


@pytest.fixture
def forty():
    """Forty own clips of four speakers after two epochs: every prediction is about .50."""
    about = {"scale": 0.005}
    flat = [system("hubert-mini", a, 0.2, **about)[0] for a in (1, 2)]
    flat.append(system("fbank", 1, 1.5, **about)[0])
    varied, speakers = system("fbank", 2, 2.0)
    return pd.concat([*flat, varied], ignore_index=True), speakers


def test_forty_own_clips_have_no_speakers_interval_and_no_flat_winner(forty, capsys):
    table, speakers = forty
    results, summary = score(table, EMOTIONS, 100, speakers)
    assert list(enough.are_unranked(summary["note"])) == [True, True, True, False]
    assert summary["mean_rho"].idxmax() != 3 and summary["mean_rho"].max() > 0.8
    for found in (results, summary):
        assert found["ci_speakers_low"].isna().all() and found["ci_low"].notna().all()
        assert found["note"].str.endswith(FEW_SPEAKERS).all()
    assert summary.loc[0, "note"].startswith("predictions hardly vary: Joy (.50 to .50), Enjoy (.")
    assert results.loc[0, "note"].startswith("predictions hardly vary: .50 to .50; 4 sp")
    best = best_system(summary)
    assert (best["encoder"], best["architecture"]) == ("fbank", 2)
    assert better_architectures(summary) == [("fbank", 2)]
    assert best_system(summary[:3]) is None and highest(summary[:3])["encoder"] == "hubert-mini"
    assert "none has varied predictions (predictions hardly vary" in capsys.readouterr().out


def test_forty_own_clips_in_table_1_and_2(forty, shown):
    table, speakers = forty
    results, _ = score(table, EMOTIONS, 10, speakers)
    first = table1(results, EMOTIONS)
    text = shown(first)
    for row in first[enough.are_unranked(first["note"])].itertuples():
        for rho in (row.Joy, row.Enjoy, row.mean):
            assert f" {rho:.3f}<sup>" in text
    assert text.count("**") == 6  # Joy, Enjoy and the mean of the one that varies
    assert "predictions hardly vary: Joy (.50 to .50), Enjoy (" in text
    second = table2(results, EMOTIONS, predictions=table, speakers=speakers, resamples=100)
    assert (second["baseline"] == "fbank").all()
    assert list(second["architecture"]) == [1, 2]  # the higher rho of fbank's 1 is of flat ones
    assert list(second["change_percent"].isna()) == [True, False]  # 0 for the baseline itself
    assert second["max_change_percent"].isna().all()
    assert FEW_SPEAKERS in second.loc[0, "note"]
    assert shown(second).count("| not resolved<sup>") == 3


def test_forty_own_clips_decide_nothing(forty):
    table, speakers = forty
    _, summary = score(table, EMOTIONS, 10, speakers)
    found = compare(table, EMOTIONS, architecture_gains(summary), "devel", 100, speakers)
    assert (found["sign"] == 0).all() and found["ci_low"].notna().all()
    assert found["note"][0].startswith("predictions hardly vary, not ranked: HuBERT-mini")
    assert found["note"].str.endswith(FEW_SPEAKERS).all()
    of_all = {i: f"s{i % 5}" for i in speakers}  # enough speakers, and still flat
    contrast = {"flat": {("hubert-mini", 1): 1, ("fbank", 2): -1}}
    (row,) = compare(table, EMOTIONS, contrast, "devel", 100, of_all).itertuples()
    assert row.ci_speakers_low > 0 and row.ci_low > 0 and row.sign == 0


PAIRS = [("hubert-large", 1), ("hubert-large", 2), ("wav2vec2-large", 1), ("wav2vec2-large", 2)]


def verdict(n, n_speakers, scale=1.0):
    made = [system(*pair, 0.1 if k < 2 else 1.5, n) for k, pair in enumerate(PAIRS)]
    table = pd.concat([one for one, _ in made], ignore_index=True)
    other = table["encoder"].eq("wav2vec2-large")
    table["prediction"] = table["prediction"].where(~other, 0.5 + scale * table["prediction"])
    speakers = {i: f"s{i % n_speakers}" for i in range(n)}
    said = claims.claims(table, EMOTIONS, "devel", 100, speakers)
    (row,) = said[said["contrast"].str.startswith("HuBERT (Large) −")].itertuples()
    return row


def test_claims_say_why_they_are_open():
    assert verdict(60, 6).holds == claims.YES
    few = verdict(60, 4)
    assert few.holds == "open: too few speakers" and few.ci_low > 0 and few.note == FEW_SPEAKERS
    few = verdict(12, 6)
    assert few.holds == "open: too few clips" and np.isnan([few.ci_low, few.ci_speakers_low]).all()
    assert few.note == "12 clips: too few for an interval (20)"
    assert verdict(60, 6, scale=0.001).holds == "open: predictions hardly vary"


@pytest.mark.parametrize(("n", "clips", "speakers"), [(19, False, False), (20, True, True)])
def test_below_the_fewest_clips_there_is_no_interval(n, clips, speakers):
    table, of = system("fbank", 1, 0.3, n, n_speakers=5)
    for found in score(table, EMOTIONS, 50, of):
        assert found["ci_low"].notna().all() == clips
        assert found["ci_speakers_low"].notna().all() == speakers
        assert (found["note"] == "").all() == clips
    _, found = score(table, EMOTIONS, 50)
    assert found["ci_speakers_low"].isna().all() and found["ci_low"].notna().all() == clips


def test_one_flat_emotion_of_three_is_marked_and_the_system_ranked(monkeypatch, shown):
    monkeypatch.setattr(f"{__name__}.EMOTIONS", ["Joy", "Enjoy", "Sad"])
    table, speakers = systems(("fbank", 1, 0.1), ("fbank", 2, 0.3), n=60, n_speakers=6)
    flat = table["architecture"].eq(1) & table["emotion"].eq("Joy")
    table["prediction"] = table["prediction"].mask(flat, 0.5 + 0.01 * table["prediction"])
    results, summary = score(table, EMOTIONS, 50, speakers)
    assert summary.loc[0, "note"] == "predictions hardly vary: Joy (.50 to .51)"
    assert best_system(summary)["architecture"] == 1 == better_architectures(summary)[0][1]
    text = shown(table1(results, EMOTIONS))
    first, second = table1(results, EMOTIONS).itertuples()
    assert first.Joy > second.Joy and f"| {first.Joy:.3f}<sup>a</sup> |" in text
    assert f"**{second.Joy:.3f}**" in text  # the best that varies
    assert f"| **{first.Enjoy:.3f}** |" in text and f"| **{first.mean:.3f}** |" in text
    (row,) = compare(table, EMOTIONS, architecture_gains(summary), "devel", 50).itertuples()
    assert row.sign == -1 and row.note.startswith("predictions hardly vary: Joy (Mel filterbank")
    twice = pd.concat([table, table.assign(seed=1, prediction=table["share"])])
    assert (
        "hardly vary: Joy (1 of 2 seeds)"
        in table1(score(twice, EMOTIONS, 2)[0], EMOTIONS)["note"][0]
    )


def test_what_hardly_varies():
    rng = np.random.default_rng(0)
    shares = rng.random(200)
    spread = (shares - shares.mean()) / shares.std() * shares.std()
    assert enough.flat(shares, 0.5 + 0.049 * spread).startswith("predictions hardly vary: .47 to")
    assert enough.flat(shares, 0.5 + 0.051 * spread) == ""
    assert enough.flat(shares, -0.02 + 0 * shares) == "predictions hardly vary: −.02 to −.02"
    assert enough.flat(np.zeros(3), np.zeros(3)) == "" == enough.flat(shares, shares * np.nan)
    note = "no result: Sad; predictions hardly vary: Joy (.4 to .5), A (B) (.1 to .2); 3 clips: few"
    assert enough.flat_emotions(note, ["Enjoy", "Joy", "A (B)", "B", "Sad"]) == ["Joy", "A (B)"]
    assert enough.flat_emotions("", ["Joy"]) == []


def changes(table, n=200, n_speakers=10, baseline="fbank", **about):
    speakers = {i: f"s{i % n_speakers}" for i in range(n)}
    results, _ = score(table, EMOTIONS, 5)
    found = table2(
        results, EMOTIONS, baseline, predictions=table, speakers=speakers, resamples=200, **about
    )
    return found.set_index("encoder")


def test_a_percentage_needs_an_interval_that_leaves_out_0():
    table, _ = systems(("mfcc", 1, 0.3), ("hubert-base", 1, 0.51), ("fbank", 1, 0.5), n=200)
    found = changes(table)
    assert found.loc["mfcc", ["change_percent", "max_change_percent"]].gt(5).all()
    assert found.loc["mfcc", "note"] == "" and found.loc["fbank", "change_percent"] == 0
    assert found.loc["hubert-base", ["change_percent", "max_change_percent"]].isna().all()
    assert found.loc["hubert-base", "note"] == HOLDS_ZERO
    bare = table2(score(table, EMOTIONS, 5)[0], EMOTIONS, "fbank").set_index("encoder")
    pd.testing.assert_series_equal(bare.loc["mfcc"], found.loc["mfcc"])
    few = changes(table, n_speakers=4)
    assert few.loc["mfcc", "change_percent"] != few.loc["mfcc", "change_percent"]
    assert few.loc["mfcc", "note"] == FEW_SPEAKERS


def test_no_percentage_of_a_baseline_near_zero_or_on_other_clips():
    table, _ = systems(("mfcc", 1, 0.3), ("fbank", 1, 60.0), n=200)
    rho = score(table, EMOTIONS, 5)[1].set_index("encoder").loc["fbank", "mean_rho"]
    assert 0 < rho < 0.1
    found = changes(table)
    assert np.isnan(found.loc["mfcc", "change_percent"])
    assert found.loc["mfcc", "note"] == BASELINE_HOLDS_ZERO
    table, _ = systems(("mfcc", 1, 0.3), ("fbank", 1, 0.6), n=200)
    found = changes(table[table["encoder"].eq("fbank") | table["clip_id"].gt(5)])
    assert found.loc["mfcc", "note"] == OTHER_CLIPS


def test_the_headline_of_a_report_announces_no_flat_system(forty, tmp_path):
    table, speakers = forty
    _, summary = score(table, EMOTIONS, 10, speakers)
    summary.to_csv(tmp_path / "fig3.csv", index=False)
    for chosen, said in (
        (highest(summary), "There is no best system on devel: predictions hardly vary: Joy (.50"),
        (best_system(summary), "The best system on devel is Mel filterbank"),
    ):
        of_system(table, chosen, "devel").to_csv(tmp_path / "fig2.csv", index=False)
        assert headline(tmp_path).startswith(said)
