"""Early stopping: when an emotion stops, and which epoch is kept."""

import math

import pandas as pd
import pytest
from tiny import EMOTIONS, assert_same, train, weights

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.results.metrics import METRICS, Metric, spearman
from emoshare_utils.training.early_stopping import EarlyStopping
from emoshare_utils.training.settings import Training


@pytest.fixture(scope="module")
def made(tmp_path_factory, heard) -> tuple[Corpus, FeatureStore]:
    """60 clips whose first feature says how angry they sound; test labels are masked."""
    return heard(tmp_path_factory.mktemp("features"), train=36, devel=14, test=10)


def test_an_emotion_that_stops_early_leaves_the_others_as_they_would_be(made, tmp_path):
    corpus, store = made
    clips = corpus.clips.assign(
        Anger=corpus.clips["Anger"].where(corpus.clips["split"] != "devel", 0.5)
    )
    constant = Corpus("made", corpus.root, EMOTIONS, clips)  # Anger's devel rho never exists
    stopped = train((constant, store), tmp_path / "stopped", patience=2)
    full = train(made, tmp_path / "full", patience=9)
    epochs = stopped.history.groupby("emotion")["epoch"].max()
    assert epochs["Anger"] == 2 and epochs["Boredom"] == 4
    assert_same(weights(stopped, "Boredom"), weights(full, "Boredom"), atol=1e-5)


def test_the_best_epoch_is_kept(made, tmp_path):
    system = train(made, tmp_path, epochs=6)
    history = system.history[system.history["emotion"] == "Anger"]
    table = system.predictions
    devel = table[(table["emotion"] == "Anger") & (table["split"] == "devel")]
    rho = spearman(devel["share"], devel["prediction"])
    assert rho == pytest.approx(history["devel_rho"].max(), abs=1e-6)
    assert history["devel_rho"].nunique() > 1


def test_training_stops_when_devel_no_longer_rises(made, tmp_path):
    history = train(made, tmp_path, epochs=60, patience=2).history
    for _, rows in history.groupby("emotion"):
        best = rows.loc[rows["devel_rho"].idxmax(), "epoch"]
        assert rows["epoch"].max() == min(60, best + 2)
    assert history["epoch"].max() < 60


def test_where_devel_ties_the_first_epoch_is_kept():
    stopping, kept = EarlyStopping(), []
    for epoch, rho in enumerate([math.nan, 0.5, 0.5, 0.4, 0.6], start=1):
        stopping.judge(rho, epoch)
        kept.append(stopping.kept_epoch)
    assert kept == [1, 2, 2, 2, 5]


def test_the_metric_that_selects_chooses_the_epoch(made, tmp_path):
    settings = {"epochs": 8, "patience": 9, "learning_rate": 2e-2}
    by_rho, by_mae = (train(made, tmp_path / x, select=x, **settings) for x in ("rho", "mae"))
    assert "devel_mae" not in by_rho.history and "devel_rho" in by_mae.history
    pd.testing.assert_series_equal(by_rho.history["devel_rho"], by_mae.history["devel_rho"])
    for emotion, rows in by_mae.history.groupby("emotion"):
        devel = by_mae.predictions.query(f"split == 'devel' and emotion == '{emotion}'")
        mae = (devel["share"] - devel["prediction"]).abs().mean()
        assert mae == pytest.approx(rows["devel_mae"].min(), abs=1e-6)  # lower is better
        assert rows["devel_mae"].min() < rows["devel_mae"].max()
    best = [
        system.history.set_index("epoch").groupby("emotion")[column]
        for system, column in ((by_rho, "devel_rho"), (by_mae, "devel_mae"))
    ]
    assert not best[0].idxmax().equals(best[1].idxmin())  # else nothing was tested


def test_a_metric_registered_outside_selects_and_an_unknown_one_is_named(
    made, tmp_path, monkeypatch
):
    monkeypatch.setattr(METRICS, "entries", dict(METRICS.entries))
    with pytest.raises(ValueError, match="metric = 'rhoo': did you mean 'rho'"):
        Training(select="rhoo")
    METRICS.register("last", Metric(lambda shares, predictions: 1.0, "always the same"))
    history = train(made, tmp_path, select="last", patience=1).history
    assert history["epoch"].max() == 2 and (history["devel_last"] == 1).all()
