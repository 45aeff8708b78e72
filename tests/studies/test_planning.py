"""Corpora with fewer clips, speakers or listeners, and what rho makes of them."""

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.results.metrics import spearman
from emoshare_utils.studies import planning, planning_figures
from emoshare_utils.training.settings import Training

EMOTIONS = ("Joy", "Fear")


@pytest.fixture
def corpus():
    rng, rows = np.random.default_rng(0), []
    for speaker in range(20):
        for clip in range(12):
            n = 8 if clip else 3
            joy, fear = rng.binomial(n, rng.uniform(0, 1, 2)) / n
            split = "train" if speaker < 12 else "devel"
            name = f"{speaker}-{clip}"
            rows.append((name, f"{name}.wav", split, f"s{speaker}", n, 1.0, joy, fear))
    columns = ["clip_id", "path", "split", "speaker", "n_raters", "duration_s", *EMOTIONS]
    return Corpus("made", None, EMOTIONS, pd.DataFrame(rows, columns=columns))


def test_fewer_clips_and_speakers_of_train_alone(corpus):
    few = planning.fewer(corpus, "clips", 30, 0)
    assert len(few.split("train")) == 30
    pd.testing.assert_frame_equal(
        few.split("devel").reset_index(drop=True), corpus.split("devel").reset_index(drop=True)
    )
    some = planning.fewer(corpus, "speakers", 5, 0).split("train")
    assert some["speaker"].nunique() == 5 and len(some) == 60
    other = planning.fewer(corpus, "speakers", 5, 1).split("train")
    assert set(other["speaker"]) != set(some["speaker"])
    same = planning.fewer(corpus, "speakers", 5, 0).split("train")
    pd.testing.assert_frame_equal(some, same)


def test_fewer_listeners_give_their_votes_without_replacement(corpus):
    before, after = corpus.clips, planning.fewer(corpus, "listeners", 4, 0).clips
    few = before["n_raters"] < 4
    pd.testing.assert_frame_equal(after[few], before[few], check_dtype=False)
    drawn = after.loc[~few, list(EMOTIONS)].to_numpy() * 4
    assert np.allclose(drawn, drawn.round()) and (after.loc[~few, "n_raters"] == 4).all()
    votes = before.loc[~few, list(EMOTIONS)].to_numpy() * 8
    assert (drawn <= votes).all() and (4 - drawn <= 8 - votes).all()
    assert abs((drawn / 4 - votes / 8).mean()) < 0.03
    whole = planning.fewer(corpus, "listeners", 8, 0).clips[list(EMOTIONS)]
    np.testing.assert_allclose(whole, before[list(EMOTIONS)])
    votes = before.assign(Fear=1 - before["Joy"])  # each chose one of the two
    one = planning.fewer(corpus.with_clips(votes), "listeners", 1, 0).clips[list(EMOTIONS)]
    assert (one.to_numpy().sum(axis=1) == 1).all()
    assert planning.totals(corpus) == {"clips": 144, "speakers": 12, "listeners": 8}


def test_what_cannot_be_made_fewer_is_said(corpus):
    with pytest.raises(ValueError, match="kind = 'raters': expected one of clips, speakers"):
        planning.fewer(corpus, "raters", 2, 0)
    unknown = corpus.with_clips(corpus.clips.assign(Joy=corpus.clips["Joy"] * 0.917 + 0.01))
    with pytest.raises(ValueError, match="not known to be votes"):
        planning.fewer(unknown, "listeners", 2, 0)
    none = corpus.with_clips(corpus.clips.assign(n_raters=pd.array([None] * 240, "Int64")))
    assert "listeners" not in planning.totals(none)


def test_a_part_of_the_clips_gets_as_many_steps():
    training = Training(epochs=6, patience=3, batch_size=32)
    found = planning.as_many_steps(training, 540, 68)  # 17 batches, and 3
    assert (found.epochs, found.patience) == (34, 17)


def test_what_to_train_on_is_named_once_and_smaller_than_the_whole(corpus):
    found = planning.smaller_ones(corpus, [0.01, 0.1, 0.5, 1.0], [1, 4, 8, 9])
    assert found[0] == ("clips", 144) and len(set(found)) == len(found)
    assert {("clips", 2), ("speakers", 2), ("clips", 14), ("speakers", 6)} < set(found)
    assert [number for kind, number in found if kind == "listeners"] == [1, 4]
    assert ("speakers", 12) not in found


