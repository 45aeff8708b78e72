"""What is known of a clip beside its sound, as an input of every architecture."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import QUICK, SIZES, train_until

from emoshare_utils.features.metadata import MetadataError, WithMetadata, metadata, usable
from emoshare_utils.models.layers import Standardise
from emoshare_utils.models.regressor import build
from emoshare_utils.training.batches import Loader, frame_statistics
from emoshare_utils.training.loop import new_learners
from emoshare_utils.training.settings import Job, Training, stored_settings
from emoshare_utils.training.systems import collect, load_network, train_system

TOLD = replace(QUICK, metadata=("mood", "age"))


@pytest.fixture(scope="module")
def made(tmp_path_factory, heard):
    """Frames that say nothing, beside a mood that says how angry a clip sounds."""
    corpus, store = heard(tmp_path_factory.mktemp("features"), train=60, devel=20, test=4)
    clips, rng = corpus.clips.copy(), np.random.default_rng(1)
    frames = [rng.normal(0, 1, (9, 5)) for _ in clips["clip_id"]]
    store.discard("shard-00000")
    store.write_shard("shard-00000", clips, frames)
    clips["mood"] = np.where(clips["Anger"] > 0.5, "bad", "good")
    clips.loc[[0, 83], "mood"] = [None, "odd"]
    clips["age"] = np.arange(84) % 7 + 20.0
    clips.loc[5, "age"] = np.nan
    return corpus.with_clips(clips), store


def test_numbers_are_standardised_over_train_and_text_is_one_column_a_value(made):
    corpus, _ = made
    numbers, clips = metadata(corpus, ["age", "mood"]), corpus.clips
    assert list(numbers) == ["age", "mood: bad", "mood: good"]
    assert numbers.loc["clip5", "age"] == 0 and not numbers.loc[
        ["clip0", "clip83"], "mood: bad":
    ].any(axis=None)
    train = clips.loc[clips["split"] == "train", "age"]
    expected = (clips["age"][70] - train.mean()) / train.std()
    assert numbers.loc["clip70", "age"] == pytest.approx(expected, abs=1e-3)
    assert (numbers["mood: bad"].to_numpy() == (clips["mood"] == "bad").fillna(False)).all()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("sex", "expected a column of the clip table .*: .*mood, age"),
        ("Anger", "neither a share nor a name"),
        ("clip_id", "neither a share nor a name"),
        ("one", "no two different numbers"),
        ("each", "60 different values"),
        ("expected_Anger", "neither a share nor a name: mood, age, one, each, none"),
        ("none", "no two different numbers"),
    ],
)
def test_a_column_that_cannot_be_an_input_is_refused(made, column, message):
    corpus, store = made
    clips = corpus.clips.assign(
        one=1, each=corpus.clips["clip_id"], expected_Anger=0.5, none=np.nan
    )
    with pytest.raises(MetadataError, match=message):
        WithMetadata(store, corpus.with_clips(clips), [column])


def test_far_numbers_are_cut_and_columns_that_are_no_input_left_out(made, capsys):
    corpus, _ = made
    clips = corpus.clips.assign(
        far=np.where(corpus.clips["split"] == "devel", 1e9, [0.0, 1.0] * 42)
    )
    clips["far"] = clips["far"].replace(0.0, -np.inf)
    clips["near"] = np.where(clips["split"] == "devel", 1e9, [0.0, 1.0] * 42)
    corpus = corpus.with_clips(clips)
    assert metadata(corpus, ["near"])["near"].max() == 10
    assert usable(corpus, ["near", "far", "sex", "mood"]) == ["near", "mood"]
    said = capsys.readouterr().out
    assert "left out: metadata = 'far'" in said and "left out: metadata = 'sex'" in said


@pytest.mark.parametrize("architecture", [1, 2, 3])
@pytest.mark.parametrize("shared_trunk", [False, True])
def test_a_network_learns_from_what_only_the_metadata_tell(
    made, tmp_path, architecture, shared_trunk
):
    corpus, store = made
    settings = {"learning_rate": 0.03, "epochs": 12, "shared_trunk": shared_trunk}
    told, untold = replace(TOLD, **settings), replace(QUICK, **settings)
    rho = {}
    for name, training in (("told", told), ("untold", untold)):
        system = train_system(
            corpus, store, architecture, 0, tmp_path / name, SIZES, training, "cpu"
        )
        of_anger = system.history[system.history["emotion"] == "Anger"]
        rho[name] = of_anger["devel_rho"].max()
    assert rho["told"] > 0.7 > rho["untold"]


@pytest.mark.parametrize("architecture", [1, 2, 3])
def test_batches_and_padding_change_nothing_and_frames_stay_apart(made, architecture):
    corpus, store = made
    job = Job(corpus, store, architecture, 0, SIZES, TOLD)
    assert (job.sizes.metadata, job.store.width) == (3, 8)
    network = build(architecture, job.store.width, job.sizes).eval()
    features, lengths = torch.randn(4, 12, 8), torch.tensor([12, 9, 5, 8])
    features[..., 5:] = features[:, :1, 5:]  # the same in each frame
    together = network(features, lengths)
    for row, length in enumerate(lengths):
        alone = network(features[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-6)
    assert network.cnn.convolutions[0].in_channels == 5
    learners = new_learners(
        job, pd.DataFrame(0.5, corpus.split("train")["clip_id"], ["Anger"]), torch.device("cpu")
    )
    learned = learners["Anger"].network.standardise
    assert learned.mean[5:].eq(0).all() and learned.scale[5:].eq(1).all()
    assert learned.mean[:5].ne(0).all()
    vector = network.vector(*network.frames(features, lengths))
    torch.testing.assert_close(vector[:, -3:], features[:, 0, 5:])


def test_it_resumes_to_the_same_predictions(made, tmp_path, monkeypatch, capsys):
    corpus, store = made
    whole = train_system(corpus, store, 1, 0, tmp_path / "whole", SIZES, TOLD, "cpu")
    train_until(2, made, tmp_path / "cut", monkeypatch, metadata=TOLD.metadata)
    resumed = train_system(corpus, store, 1, 0, tmp_path / "cut", SIZES, TOLD, "cpu")
    assert "resumes after epoch 2" in capsys.readouterr().out
    pd.testing.assert_frame_equal(whole.predictions, resumed.predictions)


def test_changed_metadata_train_again_and_files_without_stay_as_they_were(made, tmp_path, capsys):
    corpus, store = made
    first = train_system(corpus, store, 1, 0, tmp_path, SIZES, TOLD, "cpu")
    pd.testing.assert_frame_equal(collect(tmp_path, corpus, SIZES, TOLD), first.predictions)
    assert collect(tmp_path, corpus, SIZES, QUICK).empty
    older = corpus.with_clips(corpus.clips.assign(age=corpus.clips["age"] ** 2))
    assert collect(tmp_path, older, SIZES, TOLD).empty
    train_system(older, store, 1, 0, tmp_path, SIZES, TOLD, "cpu")
    assert "has other settings" in capsys.readouterr().out
    settings = stored_settings(corpus, SIZES, QUICK)
    assert "metadata" not in settings["sizes"] and "metadata" not in settings["training"]


def test_a_network_with_metadata_is_not_taken_for_one_that_needs_only_sound(made, tmp_path):
    corpus, store = made
    system = train_system(corpus, store, 1, 0, tmp_path, SIZES, TOLD, "cpu")
    with pytest.raises(ValueError, match="trained with training.metadata = .*'mood', 'age'"):
        load_network(system.folder, "Anger", store.width)


def test_a_shift_of_the_spectrum_leaves_metadata_alone(made, tmp_path):
    corpus, store = made
    job = Job(corpus, store, 1, 0, SIZES, TOLD)
    standardise = Standardise(8)
    standardise.fit(*frame_statistics(job.store, corpus.clips["clip_id"].to_numpy()))
    loader = Loader(job.store, standardise, torch.float32, None, 8, torch.device("cpu"))
    ids = corpus.clips["clip_id"].to_numpy()[:6]
    plain, moved = (loader.micro_batches(ids, x)[0].features for x in (None, np.full(6, 1.0)))
    torch.testing.assert_close(plain[..., 5:], moved[..., 5:])
    torch.testing.assert_close(plain[:, :9, 1:5], moved[:, :9, :4])


def test_a_single_name_is_no_list():
    with pytest.raises(ValueError, match="expected a list of columns"):
        Training(metadata="sex")
