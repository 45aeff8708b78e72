"""Languages that an encoder never heard: each one's fraction of its ceiling, and the gain."""

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.names import UnknownName
from emoshare_utils.results.figures.style import FAMILY_COLOURS
from emoshare_utils.results.metrics import spearman
from emoshare_utils.studies import language_figures
from emoshare_utils.studies.languages import (
    Language,
    by_language,
    language_table,
    worth_of_hearing,
)

EMOTIONS = ("Joy", "Fear")
HEARD = {"a": ["de", "en"], "b": ["fr", "it"]}


def made(unheard: float = 0.3, speakers: int = 8, clips: int = 30, seeds=(0, 1)):
    """Four languages, French harder than the others; `unheard` is the error where none was heard,
    .1 where one was; the control "mel" errs by .2 everywhere.
    """
    rng, rows, predicted = np.random.default_rng(0), [], []
    for language in ("de", "en", "fr", "it"):
        for number in range(speakers):
            for clip in range(clips):
                expected = rng.uniform(0.2, 0.8, 2)
                noise = 0.15 if language == "fr" else 0.05
                shares = np.clip(expected + rng.normal(0, noise, 2), 0, 1)
                name = f"{language}{number}-{clip}"
                about = {"clip_id": name, "split": "devel", "speaker": f"{language}{number}"}
                about |= {"language": language, "n_raters": 10} | dict(zip(EMOTIONS, shares))
                rows.append(about | {f"expected_{e}": x for e, x in zip(EMOTIONS, expected)})
                for encoder, seed in [(x, s) for x in ("a", "b", "mel") for s in seeds]:
                    error = 0.1 if language in HEARD.get(encoder, ()) else unheard
                    error = 0.2 if encoder == "mel" else error
                    for e, x in zip(EMOTIONS, expected + rng.normal(0, error, 2)):
                        one = {"encoder": encoder, "architecture": 1, "seed": seed}
                        one |= {"split": "devel", "clip_id": name, "emotion": e, "prediction": x}
                        predicted.append(one)
    corpus = Corpus("made", None, EMOTIONS, pd.DataFrame(rows), "simulated listeners")
    return corpus, pd.DataFrame(predicted)


def test_a_fraction_is_the_mean_rho_of_its_clips_over_seeds_by_that_of_the_expected_shares():
    corpus, predictions = made(speakers=5, clips=12)
    found = by_language(corpus, predictions, ["a", "mel"], resamples=50)
    clips = corpus.clips[corpus.clips["language"] == "it"].set_index("clip_id")
    ceiling = np.mean([spearman(clips[e], clips[f"expected_{e}"]) for e in EMOTIONS])
    rhos = [
        spearman(clips[e], rows.set_index("clip_id")["prediction"][clips.index])
        for (_, e), rows in predictions.query("encoder == 'a'").groupby(["seed", "emotion"])
        for rows in [rows[rows["clip_id"].isin(clips.index)]]
    ]
    one = found["it"]
    assert (one.n, one.n_speakers) == (60, 5)
    assert one.ceiling == pytest.approx(ceiling)
    assert one.rho["a"] == pytest.approx(np.mean(rhos))
    assert one.value["a"] == pytest.approx(np.mean(rhos) / ceiling)
    assert one.samples["a"].shape == (50,)
    assert np.nanmean(one.samples["a"]) == pytest.approx(one.value["a"], abs=0.08)


