"""Training: independent networks, early stopping, checkpoints, and predictions of what was best."""

import copy
import json
import math

import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
import torch

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.store import FeatureStore, StoreError
from emoshare_utils.files import locked
from emoshare_utils.models.architectures import ARCHITECTURES, Sizes
from emoshare_utils.models.layers import Standardise
from emoshare_utils.models.padding import pad
from emoshare_utils.results.metrics import spearman
from emoshare_utils.results.scores import score
from emoshare_utils.studies import released_code as released
from emoshare_utils.studies.released_code import choose
from emoshare_utils.training import batches as loader
from emoshare_utils.training import checkpoints
from emoshare_utils.training.batches import Loader, shift
from emoshare_utils.training.learner import Learner
from emoshare_utils.training.loop import _initial
from emoshare_utils.training.predictions import PREDICTION_COLUMNS
from emoshare_utils.training.settings import PRECISIONS, Training
from emoshare_utils.training.systems import collect, load_network, train_system

SIZES = Sizes(cnn=(8, 8), lstm=8, ffnn_1=(8,), ffnn_2=(8,))
QUICK = Training(learning_rate=5e-3, batch_size=16, epochs=4, patience=9, start_at_mean=True)
EMOTIONS = ("Anger", "Boredom")


@pytest.fixture(scope="module")
def made(tmp_path_factory, heard) -> tuple[Corpus, FeatureStore]:
    """60 clips whose first feature says how angry they sound; test labels are masked."""
    return heard(tmp_path_factory.mktemp("features"), train=36, devel=14, test=10)


def train(made, models, architecture=1, seed=0, settings=QUICK, **changes):
    corpus, store = made
    settings = Training(**(vars(settings) | changes))
    return train_system(corpus, store, architecture, seed, models, SIZES, settings, "cpu")


def train_until(killed_after, made, models, monkeypatch, **changes):
    """`train`, interrupted after an epoch."""
    write = checkpoints.write

    def write_and_interrupt(folder, about, epoch, *rest):
        write(folder, about, epoch, *rest)
        if epoch == killed_after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="goes on from"):
        patch.setattr(checkpoints, "write", write_and_interrupt)
        train(made, models, **changes)


def weights(system, emotion="Anger"):
    return load_network(system.folder, emotion, 5).state_dict()


def assert_same(one: dict, other: dict, atol: float = 0.0):
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], atol=atol, rtol=0, msg=name)


@pytest.mark.parametrize("architecture", [1, 2])
def test_it_learns_and_predicts_devel_and_test(made, tmp_path, architecture):
    system = train(made, tmp_path, architecture, epochs=25)
    table = system.predictions
    assert table.groupby(["split", "emotion"]).size().to_dict() == {
        ("devel", "Anger"): 14,
        ("devel", "Boredom"): 14,
        ("test", "Anger"): 10,
        ("test", "Boredom"): 10,
    }
    assert table[table["split"] == "test"]["share"].isna().all()
    assert table["prediction"].notna().all()
    anger = table[(table["emotion"] == "Anger") & (table["split"] == "devel")]
    assert spearman(anger["share"], anger["prediction"]) > 0.7


def test_an_emotion_trained_alone_equals_the_same_emotion_among_others(made, tmp_path):
    corpus, store = made
    alone = Corpus("made", corpus.root, ("Boredom",), corpus.clips)
    together, single = (train((c, store), tmp_path / c.emotions[0]) for c in (corpus, alone))
    assert_same(weights(together, "Boredom"), weights(single, "Boredom"), atol=1e-5)


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


@pytest.mark.parametrize("architecture", [1, 2])
def test_the_gradient_of_pieces_is_the_gradient_of_the_batch(made, architecture):
    corpus, store = made
    network = _initial(architecture, 5, SIZES, 0, "Anger")
    clip_ids = corpus.split("train")["clip_id"].to_numpy()
    shares = torch.rand(36)
    features, lengths = pad([store.frames(clip) for clip in clip_ids])
    mse = torch.nn.functional.mse_loss(network(features, lengths), shares)
    whole = torch.autograd.grad(mse, list(network.parameters()))
    for piece_clips in (1, 5, 36):
        reader = Loader(
            store, Standardise(5), torch.float32, None, piece_clips, torch.device("cpu")
        )
        pieces = reader.pieces(clip_ids)
        assert len(pieces) == math.ceil(36 / piece_clips)
        gradients, squared_error = Learner(network, 1.0).gradients(pieces, shares)
        torch.testing.assert_close(gradients, list(whole), atol=1e-7, rtol=1e-4)
        assert squared_error / 36 == pytest.approx(mse.item())


