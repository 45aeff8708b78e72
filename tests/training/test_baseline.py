"""The challenge's baseline: its grid, what is chosen and predicted, and that it is fitted once."""

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVR

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.store import FeatureStore, StoreError
from emoshare_utils.files import FolderError, locked
from emoshare_utils.results.scores import score
from emoshare_utils.training import baseline
from emoshare_utils.training.baseline import (
    collect_baselines,
    fit_baseline,
    linear_svr,
    mean_frames,
)
from emoshare_utils.training.predictions import PREDICTION_COLUMNS

EMOTIONS = ("Anger", "Boredom")


@pytest.fixture(scope="module")
def made(tmp_path_factory, heard) -> tuple[Corpus, FeatureStore]:
    """90 clips whose mean frame says how angry they sound; test labels are masked."""
    return heard(tmp_path_factory.mktemp("features"), train=50, devel=30, test=10)


@pytest.fixture(scope="module")
def fitted(made, tmp_path_factory) -> baseline.Baseline:
    return fit_baseline(*made, tmp_path_factory.mktemp("models"), workers=1)


def test_the_grid_is_the_challenges():
    assert len(baseline.GRID) == 2 * 2 * 5
    found = {key: {setting[key] for setting in baseline.GRID} for key in baseline.GRID[0]}
    assert found["C"] == {1e-2, 1e-3, 1e-4, 1e-5, 1e-6}
    assert found["loss"] == {"epsilon_insensitive", "squared_epsilon_insensitive"}
    scaler, svr = linear_svr("minmax", "epsilon_insensitive", 1e-3)
    assert isinstance(scaler, MinMaxScaler)
    assert isinstance(linear_svr(**baseline.GRID[0])[0], StandardScaler)
    assert (svr.max_iter, svr.random_state, svr.C) == (50_000, 42, 1e-3)


def test_a_mean_frame_is_the_mean_over_a_clips_own_frames(made):
    _, store = made
    means = mean_frames(store, ["clip3", "clip0"])
    assert means.shape == (2, 5) and means.dtype == np.float32
    for mean, clip in zip(means, ("clip3", "clip0")):
        np.testing.assert_allclose(mean, store.frames(clip).astype(float).mean(0), rtol=1e-5)


def test_the_squared_loss_is_solved_to_its_optimum(made):
    """Without a margin it is ridge regression, whose intercept is held small too."""
    corpus, store = made
    frames, shares = mean_frames(store, corpus.split("train")["clip_id"]), corpus.shares("train")
    fit = linear_svr("standard", "squared_epsilon_insensitive", 1e-2).fit(frames, shares[:, 0])
    scaled = (frames - frames.mean(0)) / frames.std(0)
    inputs = np.column_stack([scaled, np.ones(len(frames))]).astype(float)
    normal = np.eye(6) + 2e-2 * inputs.T @ inputs
    weights = np.linalg.solve(normal, 2e-2 * inputs.T @ shares[:, 0])
    np.testing.assert_allclose([*fit[-1].coef_, *fit[-1].intercept_], weights, atol=1e-3)


def test_it_predicts_devel_and_test_in_the_shape_of_every_system(made, fitted):
    corpus, _ = made
    table = fitted.predictions
    assert list(table.columns) == PREDICTION_COLUMNS
    assert set(table["architecture"]) == {0} and set(table["seed"]) == {42}
    assert table.groupby(["split", "emotion"]).size().to_dict() == {
        ("devel", "Anger"): 30,
        ("devel", "Boredom"): 30,
        ("test", "Anger"): 10,
        ("test", "Boredom"): 10,
    }
    assert table["prediction"].notna().all()
    assert table[table["split"] == "test"]["share"].isna().all()
    true = corpus.clips.set_index("clip_id")
    for row in table[table["split"] == "devel"].itertuples():
        assert row.share == true.loc[row.clip_id, row.emotion]
    rho = score(table, EMOTIONS, resamples=10)[0].set_index("emotion")["rho"]
    assert rho["Anger"] > 0.9 > rho["Boredom"]


def test_what_is_chosen_has_the_least_error_on_devel_and_makes_the_predictions(made, fitted):
    corpus, store = made
    grid = fitted.grid
    assert len(grid) == 40 and grid["converged"].all()
    assert (grid.groupby("emotion")["chosen"].sum() == 1).all()
    frames = {
        name: mean_frames(store, corpus.split(name)["clip_id"])
        for name in ("train", "devel", "test")
    }
    for column, emotion in enumerate(EMOTIONS):
        rows = grid[grid["emotion"] == emotion]
        (best,) = rows[rows["chosen"]].itertuples()
        assert best.devel_mae == rows["devel_mae"].min() < rows["devel_mae"].max()
        scaler = {"standard": StandardScaler(), "minmax": MinMaxScaler()}[best.scaler]
        svr = LinearSVR(C=best.C, loss=best.loss, max_iter=50_000, random_state=42, dual=True)
        svr.fit(scaler.fit_transform(frames["train"]), corpus.shares("train")[:, column])
        ours = fitted.predictions[fitted.predictions["emotion"] == emotion].set_index("split")
        for split in ("devel", "test"):
            expected = svr.predict(scaler.transform(frames[split]))
            np.testing.assert_allclose(ours.loc[split, "prediction"], expected, atol=1e-3)
            assert list(ours.loc[split, "clip_id"]) == list(corpus.split(split)["clip_id"])
        devel = svr.predict(scaler.transform(frames["devel"]))
        error = np.abs(devel - corpus.shares("devel")[:, column]).mean()
        assert best.devel_mae == pytest.approx(error, abs=1e-3)