def test_what_was_heard_is_worth_something_where_it_is_and_nothing_where_it_is_not():
    corpus, predictions = made(unheard=0.3)
    found = by_language(corpus, predictions, ["a", "b", "mel"], resamples=300)
    worth = worth_of_hearing(found, HEARD, "mel").set_index("encoder")
    assert list(worth.index) == ["a", "b", "mean of all"]
    assert (worth["low_all"] > 0).all()
    assert (worth["difference"] > 0.15).all()
    fractions = {x: one.value for x, one in found.items()}  # the control cancels in the mean
    heard = [fractions[x][encoder] for encoder, xs in HEARD.items() for x in xs]
    never = [fractions[x][encoder] for encoder in HEARD for x in found if x not in HEARD[encoder]]
    expected = np.mean(heard) - np.mean(never)
    assert worth.loc["mean of all", "difference"] == pytest.approx(expected)
    corpus, predictions = made(unheard=0.1)
    found = by_language(corpus, predictions, ["a", "b", "mel"], resamples=300)
    worth = worth_of_hearing(found, HEARD, "mel").set_index("encoder")
    assert ((worth["low_all"] < 0) & (worth["high_all"] > 0)).all()
    assert (worth["low"] > worth["low_all"]).all()


def test_the_order_of_clips_and_encoders_changes_nothing():
    corpus, predictions = made(speakers=5, clips=10)
    found = by_language(corpus, predictions, ["a", "b", "mel"], resamples=30)
    turned = predictions.sample(frac=1, random_state=0)
    again = by_language(corpus, turned, ["mel", "b", "a"], resamples=30)
    for language, one in found.items():
        for encoder in one.value:
            assert one.value[encoder] == pytest.approx(again[language].value[encoder])
            np.testing.assert_allclose(one.samples[encoder], again[language].samples[encoder])


def test_too_few_speakers_are_an_open_question():
    corpus, predictions = made(speakers=4)
    found = by_language(corpus, predictions, ["a", "b", "mel"], resamples=20)
    table, worth = language_table(found, HEARD), worth_of_hearing(found, HEARD, "mel")
    assert table["low"].isna().all()
    assert worth[["low", "high", "low_all", "high_all"]].isna().all(axis=None)
    assert worth["note"].str.contains("^de: 4 speakers: too few for an interval").all()
    few = by_language(*made(clips=6), ["a", "mel"], resamples=5)  # 48 clips of each
    assert all(
        np.isnan(one.ceiling) and one.note == "48 clips: too few (50)" for one in few.values()
    )
    assert language_table(few, HEARD)["rho"].notna().all()
    assert worth_of_hearing(few, {"a": HEARD["a"]}, "mel")["difference"].isna().all()
    drawn = language_figures.fractions_by_language(language_table(few, HEARD), HEARD, "mel")
    assert len(drawn.axes) == 1 and "no interval and no ρ of the expected share: 48" in (
        drawn.get_supxlabel()
    )
    for figure in (
        language_figures.fractions_by_language(table, HEARD, "mel"),
        language_figures.worth(worth, HEARD, "mel"),
    ):
        assert "no interval" in figure.get_supxlabel()


def test_pictures_mark_what_was_heard():
    corpus, predictions = made()
    found = by_language(corpus, predictions, ["a", "b", "mel"], resamples=50)
    table = language_table(found, HEARD)
    assert table.groupby("encoder")["heard"].sum().to_dict() == {"a": 2, "b": 2, "mel": 0}
    _, axes = language_figures.fractions_by_language(table, HEARD, "mel").axes
    dots = [line for line in axes.lines if line.get_marker() in language_figures.MARKS]
    faces = [line.get_markerfacecolor() for line in dots]
    assert (faces.count("white"), len(faces)) == (4, 12)
    assert faces.count("black") == 8  # no family of encoders: black as acoustic features are
    named = {"a": "hubert-a", "b": "hubert-b"}
    drawn = language_figures.fractions_by_language(
        table.replace({"encoder": named}), {named[x]: y for x, y in HEARD.items()}, "mel"
    )
    edges = [
        line.get_markeredgecolor() for line in drawn.axes[1].lines if line.get_markersize() == 4
    ]
    assert edges.count(FAMILY_COLOURS["hubert"]) == 8 and edges.count("black") == 4
    dashed = [line for line in drawn.axes[0].lines if line.get_linestyle() == "--"]
    assert len(dashed) == 4 and {line.get_color() for line in dashed} == {"black"}
    assert drawn.axes[1].get_xlabel() == "fraction of the ρ of the expected share"
    worth = worth_of_hearing(found, HEARD, "mel")
    (axes,) = language_figures.worth(worth, HEARD, "mel").axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["a (de, en)", "b (fr, it)", "mean of all"]
    assert language_figures.name("runs/a/encoders/hubert-mini-0", {}) == "hubert-mini-0 of a"


