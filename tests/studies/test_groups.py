"""Scores by group of speakers: each against its own ceiling, differences, offsets."""

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.results.metrics import spearman
from emoshare_utils.studies import group_figures
from emoshare_utils.studies.groups import by_group, group_clips, judge, offsets

EMOTIONS = ("Joy", "Fear")


def made(noisy: float = 0.05, worse: float = 0.05, raters: int | None = None, speakers: int = 10):
    """Two sexes: men's shares have `noisy` noise, women's .05; men's predictions `worse`."""
    rng, rows = np.random.default_rng(0), []
    for number in range(2 * speakers):
        sex = "Male" if number % 2 else "Female"
        for clip in range(40):
            expected = rng.uniform(0.1, 0.9, 2)
            noise, error = (noisy, worse) if sex == "Male" else (0.05, 0.05)
            shares = np.clip(expected + rng.normal(0, noise, 2), 0, 1)
            if raters:
                shares = rng.binomial(raters, expected) / raters
            predicted = expected + rng.normal(0, error, 2)
            about = {"clip_id": f"{number}-{clip}", "split": "devel", "speaker": f"s{number}"}
            about |= {"sex": sex, "age": 20 + number, "n_raters": raters}
            about |= dict(zip(EMOTIONS, shares)) | dict(
                zip(("expected_Joy", "expected_Fear"), expected)
            )
            rows.append(about | dict(zip(("Joy_", "Fear_"), predicted)))
    clips = pd.DataFrame(rows)
    predictions = pd.concat(
        [clips[["clip_id"]].assign(emotion=e, prediction=clips[f"{e}_"]) for e in EMOTIONS]
    )
    clips = clips.drop(columns=["Joy_", "Fear_"])
    who = "listeners" if raters else "simulated listeners"
    return Corpus("made", None, EMOTIONS, clips, who), predictions


def table_of(corpus, predictions, by=("sex",), **options):
    groups = group_clips(corpus.clips, by, {"age": [25, 30]})
    return by_group(judge(corpus, predictions), groups, 300, **options).set_index("group")


def test_rho_of_a_group_is_that_of_its_clips():
    corpus, predictions = made()
    table, wide = (
        table_of(corpus, predictions),
        predictions.pivot(index="clip_id", columns="emotion"),
    )
    of_men = corpus.clips[corpus.clips["sex"] == "Male"]
    predicted = wide["prediction"].loc[of_men["clip_id"]]
    rho = np.mean([spearman(of_men[e].to_numpy(), predicted[e].to_numpy()) for e in EMOTIONS])
    ceiling = np.mean([spearman(of_men[e], of_men[f"expected_{e}"]) for e in EMOTIONS])
    row = table.loc["Male"]
    assert (row["rho"], row["ceiling"]) == (pytest.approx(rho), pytest.approx(ceiling))
    assert row["of_ceiling"] == pytest.approx(rho / ceiling)
    assert (row["n"], row["n_speakers"]) == (400, 10)
    assert list(table.index) == ["all", "Female", "Male"]


def test_noisy_votes_are_no_bias_and_worse_predictions_are():
    noisy, worse = table_of(*made(noisy=0.3)), table_of(*made(worse=0.3))
    assert noisy.loc["Male", "rho"] < noisy.loc["Female", "rho"] - 0.15
    assert noisy.loc["Male", "difference_low"] < 0 < noisy.loc["Male", "difference_high"]
    assert worse.loc["Male", "difference_high"] < -0.1 < 0.1 < worse.loc["Female", "difference_low"]
    two = worse.loc[["Male", "Female"]]
    assert two["difference"].sum() == pytest.approx(0)  # either less the other is one comparison
    for end in ("low", "high"):
        alone, together = two[f"difference_{end}"], two[f"difference_all_{end}"]
        np.testing.assert_allclose(alone, together, atol=0.05)


def test_of_people_the_ceiling_comes_from_their_votes():
    corpus, predictions = made(raters=12)
    assert not corpus.simulated
    exact = corpus.clips.rename(columns={"Joy": "y"})
    table = table_of(corpus, predictions)
    expected = spearman(exact["y"], exact["expected_Joy"])
    assert table.loc["all", "ceiling"] == pytest.approx(expected, abs=0.03)
    unknown = corpus.with_clips(corpus.clips.assign(n_raters=pd.NA))
    assert table_of(unknown, predictions)["ceiling"].isna().all()
    assert table_of(unknown, predictions)["rho"].notna().all()


def test_groups_of_few_speakers_are_open():
    corpus, predictions = made(speakers=4)
    table = table_of(corpus, predictions)
    assert (table.loc[["Male", "Female"], "note"].str.contains("4 speakers: too few")).all()
    assert table.loc[["Male", "Female"], ["rho_low", "difference_low"]].isna().all(axis=None)
    assert table.loc["Male", "rho"] > 0.5  # shown all the same
    found = offsets(judge(corpus, predictions), group_clips(corpus.clips, ["sex"], {}))
    assert found["low"].isna().all() and found["offset"].notna().all()