def test_several_processes_predict_the_same(made, fitted, tmp_path):
    two = fit_baseline(*made, tmp_path, workers=2)
    pd.testing.assert_frame_equal(two.predictions, fitted.predictions)
    pd.testing.assert_frame_equal(two.grid, fitted.grid)


def test_a_finished_baseline_is_read_and_a_stale_or_unfinished_one_fitted_again(
    made, tmp_path, monkeypatch
):
    corpus, store = made
    first = fit_baseline(corpus, store, tmp_path, workers=1)
    search, fits = baseline._search, []
    monkeypatch.setattr(baseline, "_search", lambda *given: fits.append(1) or search(*given))
    again = fit_baseline(corpus, store, tmp_path, workers=1)
    assert not fits
    pd.testing.assert_frame_equal(first.predictions, again.predictions)
    halved = corpus.with_clips(corpus.clips.assign(Anger=corpus.clips["Anger"] / 2))
    fit_baseline(halved, store, tmp_path, workers=1)
    assert len(fits) == 1
    (first.folder / "baseline.json").unlink()  # written last
    (first.folder / "predictions.parquet").write_bytes(b"half")
    fit_baseline(halved, store, tmp_path, workers=1)
    assert len(fits) == 2


def test_a_second_fit_of_the_same_baseline_is_refused(made, tmp_path):
    folder = tmp_path / "fbank" / "svr"
    folder.mkdir(parents=True)
    with locked(folder), pytest.raises(FolderError, match="is being written by another run"):
        fit_baseline(*made, tmp_path, workers=1)


def test_what_a_stopped_fit_leaves_is_never_taken_for_finished(made, tmp_path, monkeypatch):
    corpus, store = made
    finished = fit_baseline(corpus, store, tmp_path, workers=1).folder / "baseline.json"

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(baseline, "prediction_table", stop)
    with pytest.raises(KeyboardInterrupt):
        fit_baseline(corpus, store, tmp_path, shuffle_shares=True, workers=1)
    assert not finished.exists()
    assert collect_baselines(tmp_path, corpus).empty


def test_collect_takes_this_clip_table_and_no_control(made, tmp_path):
    corpus, store = made
    assert collect_baselines(tmp_path, corpus).empty
    fit_baseline(corpus, store, tmp_path, workers=1)
    assert len(collect_baselines(tmp_path, corpus)) == 80
    assert collect_baselines(tmp_path, corpus, shuffle_shares=True).empty
    other = corpus.with_clips(corpus.clips.assign(Anger=corpus.clips["Anger"] / 2))
    assert collect_baselines(tmp_path, other).empty


def test_the_control_sees_permuted_shares_and_is_scored_against_the_true_ones(
    made, tmp_path, monkeypatch
):
    corpus, store = made
    seen, search = [], baseline._search
    monkeypatch.setattr(baseline, "_search", lambda *given: seen.append(given) or search(*given))
    control = fit_baseline(corpus, store, tmp_path, shuffle_shares=True, workers=1)
    shares = seen[0][2]
    for split in ("train", "devel"):
        true = corpus.shares(split)
        assert not np.array_equal(shares[split], true)
        np.testing.assert_array_equal(np.sort(shares[split], axis=0), np.sort(true, axis=0))
    devel = control.predictions.query("split == 'devel' and emotion == 'Anger'")
    np.testing.assert_array_equal(devel["share"], corpus.shares("devel")[:, 0])


def test_a_fit_that_stops_at_the_limit_is_told_not_warned_about(
    made, tmp_path, monkeypatch, recwarn
):
    monkeypatch.setattr(baseline, "MAX_ITER", 1)
    grid = fit_baseline(*made, tmp_path, workers=1).grid
    assert not grid["converged"].all()
    assert not recwarn.list


def test_frames_of_other_audio_and_rows_that_are_layers_are_refused(made, tmp_path):
    corpus, store = made
    changed = corpus.with_clips(corpus.clips.assign(audio_checksum="1"))
    with pytest.raises(StoreError, match="90 clips.*clip0.*02_embedding_extraction.*'fbank'"):
        fit_baseline(changed, store, tmp_path)
    pooled = FeatureStore.create(tmp_path, "m@pooled", 5, {"encoder": "m@pooled"})
    with pytest.raises(ValueError, match="'m@pooled' has one row per layer.*m@6"):
        fit_baseline(corpus, pooled, tmp_path)
