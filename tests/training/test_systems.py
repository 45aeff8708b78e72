"""Systems: independent networks, read when they are finished, and predictions of what was best."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import EMOTIONS, QUICK, SIZES, assert_same, job, train, weights

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.store import FeatureStore, StoreError
from emoshare_utils.files import FolderError, locked
from emoshare_utils.models.architectures import Architecture2
from emoshare_utils.models.padding import pad
from emoshare_utils.results.metrics import spearman
from emoshare_utils.results.scores import score
from emoshare_utils.studies.released_code import choose
from emoshare_utils.training import loop, systems
from emoshare_utils.training.batches import Loader, frame_statistics
from emoshare_utils.training.loop import initial
from emoshare_utils.training.predictions import PREDICTION_COLUMNS
from emoshare_utils.training.settings import PRECISIONS
from emoshare_utils.training.systems import collect, load_network, train_system


@pytest.fixture(scope="module")
def made(tmp_path_factory, heard) -> tuple[Corpus, FeatureStore]:
    """60 clips whose first feature says how angry they sound; test labels are masked."""
    return heard(tmp_path_factory.mktemp("features"), train=36, devel=14, test=10)


@pytest.mark.parametrize("architecture", [1, 2, 3])
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


def test_bfloat16_learns_as_float32_does(made, tmp_path):
    best, last = {}, {}
    for precision in PRECISIONS:
        system = train(made, tmp_path / precision, epochs=25, precision=precision)
        best[precision] = system.history.groupby("emotion")["devel_rho"].max()["Anger"]
        last[precision] = weights(system)["ffnn.share.weight"]
        assert {t.dtype for t in weights(system).values()} == {torch.float32}
    assert best["bfloat16"] == pytest.approx(best["float32"], abs=0.05)
    assert not torch.equal(*last.values())


def test_steps_are_adam_on_the_mean_squared_error(made, tmp_path):
    corpus, store = made
    system = train(made, tmp_path, epochs=4, batch_size=36, start_at_mean=False)
    history = system.history[system.history["emotion"] == "Boredom"].set_index("epoch")
    steps = history["devel_rho"].idxmax()  # an epoch is one batch here
    assert steps > 1
    network = initial(job(made), "Boredom")
    clips = corpus.split("train")
    network.standardise.fit(*frame_statistics(store, clips["clip_id"].to_numpy()))
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


def test_every_seed_and_emotion_starts_from_its_own_weights(made):
    starts = {
        initial(job(made, seed=seed), emotion).ffnn.share.weight[0, 0].item()
        for seed in (0, 1)
        for emotion in EMOTIONS
    }
    assert len(starts) == 4


def test_a_finished_system_is_read_not_trained_again(made, tmp_path, monkeypatch):
    first = train(made, tmp_path)

    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(systems, "train", refuse)
    again = train(made, tmp_path)
    pd.testing.assert_frame_equal(first.predictions, again.predictions)
    with pytest.raises(AssertionError, match="trained again"):
        train(made, tmp_path, learning_rate=1e-3)


def test_a_system_killed_before_its_end_is_trained_again(made, tmp_path):
    first = train(made, tmp_path)
    (first.folder / "system.json").unlink()  # written last
    (first.folder / "predictions.parquet").write_bytes(b"half")
    pd.testing.assert_frame_equal(train(made, tmp_path).predictions, first.predictions)


def test_one_process_at_a_time_trains_a_system(made, tmp_path):
    system = train(made, tmp_path)
    with locked(system.folder), pytest.raises(FolderError, match="another run: let it finish"):
        train(made, tmp_path, epochs=1)
    assert train(made, tmp_path).history["epoch"].max() == 4


def test_averaged_weights_are_those_that_predict(made, tmp_path):
    last, mean = (train(made, tmp_path / f"{a}", average=a, epochs=2) for a in (0.0, 0.9))
    assert not np.allclose(last.predictions["prediction"], mean.predictions["prediction"])
    pd.testing.assert_series_equal(last.history["train_mse"], mean.history["train_mse"])


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
    assert isinstance(network, Architecture2)
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
        assert "cnn.cnn.convolutions.0.weight" in network.state_dict()  # the padding is convolved
        row = system.predictions.iloc[0]
        with torch.no_grad():
            (share,) = network(*pad([store.frames(row["clip_id"])]))
        assert float(share) == pytest.approx(row["prediction"], abs=1e-5)
    assert collect(tmp_path, corpus, SIZES, QUICK).empty
    assert set(collect(tmp_path, corpus, sizes, QUICK)["architecture"]) == {1, 2}
    other = choose("released", SIZES, 40)  # the fixed length differs between encoders
    assert set(collect(tmp_path, corpus, other, QUICK)["architecture"]) == {1, 2}
    monkeypatch.setattr(systems, "train", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # but not for one encoder: it is trained again
        train_system(corpus, store, 1, 0, tmp_path, other, QUICK, "cpu")


def test_shuffled_shares_keep_their_values_and_lose_their_clips(made, tmp_path, monkeypatch):
    corpus, _ = made
    seen = []
    step, micro_batches = loop.step, Loader.micro_batches

    def noting_clips(loader, clip_ids, *bands):
        seen.append(clip_ids)
        return micro_batches(loader, clip_ids, *bands)

    def noting_shares(*given):
        seen.append(given[3].numpy())
        step(*given)

    monkeypatch.setattr(Loader, "micro_batches", noting_clips)
    monkeypatch.setattr(loop, "step", noting_shares)
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