def test_what_cannot_be_compared_is_refused():
    corpus, predictions = made(speakers=5, clips=10)
    with pytest.raises(UnknownName, match="no devel predictions of 'whisper'"):
        by_language(corpus, predictions, ["whisper", "mel"])
    for less, missing in (
        (predictions.query("encoder != 'mel' or seed == 0"), r"\[\('mel', 1\)\]"),
        (predictions.drop(index=predictions.index[-1]), r"\[\('mel', 1\)\]"),
    ):
        with pytest.raises(
            ValueError, match=f"predictions are missing of {missing}: run notebooks"
        ):
            by_language(corpus, less, ["a", "mel"])
    with pytest.raises(ValueError, match="test has no shares to judge by"):
        by_language(corpus, predictions, ["a", "mel"], split="test")
    found = by_language(corpus, predictions, ["a", "b", "mel"], resamples=5)
    for languages in (["xx"], ["de", "enn"], "de", ["de", "en", "fr", "it"]):
        with pytest.raises(ValueError, match="expected a list of some, not all, of the languages"):
            worth_of_hearing(found, {"a": languages}, "mel")
    with pytest.raises(UnknownName, match="'c' is not among a, b, mel"):
        worth_of_hearing(found, HEARD, "c")
    unknown = corpus.with_clips(corpus.clips.assign(language=None))
    with pytest.raises(ValueError, match="the language or the speaker of a clip is not known"):
        by_language(unknown, predictions, ["a", "mel"])


def test_a_mean_of_all_only_where_encoders_share_out_the_languages():
    found = by_language(*made(speakers=5, clips=10), ["a", "b", "mel"], resamples=5)
    for heard in ({"a": ["de"], "b": ["de"]}, {"a": ["de"], "b": ["en", "fr"]}, {"a": ["de"]}):
        assert list(worth_of_hearing(found, heard, "mel")["encoder"]) == list(heard)


def test_an_emotion_that_nobody_heard_in_a_language_is_left_out_there():
    corpus, predictions = made(speakers=5, clips=20)
    clips = corpus.clips.assign(Fear=corpus.clips["Fear"].mask(corpus.clips["language"] == "de", 0))
    found = by_language(corpus.with_clips(clips), predictions, ["a", "mel"], resamples=20)
    german = clips[clips["language"] == "de"]
    ceiling = spearman(german["Joy"].to_numpy(), german["expected_Joy"].to_numpy())
    assert found["de"].ceiling == pytest.approx(ceiling)
    assert np.isfinite(found["de"].samples["a"]).mean() > 0.5


def test_intervals_hold_what_is_true_as_often_as_they_say():
    rng, held, n_cases = np.random.default_rng(0), 0, 400
    drawn = rng.integers(0, 5, (8, 300, 5))  # five speakers of each of eight languages
    for _ in range(n_cases):
        found = {}
        for number, language in enumerate("abcdefgh"):
            of_speakers = rng.normal(0, 1, (2, 5))
            samples = of_speakers[:, drawn[number]].mean(axis=2)
            means = of_speakers.mean(axis=1)
            value, of_samples = (dict(zip(("one", "mel"), x)) for x in (means, samples))
            found[language] = Language(75, 5, 1.0, value, value, of_samples, "")
        worth = worth_of_hearing(found, {"one": list("abcd")}, "mel").iloc[0]
        held += worth["low"] < 0 < worth["high"]
    assert 0.93 < held / n_cases < 0.985
