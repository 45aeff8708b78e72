"""Late fusion: the shares of several feature sets' networks, averaged."""

import itertools

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.names import all_members, label, members, ordered
from emoshare_utils.training.fusion import select_members, with_fusions
from emoshare_utils.training.predictions import PREDICTION_COLUMNS


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    systems = [("a", 1, 0), ("a", 2, 0), ("b", 1, 0), ("b", 1, 1), ("b", 0, 0), ("c", 1, 0)]
    rows = [
        (encoder, architecture, emotion, seed, split, f"{split} {clip}", share, rng.uniform())
        for (encoder, architecture, seed), emotion, (split, share), clip in itertools.product(
            systems, ("Joy", "Fear"), (("devel", 0.5), ("test", np.nan)), range(3)
        )
    ]
    columns = [*PREDICTION_COLUMNS]
    order = ["encoder", "architecture", "emotion", "seed", "split", "clip_id", "share"]
    assert columns == [*order, "prediction"]
    return pd.DataFrame(rows, columns=columns)


def test_a_fusion_is_the_mean_of_its_members_by_architecture_and_seed(predictions):
    found = with_fusions(predictions, ["a", "a + b"])
    pd.testing.assert_frame_equal(found.head(len(predictions)), predictions)
    fused = found[found["encoder"] == "a + b"]
    assert set(zip(fused["architecture"], fused["seed"])) == {(1, 0)}  # what both members have
    assert set(fused["split"]) == {"devel", "test"}  # masked shares stay
    key = ["emotion", "split", "clip_id"]
    of = {
        name: rows.set_index(key)["prediction"]
        for name, rows in predictions[
            (predictions["architecture"] == 1) & (predictions["seed"] == 0)
        ].groupby("encoder")
    }
    expected = (of["a"] + of["b"]) / 2
    pd.testing.assert_series_equal(
        fused.set_index(key)["prediction"].sort_index(), expected.sort_index()
    )


def test_of_three_members_one_that_is_not_trained_leaves_no_system(predictions):
    assert "a + b + d" not in set(with_fusions(predictions, ["a + b + d"])["encoder"])
    assert len(with_fusions(predictions, ["a + b + c"])) == len(predictions) + 12


def test_names_with_a_plus():
    assert members("fbank + mfcc") == ["fbank", "mfcc"]
    assert members("frames:a + b") == ["frames:a + b"]  # a folder's name may have one
    assert all_members(["mfcc", "fbank + mfcc", "hubert-mini@2"]) == [
        "mfcc",
        "fbank",
        "hubert-mini@2",
    ]
    assert label("hubert-mini@2 + fbank") == "HuBERT-mini L2 + Mel filterbank"
    assert ordered(["fbank + mfcc", "fbank", "hubert-mini"])[-1] == "fbank + mfcc"


def test_members_are_chosen_while_the_interval_of_the_gain_lies_above_0():
    """b adds what a lacks; c is a again, with noise; d is noise."""
    rng, n = np.random.default_rng(0), 300
    of_a, of_b = rng.normal(size=(2, n))
    predicted = {"a": of_a, "b": of_b, "c": of_a + rng.normal(size=n), "d": rng.normal(size=n)}
    about = {"architecture": 1, "seed": 0, "emotion": "Joy", "split": "devel"}
    about |= {"clip_id": [f"{i}" for i in range(n)], "share": 1.1 * of_a + of_b}
    table = pd.concat(
        [pd.DataFrame({**about, "encoder": e, "prediction": p}) for e, p in predicted.items()]
    )
    speakers = {f"{i}": f"s{i % 20}" for i in range(n)}
    chosen, steps = select_members(table, ["Joy"], speakers, resamples=200)
    assert chosen == "a + b"
    assert list(steps["before"]) == ["a"] * 3 + ["a + b"] * 2
    assert (steps["difference"][3:] < 0).all()
    assert select_members(table[table["encoder"] == "d"], ["Joy"], speakers)[0] == "d"