def test_bfloat16_learns_as_float32_does(made, tmp_path):
    best, last = {}, {}
    for precision in PRECISIONS:
        system = train(made, tmp_path / precision, epochs=25, precision=precision)
        best[precision] = system.history.groupby("emotion")["devel_rho"].max()["Anger"]
        last[precision] = weights(system)["ffnn.share.weight"]
        assert {t.dtype for t in weights(system).values()} == {torch.float32}
    assert best["bfloat16"] == pytest.approx(best["float32"], abs=0.05)
    assert not torch.equal(*last.values())


def test_a_large_network_trains_the_same_by_smaller_pieces(made, tmp_path, monkeypatch):
    whole = train(made, tmp_path / "whole")
    trims = []
    monkeypatch.setattr(training, "LARGE", 0)
    monkeypatch.setattr(training, "give_memory_back", lambda: trims.append(1))
    pieces = train(made, tmp_path / "pieces")
    assert len(trims) == 4 * 3  # epochs, steps
    assert_same(weights(whole), weights(pieces), atol=1e-5)


def test_padding_to_a_fixed_maximum_trains_the_same_network(made, tmp_path):
    batch = train(made, tmp_path / "batch")
    fixed = train(made, tmp_path / "fixed", max_frames=40)
    assert_same(weights(batch), weights(fixed), atol=1e-5)


def test_steps_are_adam_on_the_mean_squared_error(made, tmp_path):
    corpus, store = made
    system = train(made, tmp_path, epochs=4, batch_size=36, start_at_mean=False)
    history = system.history[system.history["emotion"] == "Boredom"].set_index("epoch")
    steps = history["devel_rho"].idxmax()  # an epoch is one batch here
    assert steps > 1
    network = _initial(1, 5, SIZES, 0, "Boredom")
    clips = corpus.split("train")
    network.standardise.fit(*loader.frame_statistics(store, clips["clip_id"].to_numpy()))
    optimiser = torch.optim.Adam(network.parameters(), lr=QUICK.learning_rate)
    features, lengths = pad([store.frames(clip) for clip in clips["clip_id"]])
    shares = torch.tensor(clips["Boredom"].to_numpy(), dtype=torch.float32)
    for epoch in range(1, steps + 1):
        optimiser.zero_grad()
        mse = torch.nn.functional.mse_loss(network(features, lengths), shares)
        assert history.loc[epoch, "train_mse"] == pytest.approx(mse.item(), rel=1e-4)
        mse.backward()
        optimiser.step()
    assert_same(weights(system, "Boredom"), network.state_dict(), atol=1e-5)


def test_every_seed_and_emotion_starts_from_its_own_weights():
    starts = {
        _initial(1, 5, SIZES, seed, emotion).ffnn.share.weight[0, 0].item()
        for seed in (0, 1)
        for emotion in EMOTIONS
    }
    assert len(starts) == 4


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


@pytest.mark.parametrize("bands", [-3.0, -0.5, 0.0, 1.25])
def test_shift_interpolates_along_the_bands_of_each_clip(bands):
    features = torch.randn(2, 7, 12)
    moved = shift(features, torch.tensor([bands, 0.0]))
    expected = scipy.ndimage.shift(features[0], (0, -bands), order=1, mode="nearest")
    torch.testing.assert_close(moved[0], torch.tensor(expected), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[1], features[1])


def test_each_clip_of_a_batch_is_shifted_by_its_own_bands(made):
    corpus, store = made
    clip_ids, bands = corpus.clips["clip_id"].to_numpy()[:6], np.arange(6.0) - 3
    ready = Loader(store, Standardise(5), torch.float32, 30, 4, torch.device("cpu"))
    for moved, still in zip(ready.pieces(clip_ids, bands), ready.pieces(clip_ids), strict=True):
        own = torch.tensor(bands[moved.rows], dtype=torch.float32)
        torch.testing.assert_close(moved.features, shift(still.features, own))


