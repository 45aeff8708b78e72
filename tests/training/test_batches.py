"""Batches: cut by length, padded, shifted, and the same in micro-batches of any size."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from tiny import assert_same, train, weights

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.models import kernels
from emoshare_utils.models.layers import Standardise
from emoshare_utils.training import batches, loop
from emoshare_utils.training.batches import Loader, shift


@pytest.fixture(scope="module")
def made(tmp_path_factory, heard) -> tuple[Corpus, FeatureStore]:
    """60 clips whose first feature says how angry they sound; test labels are masked."""
    return heard(tmp_path_factory.mktemp("features"), train=36, devel=14, test=10)


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
    for moved, still in zip(
        ready.micro_batches(clip_ids, bands), ready.micro_batches(clip_ids), strict=True
    ):
        own = torch.tensor(bands[moved.rows], dtype=torch.float32)
        torch.testing.assert_close(moved.features, shift(still.features, own))


def test_training_shifts_mel_bands_at_random_and_devel_never(made, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        batches, "shift", lambda features, bands: seen.append(bands) or shift(features, bands)
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


def test_a_large_network_trains_the_same_by_smaller_micro_batches(made, tmp_path, monkeypatch):
    whole = train(made, tmp_path / "whole")
    trims = []
    monkeypatch.setattr(kernels, "LARGE_NETWORK", 0)
    monkeypatch.setattr(loop, "give_memory_back", lambda: trims.append(1))
    small = train(made, tmp_path / "small")
    assert len(trims) == 4 * 3  # epochs, steps
    assert_same(weights(whole), weights(small), atol=1e-5)


def test_padding_to_a_fixed_maximum_trains_the_same_network(made, tmp_path):
    batch = train(made, tmp_path / "batch")
    fixed = train(made, tmp_path / "fixed", max_frames=40)
    assert_same(weights(batch), weights(fixed), atol=1e-5)