def test_more_groups_are_more_comparisons():
    corpus, predictions = made()
    table = table_of(corpus, predictions, by=("age",))
    assert list(table.index) == ["all", "25 to 29", "30 and over", "under 25"]
    wide = table["difference_all_high"] - table["difference_all_low"]
    alone = table["difference_high"] - table["difference_low"]
    assert (wide.dropna() > alone.dropna()).all() and len(wide.dropna()) == 3


def test_columns_that_cannot_be_grouped():
    clips = made()[0].clips
    with pytest.raises(ValueError, match="no column 'sexe': did you mean 'sex'"):
        group_clips(clips, ["sexe"], {})
    with pytest.raises(ValueError, match="age is a number: say in bands"):
        group_clips(clips, ["age"], {})
    lost = made()[0].with_clips(clips.assign(speaker=pd.NA))
    with pytest.raises(ValueError, match="speaker is not known"):
        judge(lost, made()[1])


def test_offsets_and_slopes():
    corpus, predictions = made()
    men = predictions["clip_id"].map(corpus.clips.set_index("clip_id")["sex"]) == "Male"
    shifted = predictions.assign(prediction=predictions["prediction"] + 0.2 * men)
    groups = group_clips(corpus.clips, ["sex"], {})
    found = offsets(judge(corpus, shifted), groups, 300).set_index(["group", "emotion"])
    assert found.loc["Male", "offset"].to_numpy() == pytest.approx(0.2, abs=0.02)
    assert found.loc["Female", "offset"].to_numpy() == pytest.approx(0, abs=0.02)
    assert (found.loc["Male", "low"] > 0.15).all() and (found.loc["Male", "high"] < 0.25).all()
    here = corpus.clips["sex"] == "Male"
    x = shifted[(shifted["emotion"] == "Joy").to_numpy() & men.to_numpy()]["prediction"]
    expected = np.polyfit(x, corpus.clips.loc[here, "Joy"], 1)[0]
    assert found.loc[("Male", "Joy"), "slope"] == pytest.approx(expected)


def test_the_pictures():
    corpus, predictions = made()
    judged = judge(corpus, predictions)
    groups = group_clips(corpus.clips, ["sex", "age"], {"age": [25]})
    table = by_group(judged, groups, 50)
    figure = group_figures.fractions(table, "MFCC (A1), seed 0, devel")
    left, right = figure.axes
    caption = figure.get_supxlabel()
    assert caption.startswith("MFCC (A1), seed 0, devel; n = 800 clips of 20 speakers\n")
    assert "4 groups with intervals, each by itself" in caption
    assert "2 comparisons together (Bonferroni): none leaves out 0" in caption
    assert right.get_xlabel() == "fraction of the ρ of the expected share"
    assert [t.get_text() for t in left.get_yticklabels()][:2] == ["all (20)", "sex: Female (10)"]
    panels = group_figures.offset_panels(offsets(judged, groups, 50)).axes
    assert [panel.get_title(loc="left") for panel in panels[:2]] == [*EMOTIONS]


def test_a_group_without_an_interval_is_a_cross_and_none_at_all_no_picture():
    corpus, predictions = made()
    judged = judge(corpus, predictions)
    groups = group_clips(corpus.clips, ["age"], {"age": [23]})  # three speakers are younger
    table, found = by_group(judged, groups, 50), offsets(judged, groups, 50)
    for figure, rows in (
        (group_figures.fractions(table), 3),
        (group_figures.offset_panels(found), 2),
    ):
        marks = [line.get_marker() for line in figure.axes[0].lines]
        assert (marks.count("x"), marks.count("o")) == (1, rows - 1)
        assert "too few speakers" in figure.legends[0].get_texts()[-1].get_text()
    few = corpus.clips["clip_id"].str.split("-").str[0].astype(int).lt(4).to_numpy()
    small = corpus.with_clips(corpus.clips[few])
    ids = set(small.clips["clip_id"])
    judged = judge(small, predictions[predictions["clip_id"].isin(ids)])
    groups = group_clips(small.clips, ["sex"], {})
    table, found = by_group(judged, groups, 50), offsets(judged, groups, 50)
    assert not group_figures.can_be_drawn(table) and not group_figures.can_be_drawn(found)
    for draw, of in ((group_figures.fractions, table), (group_figures.offset_panels, found)):
        with pytest.raises(ValueError, match="no group has speakers enough"):
            draw(of)


def test_what_differs_within_a_speaker_is_no_group_of_speakers():
    corpus, predictions = made()
    half = corpus.clips["clip_id"].str.endswith("1").map({True: "yes", False: "no"})
    varied = corpus.with_clips(corpus.clips.assign(sex=half))
    with pytest.raises(ValueError, match="sex differs between clips of one speaker"):
        table_of(varied, predictions)


def test_what_cannot_be_compared_is_no_comparison():
    corpus, predictions = made()
    unknown = corpus.with_clips(corpus.clips.drop(columns=["expected_Joy", "expected_Fear"]))
    table = table_of(unknown, predictions, by=("age",))
    assert table["difference"].isna().all() and table["rho_low"].notna().all()
    few = corpus.with_clips(corpus.clips.groupby("speaker").head(4))
    kept = predictions[predictions["clip_id"].isin(few.clips["clip_id"])]
    table = table_of(few, kept)
    assert table.loc["Male", "note"] == "40 clips: too few (50)"
