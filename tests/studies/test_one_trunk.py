"""Sizes of one trunk with the weights of several networks, and several systems as one."""

import pandas as pd
import pytest

from emoshare_utils.models.regressor import Sizes, build
from emoshare_utils.studies import one_trunk
from emoshare_utils.training.settings import Training

SIZES = Sizes(cnn=(32,), pool=8, lstm=32, ffnn_1=(32,), ffnn_2=(32,))


@pytest.mark.parametrize("architecture", [1, 2])
@pytest.mark.parametrize("emotions", [2, 6, 9])
def test_a_wider_trunk_has_as_many_weights_as_all_networks(architecture, emotions):
    alone = build(architecture, 40, SIZES).n_parameters
    assert one_trunk.n_weights(SIZES, architecture, 40, 1) == alone
    wide = one_trunk.as_many_weights(SIZES, architecture, 40, emotions)
    found = one_trunk.n_weights(wide, architecture, 40, emotions)
    assert found == pytest.approx(emotions * alone, rel=0.08)
    assert wide.ffnn_1 == SIZES.ffnn_1 and wide.pool == SIZES.pool


def test_several_systems_as_one_are_their_mean():
    rows = [
        ("a", 1, emotion, seed, "devel", clip, 0.5, seed + ord(clip) / 1000)
        for emotion in ("Joy", "Fear")
        for seed in (0, 1, 2)
        for clip in "xyz"
    ]
    columns = ["encoder", "architecture", "emotion", "seed", "split", "clip_id", "share"]
    table = pd.DataFrame(rows, columns=[*columns, "prediction"])
    found = one_trunk.as_one_system(table, "all")
    assert list(found.columns) == list(table.columns) and len(found) == 6
    assert set(found["encoder"]) == {"all"} and set(found["seed"]) == {0}
    for row in found.itertuples():
        assert row.prediction == pytest.approx(1 + ord(row.clip_id) / 1000)


def test_seconds_of_an_epoch_are_measured_and_nothing_stays(heard, tmp_path):
    corpus, store = heard(tmp_path, train=20, devel=10)
    before = sorted(tmp_path.rglob("*"))
    tiny = Sizes(cnn=(8,), lstm=8, ffnn_1=(8,))
    assert one_trunk.seconds_of_an_epoch(corpus, store, 1, tiny, Training(), "cpu") > 0
    assert sorted(tmp_path.rglob("*")) == before