def test_training_shifts_mel_bands_by_chance_and_devel_never(made, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        loader, "shift", lambda features, bands: seen.append(bands) or shift(features, bands)
    )
    system = train(made, tmp_path / "fbank", epochs=2, shift=2)
    bands = torch.cat(seen)
    assert len(bands) == 2 * 36 and len(bands.unique()) > 70
    assert bands.abs().max() <= 2 and bands.min() < -1 and bands.max() > 1
    assert_same(weights(system), weights(train(made, tmp_path / "again", epochs=2, shift=2)))

    corpus, store = made
    monkeypatch.setitem(store.settings, "encoder", "mfcc")
    seen.clear()
    train(made, tmp_path / "mfcc", epochs=2, shift=2)
    assert not seen


def test_a_finished_system_is_read_not_trained_again(made, tmp_path, monkeypatch):
    first = train(made, tmp_path)

    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "_train", refuse)
    again = train(made, tmp_path)
    pd.testing.assert_frame_equal(first.predictions, again.predictions)
    with pytest.raises(AssertionError, match="trained again"):
        train(made, tmp_path, learning_rate=1e-3)


def test_a_system_killed_before_its_end_is_trained_again(made, tmp_path):
    first = train(made, tmp_path)
    (first.folder / "system.json").unlink()  # written last
    (first.folder / "predictions.parquet").write_bytes(b"half")
    pd.testing.assert_frame_equal(train(made, tmp_path).predictions, first.predictions)


@pytest.mark.parametrize(("architecture", "average"), [(1, 0.0), (2, 0.0), (1, 0.2)])
def test_interrupted_training_goes_on_and_ends_as_if_it_never_was(
    made, tmp_path, monkeypatch, capsys, architecture, average
):
    settings = {"architecture": architecture, "average": average}
    settings |= {"epochs": 6, "patience": 1, "seed": 1, "shift": 0.1}
    whole = train(made, tmp_path / "whole", **settings)
    ends = whole.history.groupby("emotion")["epoch"].max()
    assert ends["Boredom"] < 4 < ends["Anger"]  # one drops out early
    for killed_after in (1, 2, 4):
        models = tmp_path / f"killed{killed_after}"
        train_until(killed_after, made, models, monkeypatch, **settings)
        system = train(made, models, **settings)
        assert f"goes on after epoch {killed_after}" in capsys.readouterr().out
        pd.testing.assert_frame_equal(system.predictions, whole.predictions)
        pd.testing.assert_frame_equal(system.history, whole.history)
        for emotion in EMOTIONS:
            assert_same(weights(system, emotion), weights(whole, emotion))
        assert not (system.folder / checkpoints.FOLDER).exists()


def test_training_killed_while_it_writes_a_checkpoint_goes_on_from_the_one_before(
    made, tmp_path, monkeypatch, capsys
):
    whole = train(made, tmp_path / "whole")
    save, calls = checkpoints.save, []

    def killed(tensors):
        calls.append(1)
        if len(calls) == 4:  # the second emotion of the second epoch
            raise KeyboardInterrupt
        return save(tensors)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints, "save", killed)
        train(made, tmp_path / "killed")
    system = train(made, tmp_path / "killed")
    assert "goes on after epoch 1" in capsys.readouterr().out
    pd.testing.assert_frame_equal(system.predictions, whole.predictions)


@pytest.mark.parametrize("which", ["state", "last", "best"])
def test_a_damaged_checkpoint_is_said_and_begun_anew(made, tmp_path, monkeypatch, capsys, which):
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
    assert "checkpoint is damaged" in capsys.readouterr().out
    pd.testing.assert_frame_equal(system.predictions, whole.predictions)


def test_a_checkpoint_that_cannot_be_read_for_now_is_not_deleted(made, tmp_path, monkeypatch):
    train_until(1, made, tmp_path, monkeypatch)

    def fails(*_):
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="Stale"):
        patch.setattr(checkpoints, "load_file", fails)
        train(made, tmp_path)
    assert list(tmp_path.glob("*/*/checkpoint/state.json"))


def test_one_process_at_a_time_trains_a_system(made, tmp_path):
    system = train(made, tmp_path)
    with locked(system.folder), pytest.raises(StoreError, match="another run: let it finish"):
        train(made, tmp_path, epochs=1)
    assert train(made, tmp_path).history["epoch"].max() == 4