def predictions(corpus, noise, seeds=(0, 1)):
    devel, rng, rows = corpus.split("devel"), np.random.default_rng(0), []
    for seed in seeds:
        for emotion in EMOTIONS:
            about = {"encoder": "a", "architecture": 1, "emotion": emotion, "seed": seed}
            about |= {"split": "devel", "clip_id": devel["clip_id"], "share": devel[emotion]}
            predicted = devel[emotion] + rng.normal(0, noise, len(devel))
            rows.append(pd.DataFrame(about | {"prediction": predicted}))
    return pd.concat(rows, ignore_index=True)


def test_a_point_of_the_curve_is_the_mean_rho_of_its_seeds(corpus):
    speakers = corpus.clips.set_index("clip_id")["speaker"]
    good, poor = (
        predictions(corpus, noise).assign(kind="clips", number=n)
        for noise, n in ((0.1, 144), (1, 36))
    )
    table = planning.curve(pd.concat([good, poor]), EMOTIONS, speakers, 100).set_index("number")
    each = [
        np.mean([spearman(x["share"].to_numpy(), x["prediction"].to_numpy()) for _, x in one])
        for one in (of.groupby("emotion") for _, of in good.groupby("seed"))
    ]
    row = table.loc[144]
    assert row["mean_rho"] == pytest.approx(np.mean(each))
    assert row["mean_rho"] > table.loc[36, "mean_rho"]
    assert (row["lowest"], row["highest"]) == (pytest.approx(min(each)), pytest.approx(max(each)))
    assert row["low"] < each[0] < row["high"] and row["seeds"] == 2


def test_the_interval_is_half_as_wide_with_four_times_the_speakers(corpus):
    speakers = corpus.clips.set_index("clip_id")["speaker"]
    one = predictions(corpus, 0.4, [0])
    table = planning.interval_width(one, EMOTIONS, speakers, [20, 80], 1500)
    narrow, wide = table["width"].iloc[1], table["width"].iloc[0]
    by_t = 1.99 / 2.09  # Student's t widens that of fewer speakers more
    assert narrow / wide == pytest.approx(0.5 * by_t, abs=0.05)
    # as wide as the interval that so many speakers give by themselves
    own = planning.curve(one.assign(kind="clips", number=144), EMOTIONS, speakers, 1000).iloc[0]
    of_8 = planning.interval_width(one, EMOTIONS, speakers, [8], 1500)["width"].iloc[0]
    assert of_8 == pytest.approx(own["high"] - own["low"], rel=0.1)
    unnamed = speakers.where(speakers != "s12")
    assert planning.interval_width(one, EMOTIONS, unnamed, [8]).empty
    few = one[one["clip_id"].map(speakers).isin(["s12", "s13"])]
    assert planning.interval_width(few, EMOTIONS, speakers, [10]).empty
    points = planning.curve(one.assign(kind="clips", number=144), EMOTIONS, speakers, 50)
    figure = planning_figures.planning(points, table, 8, "MFCC (A1), one trunk")
    clips, width = figure.axes
    caption = figure.get_supxlabel()
    assert caption.startswith("MFCC (A1), one trunk\n")
    assert "drawn with replacement from 8" in caption
    assert {tick.get_rotation() for tick in clips.get_xticklabels()} == {0}
    assert width.get_xlim()[0] < 20 and width.get_xlim()[1] > 80
    both = pd.concat([points, points.assign(kind="speakers", number=12)])
    first, second, _ = planning_figures.planning(both, table.head(0), 8).axes
    assert first.get_ylim() == second.get_ylim()
    assert first.get_shared_y_axes().joined(first, second)


def test_ticks_that_would_touch_have_no_name():
    table = pd.DataFrame({"kind": "clips", "number": [4000, 3674, 1000], "seeds": 1})
    columns = ["mean_rho", "lowest", "highest", "low", "high"]
    table = table.assign(**dict.fromkeys(columns, 0.5))
    axes = planning_figures.planning(table, pd.DataFrame(columns=["speakers", "width"]), 8).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1,000", "3,674", ""]
