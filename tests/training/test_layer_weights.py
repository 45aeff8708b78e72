"""All layers of an encoder: training takes their number from the store, and learns weights."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import QUICK, SIZES, assert_same, train_until

from emoshare_utils.features.store import FeatureStore
from emoshare_utils.training.settings import Training, stored_settings
from emoshare_utils.training.systems import collect, load_network, train_system


@pytest.fixture(scope="module")
def made(tmp_path_factory, heard):
    """Of three layers of 5 features, the last alone says how angry a clip sounds."""
    folder = tmp_path_factory.mktemp("features")
    corpus, told = heard(folder, train=60, devel=20)
    rng, clips = np.random.default_rng(0), corpus.clips
    frames = [told.frames(clip) for clip in clips["clip_id"]]
    noise = [rng.normal(0, 1, (len(each), 10)) for each in frames]
    store = FeatureStore.create(folder, "m@all", 15, {"encoder": "m@all", "layers": 3})
    store.write_shard("shard-00000", clips, [np.hstack(pair) for pair in zip(noise, frames)])
    return corpus, store


@pytest.mark.parametrize("architecture", [1, 2, 3])
def test_the_layer_that_tells_gets_the_weight(made, tmp_path, architecture):
    corpus, store = made
    training = Training(**(vars(QUICK) | {"learning_rate": 0.03, "epochs": 12}))
    system = train_system(corpus, store, architecture, 0, tmp_path, SIZES, training, "cpu")
    network = load_network(system.folder, "Anger", store.width)
    learned = network.layer_weights.scores.softmax(0)
    assert learned.argmax() == 2 and learned.sum().item() == pytest.approx(1)
    assert network.cnn.convolutions[0].in_channels == 5
    found = collect(tmp_path, corpus, SIZES, training)  # though SIZES says one layer
    pd.testing.assert_frame_equal(found, system.predictions)


def test_it_resumes_and_files_of_one_layer_stay_as_they_were(made, tmp_path, monkeypatch):
    corpus, store = made
    whole = train_system(corpus, store, 1, 0, tmp_path / "whole", SIZES, QUICK, "cpu")
    train_until(2, made, tmp_path / "cut", monkeypatch)
    resumed = train_system(corpus, store, 1, 0, tmp_path / "cut", SIZES, QUICK, "cpu")
    both = [load_network(x.folder, "Anger", 15).state_dict() for x in (whole, resumed)]
    assert_same(*both)
    assert "layers" not in stored_settings(corpus, SIZES, QUICK)["sizes"]


def test_one_trunk_weighs_layers_too(made, tmp_path):
    corpus, store = made
    training = Training(**(vars(QUICK) | {"shared_trunk": True}))
    system = train_system(corpus, store, 1, 0, tmp_path, SIZES, training, "cpu")
    first = system.history["epoch"].max()
    assert first == QUICK.epochs
    scores = [
        load_network(system.folder, emotion, 15).layer_weights.scores for emotion in corpus.emotions
    ]
    assert all(torch.isfinite(x).all() and x.abs().sum() > 0 for x in scores)