def test_averaged_weights_are_the_running_mean_over_the_steps():
    network = _initial(1, 5, SIZES, 0, "Anger")
    learner, plain = Learner(network, 1e-2, average=0.3), Learner(copy.deepcopy(network), 1e-2)
    expected = [parameter.detach().clone() for parameter in network.parameters()]
    for step in range(1, 7):
        gradient = [torch.full_like(parameter, (-1.0) ** step) for parameter in expected]
        for one in (learner, plain):
            one.update(([x.clone() for x in gradient], 0.0))
        kept = min(0.3, (1 + step) / (10 + step))
        expected = [kept * a + (1 - kept) * b for a, b in zip(expected, learner.parameters)]
    for found, mean, last in zip(learner.judged.parameters(), expected, learner.parameters):
        torch.testing.assert_close(found, mean)
        assert not torch.allclose(found, last)
    for one, other in zip(learner.parameters, plain.parameters):  # learning is the same
        torch.testing.assert_close(one, other)


def test_averaged_weights_are_those_that_predict(made, tmp_path):
    last, mean = (train(made, tmp_path / f"{a}", average=a, epochs=2) for a in (0.0, 0.9))
    assert not np.allclose(last.predictions["prediction"], mean.predictions["prediction"])
    pd.testing.assert_series_equal(last.history["train_mse"], mean.history["train_mse"])


@pytest.mark.parametrize("average", [-0.1, 1.0])
def test_an_average_that_is_none_is_refused(average):
    with pytest.raises(ValueError, match=f"average = {average}: expected from 0 up to"):
        Training(average=average)


def test_where_devel_ties_the_first_epoch_is_kept():
    learner = Learner(_initial(1, 5, SIZES, 0, "Anger"), 1e-3)
    kept = []
    for epoch, rho in enumerate([math.nan, 0.5, 0.5, 0.4, 0.6], start=1):
        learner.judge(rho, epoch)
        kept.append(learner.kept_epoch)
    assert kept == [1, 2, 2, 2, 5]


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(made, tmp_path, monkeypatch, capsys):
    train_until(1, made, tmp_path, monkeypatch)
    other = train(made, tmp_path, learning_rate=1e-3)
    out = capsys.readouterr().out
    assert "goes on" not in out and "is of other settings: this system starts" in out
    assert other.history["epoch"].max() == 4


def test_the_same_seed_gives_the_same_network_and_another_seed_another(made, tmp_path):
    one, same = (weights(train(made, tmp_path / name)) for name in ("one", "same"))
    assert_same(one, same)
    other = weights(train(made, tmp_path / "other", seed=1))
    assert not torch.equal(one["ffnn.share.weight"], other["ffnn.share.weight"])


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_checkpoint_predicts_what_the_table_says(made, tmp_path, average):
    _, store = made
    system = train(made, tmp_path, architecture=2, average=average)
    network = load_network(system.folder, "Boredom", 5)
    assert isinstance(network, ARCHITECTURES[2])
    rows = system.predictions[system.predictions["emotion"] == "Boredom"]
    for row in rows.itertuples():
        with torch.no_grad():
            (share,) = network(*pad([store.frames(row.clip_id)]))
        assert float(share) == pytest.approx(row.prediction, abs=1e-5)


