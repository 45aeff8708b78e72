"""Acoustic frames are as long and as high as they should be, and the same as ever."""

import sys

import numpy as np
import pytest
import scipy
import torch
from torchaudio.transforms import MelSpectrogram

from emoshare_utils.features import acoustic
from emoshare_utils.features.encoder import EncoderError
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.store import FeatureStore

LENGTHS = [400, 401, 719, 720, 16_000, 127_519]


@pytest.mark.parametrize(("name", "width"), [("fbank", 40), ("mfcc", 40), ("spectrogram", 257)])
@pytest.mark.parametrize("n", LENGTHS)
def test_acoustic_frames_come_every_10_ms(name, width, n, sound):
    encoder = load_encoder(name)
    frames = encoder.frames(sound(0, n))
    assert frames.shape == (n // 160 + 1, width)
    assert frames.dtype == np.float32
    assert encoder.width == width
    assert len(frames) == encoder.n_frames(n)


def test_the_papers_longest_clip_has_the_papers_frames(tmp_path):
    for name, frames in (("fbank", 797), ("hubert-mini", 398)):
        encoder = load_encoder(name)
        store = FeatureStore.create(tmp_path, name, encoder.width, encoder.settings)
        assert store.paper_frames == frames
        for n in (127_440, 127_519):
            assert encoder.n_frames(n) == frames


@pytest.mark.parametrize("hz", [250, 1000, 3000, 7500])
def test_a_sine_peaks_in_its_own_band_and_bin(hz):
    samples = np.sin(2 * np.pi * hz * np.arange(8000) / 16_000).astype(np.float32)

    def mel(hz):
        return 2595 * np.log10(1 + hz / 700)

    centres = mel(8000) / 41 * np.arange(1, 41)
    fbank = load_encoder("fbank").frames(samples)[5:-5]
    assert (fbank.argmax(axis=1) == np.abs(centres - mel(hz)).argmin()).all()
    spectrogram = load_encoder("spectrogram").frames(samples)[5:-5]
    assert (spectrogram.argmax(axis=1) == hz / 31.25).all()


@pytest.mark.parametrize("name", ["fbank", "mfcc", "spectrogram"])
@pytest.mark.parametrize("level", [0.0, 1e-6, 1.0])
def test_acoustic_frames_are_finite_from_digital_silence_to_full_scale(name, level, sound):
    samples = np.concatenate([np.zeros(2000, np.float32), np.float32(2 * level) * sound(0)])
    frames = load_encoder(name).frames(samples)
    assert np.isfinite(frames.astype(np.float16)).all()


@pytest.mark.parametrize("level", [0.0, 1e-6, 1e-4, 1e-2, 1.0])
def test_mfcc_is_the_cosine_transform_of_the_log_mel_bands(sound, level):
    """Quiet clips and digital silence too, where the floor counts."""
    samples = np.concatenate([sound(0), np.zeros(3000, np.float32), sound(1)]) * np.float32(level)
    bands = load_encoder("fbank").frames(samples).astype(float)
    assert (bands == np.float32(np.log(acoustic.FLOOR))).any()
    mfcc = load_encoder("mfcc").frames(samples)
    np.testing.assert_allclose(mfcc, scipy.fft.dct(bands, norm="ortho"), rtol=0, atol=1e-5)
    k, band = np.arange(40)[:, None], np.arange(40)
    cosines = np.sqrt(2 / 40) * np.cos(np.pi / 40 * (band + 0.5) * k)
    cosines[0] /= np.sqrt(2)
    np.testing.assert_allclose(mfcc, bands @ cosines.T, rtol=0, atol=1e-5)
    np.testing.assert_allclose(scipy.fft.idct(mfcc, norm="ortho"), bands, rtol=0, atol=1e-4)


def test_power_below_the_floor_counts_as_the_floor(sound):
    for name in ("fbank", "mfcc", "spectrogram"):
        assert load_encoder(name).settings["floor"] == acoustic.FLOOR == 1e-8
    samples = 2e-5 * sound(0)
    power = MelSpectrogram(16_000, **acoustic.MEL)(torch.from_numpy(samples)).T.numpy()
    assert 0.01 < (power < 1e-8).mean() < 0.99
    expected = np.log(np.maximum(power, 1e-8))
    np.testing.assert_allclose(load_encoder("fbank").frames(samples), expected, rtol=1e-6)


def test_acoustic_frames_are_what_version_2_gave(sound):
    """Stores on disk hold these: raise VERSION when they change. Version 1 had other MFCC."""
    pinned = {
        2: {
            "fbank": [2.070149, 3.193912, 2.914436],
            "mfcc": [-0.388367, 1.300998, 0.132073],
            "spectrogram": [3.184064, 2.639137, 0.865051],
        }
    }
    for name, values in pinned[acoustic.VERSION].items():
        frames = load_encoder(name).frames(sound(0))
        np.testing.assert_allclose(frames[[5, 12, 20], [3, 17, 31]], values, rtol=1e-4)


def test_egemaps_is_one_frame_a_clip_and_what_opensmile_says(sound):
    opensmile = pytest.importorskip("opensmile", reason="needs the extra emoshare-utils[opensmile]")
    encoder, clips = load_encoder("egemaps"), [sound(0, 8000), sound(1, 20_000)]
    frames = encoder.encode(clips)
    assert [clip.shape for clip in frames] == [(1, 88)] * 2 == [(1, encoder.width)] * 2
    assert encoder.n_frames(20_000) == 1
    assert encoder.settings["opensmile"] == opensmile.__version__
    smile = opensmile.Smile(feature_set="eGeMAPSv02", feature_level="func")
    for clip, frame in zip(clips, frames):
        expected = smile.process_signal(clip, 16_000).to_numpy()
        assert np.array_equal(frame, expected.clip(-6e4, 6e4))
    for silent in (np.zeros(4000, np.float32), sound(2, 960)):
        assert np.isfinite(encoder.frames(silent).astype(np.float16)).all()
    with pytest.raises(ValueError, match="959 samples: eGeMAPS needs 960"):
        encoder.frames(sound(0, 959))


def test_egemaps_without_opensmile_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(EncoderError, match=r"'egemaps'.*pip install -e '.\[opensmile\]'"):
        load_encoder("egemaps")
