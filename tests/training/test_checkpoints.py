"""Checkpoints: training that was interrupted anywhere ends as if it never was."""

import json

import pandas as pd
import pytest
from tiny import EMOTIONS, assert_same, train, train_until, weights

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.training import checkpoints


@pytest.fixture(scope="module")
def made(tmp_path_factory, heard) -> tuple[Corpus, FeatureStore]:
    """60 clips whose first feature says how angry they sound; test labels are masked."""
    return heard(tmp_path_factory.mktemp("features"), train=36, devel=14, test=10)


def test_a_checkpoint_that_cannot_be_read_for_now_is_not_deleted(made, tmp_path, monkeypatch):
    train_until(1, made, tmp_path, monkeypatch)

    def fails(*_):
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="Stale"):
        patch.setattr(checkpoints, "read_tensors", fails)
        train(made, tmp_path)
    assert list(tmp_path.glob("*/*/checkpoint/state.json"))


def test_training_killed_while_it_writes_a_checkpoint_resumes_from_the_one_before(
    made, tmp_path, monkeypatch, capsys
):
    whole = train(made, tmp_path / "whole")
    write, calls = checkpoints.write_tensors, []

    def killed(*what):
        calls.append(1)
        if len(calls) == 4:  # the second emotion of the second epoch
            raise KeyboardInterrupt
        return write(*what)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints, "write_tensors", killed)
        train(made, tmp_path / "killed")
    system = train(made, tmp_path / "killed")
    assert "resumes after epoch 1" in capsys.readouterr().out
    pd.testing.assert_frame_equal(system.predictions, whole.predictions)


@pytest.mark.parametrize("which", ["state", "last", "best"])
def test_a_damaged_checkpoint_is_reported_and_training_starts_again(
    made, tmp_path, monkeypatch, capsys, which
):
    whole = train(made, tmp_path / "whole")
    train_until(3, made, tmp_path / "killed", monkeypatch)
    (state,) = tmp_path.glob("killed/*/*/checkpoint/state.json")
    learners = json.loads(state.read_text())["learners"]
    emotion = next(e for e, one in learners.items() if one["kept_epoch"] != one["epoch"])
    epochs = {"last": learners[emotion]["epoch"], "best": learners[emotion]["kept_epoch"]}
    name = f"{emotion}-{epochs[which]}.safetensors" if which in epochs else state.name
    file = state.with_name(name)
    file.write_bytes(file.read_bytes()[:50])
    system = train(made, tmp_path / "killed")
    assert f"{file} is damaged" in capsys.readouterr().out
    pd.testing.assert_frame_equal(system.predictions, whole.predictions)


def test_a_checkpoint_of_other_settings_is_not_resumed(made, tmp_path, monkeypatch, capsys):
    train_until(1, made, tmp_path, monkeypatch)
    other = train(made, tmp_path, learning_rate=1e-3)
    out = capsys.readouterr().out
    assert "resumes" not in out and "has other settings: this system starts" in out
    assert other.history["epoch"].max() == 4


@pytest.mark.parametrize(
    ("architecture", "average", "loss", "select"),
    [
        (1, 0.0, "mse", "rho"),
        (2, 0.0, "mse", "rho"),
        (1, 0.2, "mse", "rho"),
        (1, 0.0, "ccc", "rho"),
        (2, 0.2, "ccc", "mae"),
    ],
)
def test_interrupted_training_resumes_and_ends_as_if_it_never_was(
    made, tmp_path, monkeypatch, capsys, architecture, average, loss, select
):
    settings = {"architecture": architecture, "average": average, "loss": loss}
    settings |= {"epochs": 6, "patience": 1, "seed": 1, "shift": 0.1, "select": select}
    whole = train(made, tmp_path / "whole", **settings)
    ends = whole.history.groupby("emotion")["epoch"].max()
    assert ends["Boredom"] < 4 < ends["Anger"]  # one drops out early
    for killed_after in (1, 2, 4):
        models = tmp_path / f"killed{killed_after}"
        train_until(killed_after, made, models, monkeypatch, **settings)
        system = train(made, models, **settings)
        assert f"resumes after epoch {killed_after}" in capsys.readouterr().out
        pd.testing.assert_frame_equal(system.predictions, whole.predictions)
        pd.testing.assert_frame_equal(system.history, whole.history)
        for emotion in EMOTIONS:
            assert_same(weights(system, emotion), weights(whole, emotion))
        assert not (system.folder / checkpoints.FOLDER).exists()