def test_a_variant_is_another_system_and_is_read_as_it_was_built(made, tmp_path, monkeypatch):
    corpus, store = made
    for architecture in (1, 2):
        sizes = choose("released", SIZES, 30)
        system = train_system(corpus, store, architecture, 0, tmp_path, sizes, QUICK, "cpu")
        network = load_network(system.folder, "Anger", 5)
        assert isinstance(network, released.ARCHITECTURES[architecture])
        row = system.predictions.iloc[0]
        with torch.no_grad():
            (share,) = network(*pad([store.frames(row["clip_id"])]))
        assert float(share) == pytest.approx(row["prediction"], abs=1e-5)
    with pytest.raises(ValueError, match="No objects"):
        collect(tmp_path, corpus, SIZES, QUICK)
    assert set(collect(tmp_path, corpus, sizes, QUICK)["architecture"]) == {1, 2}
    other = choose("released", SIZES, 40)  # the fixed length differs between encoders
    assert set(collect(tmp_path, corpus, other, QUICK)["architecture"]) == {1, 2}
    monkeypatch.setattr(training, "_train", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # but not for one encoder: it is trained again
        train_system(corpus, store, 1, 0, tmp_path, other, QUICK, "cpu")


def test_shuffled_shares_keep_their_values_and_lose_their_clips(made, tmp_path, monkeypatch):
    corpus, _ = made
    seen = []
    step, pieces = training.step, Loader.pieces

    def noting_pieces(loader, clip_ids, *bands):
        seen.append(clip_ids)
        return pieces(loader, clip_ids, *bands)

    def noting_shares(*given):
        seen.append(given[3].numpy())
        step(*given)

    monkeypatch.setattr(Loader, "pieces", noting_pieces)
    monkeypatch.setattr(training, "step", noting_shares)
    system = train(made, tmp_path, shuffle_shares=True, epochs=1, batch_size=36)
    clip_ids, shares, *_ = seen
    true = corpus.clips.set_index("clip_id").loc[clip_ids, list(EMOTIONS)].to_numpy(np.float32)
    for column in range(2):  # each emotion on its own
        assert not np.array_equal(shares[:, column], true[:, column])
        np.testing.assert_array_equal(np.sort(shares[:, column]), np.sort(true[:, column]))
    devel = system.predictions[system.predictions["split"] == "devel"]
    for row in devel.itertuples():  # scored against the true shares, chosen by others
        assert row.share == corpus.clips.set_index("clip_id").loc[row.clip_id, row.emotion]
    for emotion, rows in devel.groupby("emotion"):
        rho = system.history.set_index("emotion").loc[emotion, "devel_rho"]
        assert rho != pytest.approx(spearman(rows["share"], rows["prediction"]))


def test_collect_takes_only_systems_of_this_clip_table_and_these_settings(made, tmp_path):
    corpus, store = made
    train(made, tmp_path)
    train(made, tmp_path, architecture=2)
    changed = corpus.clips.assign(Anger=corpus.clips["Anger"] / 2)
    train((corpus.with_clips(changed), store), tmp_path, seed=5)
    train(made, tmp_path, seed=6, shuffle_shares=True)
    train(made, tmp_path, seed=7, epochs=2)
    train(made, tmp_path, architecture=2, max_frames=40)  # changes no number
    table = collect(tmp_path, corpus, SIZES, QUICK)
    systems = table[["architecture", "seed"]].drop_duplicates().itertuples(index=False)
    assert set(map(tuple, systems)) == {(1, 0), (2, 0)}
    assert list(table.columns) == PREDICTION_COLUMNS


def test_checkpoints_are_safetensors_and_say_what_they_are(made, tmp_path):
    folder = train(made, tmp_path).folder
    assert sorted(file.name for file in folder.glob("*.safetensors")) == [
        "Anger.safetensors",
        "Boredom.safetensors",
    ]
    about = json.loads((folder / "system.json").read_text())
    assert about["training"]["learning_rate"] == QUICK.learning_rate


def test_a_network_that_never_had_a_rho_is_reported_not_hidden(made, tmp_path):
    system = train(made, tmp_path, learning_rate=1e4)  # dead or diverged after its first step
    results, _ = score(system.predictions, EMOTIONS, resamples=10)
    assert system.history["devel_rho"].isna().all()
    assert results["rho"].isna().all()
    assert set(results["note"]) <= {"constant prediction", "prediction is not finite"}


def test_frames_of_other_audio_are_refused_even_by_a_finished_system(made, tmp_path):
    corpus, store = made
    train(made, tmp_path)
    changed = corpus.with_clips(corpus.clips.assign(audio_checksum="1"))
    with pytest.raises(StoreError, match="60 clips.*02_embedding_extraction"):
        train((changed, store), tmp_path)


def test_other_emotion_names_are_another_system(made, tmp_path):
    corpus, store = made
    train(made, tmp_path)
    clips = corpus.clips.rename(columns={"Anger": "Wrath"})
    renamed = Corpus("made", corpus.root, ("Wrath", "Boredom"), clips)
    system = train((renamed, store), tmp_path)
    assert set(system.predictions["emotion"]) == {"Wrath", "Boredom"}


@pytest.mark.parametrize("name", ["epochs", "patience", "batch_size", "learning_rate"])
def test_settings_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} = 0: expected more than 0"):
        Training(**{name: 0})


def test_a_shift_below_zero_is_refused():
    with pytest.raises(ValueError, match="shift = -1: expected 0 or more mel bands"):
        Training(shift=-1)
