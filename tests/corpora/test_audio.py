"""Every file becomes mono 16 kHz samples, or is set aside with its reason."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import soundfile

from emoshare_utils.corpora import audio
from emoshare_utils.corpora.audio import AudioError, decode
from emoshare_utils.corpora.clip_table import Corpus


def sine(rate: int, level: float = 0.3, hz: float = 1000.0, seconds: float = 1.0) -> np.ndarray:
    return level * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)


def encode(samples: np.ndarray, rate: int = 16_000, form: str = "WAV", subtype=None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


def amplitude(samples: np.ndarray, hz: float = 1000.0) -> tuple[float, float]:
    """Of the sine of `hz` in the middle of the clip, and the rms of what else is there."""
    middle = samples[2000:-2000].astype(float)
    phase = 2 * np.pi * hz * np.arange(len(middle)) / audio.SAMPLE_RATE
    waves = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    weights = np.linalg.lstsq(waves, middle, rcond=None)[0]
    return np.hypot(*weights), np.std(middle - waves @ weights)


# Formats, rates, widths, channels


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 22_254, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_becomes_16_khz_with_the_sound_unchanged(rate, channels):
    samples = sine(rate) if channels == 1 else np.stack([sine(rate, 0.4), sine(rate, 0.2)], axis=1)
    decoded = decode(encode(samples, rate, subtype="FLOAT"))
    assert decoded.dtype == np.float32
    assert decoded.shape == (16_000,)
    level, rest = amplitude(decoded)
    assert level == pytest.approx(0.3, rel=0.003)
    assert rest < 0.003


@pytest.mark.parametrize(
    ("form", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 0.01),
        ("WAV", "PCM_16", 0.001),
        ("WAV", "PCM_24", 0.001),
        ("WAV", "PCM_32", 0.001),
        ("WAV", "FLOAT", 0.001),
        ("WAV", "DOUBLE", 0.001),
        ("WAV", "ULAW", 0.03),
        ("WAV", "GSM610", 0.1),
        ("WAVEX", "PCM_24", 0.001),
        ("FLAC", "PCM_16", 0.001),
        ("FLAC", "PCM_24", 0.001),
        ("OGG", "VORBIS", 0.03),
        ("OGG", "OPUS", 0.03),
        ("MP3", None, 0.03),
    ],
)
def test_any_format_and_width_is_read(form, subtype, tolerance):
    decoded = decode(encode(sine(16_000), 16_000, form, subtype))
    assert decoded.dtype == np.float32
    assert len(decoded) == pytest.approx(16_000, abs=2000)
    level, rest = amplitude(decoded)
    assert level == pytest.approx(0.3, rel=tolerance)
    assert rest < 0.3 * tolerance


def test_an_odd_rate_is_resampled_without_a_filter_of_gigabytes(monkeypatch):
    monkeypatch.setattr(audio, "_resampler", None)
    for rate in (11_127, 22_254, 44_101):
        assert decode(encode(sine(rate), rate)).shape == (16_000,)
    with pytest.raises(TypeError):
        decode(encode(sine(44_100), 44_100))


def test_what_is_above_8_khz_does_not_fold_back():
    loud_above = sine(48_000, 0.5, 11_000) + sine(48_000, 0.1)
    level, rest = amplitude(decode(encode(loud_above, 48_000, subtype="FLOAT")))
    assert level == pytest.approx(0.1, rel=0.01)
    assert rest < 0.002


def test_samples_are_what_version_1_gave():
    """Frames on disk stem from these: raise VERSION when they change."""
    chirp = 0.5 * np.sin(2 * np.pi * (200 + 900 * np.arange(11_025) / 11_025) ** 2 / 1800)
    pinned = {1: [-0.13210547, -0.39483961, 0.24739501, 0.49606329]}
    decoded = decode(encode(chirp, 11_025, subtype="DOUBLE"))
    np.testing.assert_allclose(decoded[3000::4000], pinned[audio.VERSION], rtol=1e-4)


# What is set aside

HALF = np.full(16_000, 0.5)
WAV, FLAC = encode(sine(16_000)), encode(sine(16_000), form="FLAC")
MP3, OGG = encode(sine(16_000), form="MP3"), encode(sine(16_000), form="OGG")


def with_value(value: float) -> bytes:
    samples = sine(16_000)
    samples[7000] = value
    return encode(samples, subtype="FLOAT")


def promising(samples: bytes) -> bytes:
    """A FLAC whose header promises this number of samples, 36 bits in 5 bytes."""
    content = bytearray(FLAC)
    content[21:26] = bytes([content[21] & 0xF0 | samples[0]]) + samples[1:]
    return bytes(content)


BAD = {
    "empty": (b"", "empty file"),
    "wav, half": (WAV[: len(WAV) // 2], r"truncated: 15978 of 32000 bytes"),
    "wav, all but one byte": (WAV[:-1], r"truncated: 31999 of 32000 bytes"),
    "wav, header alone": (WAV[:44], r"truncated: 0 of 32000 bytes"),
    "wav, half a header": (WAV[:30], "not readable as audio"),
    "flac, half": (FLAC[: len(FLAC) // 2], "not readable as audio|truncated"),
    "flac, all but one byte": (FLAC[:-1], "not readable as audio|truncated"),
    "flac, header alone": (FLAC[:42], "not readable as audio|truncated"),
    "flac that promises too much": (promising(b"\x0f\xff\xff\xff\xff"), "promises 4294967 s"),
    "mp3, half": (MP3[: len(MP3) // 2], "not readable as audio|truncated"),
    "ogg, half": (OGG[: len(OGG) // 2], "not readable as audio|truncated"),
    "NaN": (with_value(np.nan), "NaN or infinite"),
    "infinite": (with_value(np.inf), "NaN or infinite"),
    "silent": (encode(np.zeros(16_000)), "silent"),
    "silent, 8 bit": (encode(np.zeros(16_000), subtype="PCM_U8"), "silent"),
    "silent once mixed": (encode(np.stack([HALF, -HALF], axis=1), subtype="FLOAT"), "silent"),
    "no samples": (encode(np.zeros(0)), "0 samples at 16 kHz: at least 400"),
    "399 samples": (encode(sine(16_000)[:399]), "399 samples at 16 kHz: at least 400"),
    "399 at 16 kHz": (encode(sine(48_000)[:1197], 48_000), "399 samples at 16 kHz"),
    "absurd rate": (WAV[:24] + struct.pack("<I", 2**31 - 1) + WAV[28:], "a rate of 2147483647 Hz"),
    "text": (b"not a sound at all\n" * 50, "not readable as audio"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(500), "not readable as audio"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_unusable_file_has_its_reason(tmp_path, name):
    content, reason = BAD[name]
    (tmp_path / "clip.wav").write_bytes(content)
    with pytest.raises(AudioError, match=reason):
        audio.read_audio(tmp_path / "clip.wav")


# Bounds


def flac_header(rate: int, channels: int, samples: int) -> bytes:
    """The start of a FLAC with some frames: its header promises what we say."""
    content = encode(np.stack([sine(16_000, seconds=2)] * channels, axis=1), form="FLAC")
    fields = rate << 44 | channels - 1 << 41 | 15 << 36 | samples
    return content[:18] + fields.to_bytes(8, "big") + content[26:]


PROMISES = {  # rate, channels, samples: why it is refused
    "8 channels at 655,350 Hz for an hour": (655_350, 8, 655_350 * 3600, "a rate of 655350 Hz"),
    "8 channels at 384 kHz for an hour": (384_000, 8, 384_000 * 3600, "promises 3600 s, more than"),
    "8 channels at 48 kHz for an hour": (48_000, 8, 48_000 * 3600, r"32000 of 172800000 samples"),
    "2 channels at 16 kHz for two hours": (16_000, 2, 16_000 * 7200, "promises 7200 s, more than"),
    "1 Hz": (1, 1, 32_000, "a rate of 1 Hz: expected 4000 to 384000 Hz"),
}


@pytest.mark.parametrize("name", PROMISES)
def test_a_promise_is_not_paid_for_in_advance(name):
    rate, channels, samples, reason = PROMISES[name]
    content = flac_header(rate, channels, samples)
    tracemalloc.start()
    try:
        with pytest.raises(AudioError, match=reason):
            decode(content)
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


def test_no_more_is_decoded_than_an_hour(monkeypatch):
    monkeypatch.setattr(audio, "LONGEST_S", 1)
    monkeypatch.setattr(audio, "BLOCK", 5000)
    assert len(decode(WAV)) == 16_000
    endless = promising(bytes(5))
    assert len(decode(endless)) == 16_000
    with pytest.raises(AudioError, match="promises 2 s, more than 1 s at 16000 Hz"):
        decode(encode(sine(16_000, seconds=2)))
    longer = encode(sine(16_000, seconds=2), form="FLAC")
    longer = longer[:21] + bytes([longer[21] & 0xF0, 0, 0, 0, 0]) + longer[26:]
    with pytest.raises(AudioError, match="holds more than 1 s at 16000 Hz"):
        decode(longer)
    monkeypatch.setattr(audio, "MOST_SAMPLES", 24_000)
    with pytest.raises(AudioError, match="promises 1 s, more than 0 s at 48000 Hz"):
        decode(encode(sine(48_000), 48_000))


@pytest.mark.parametrize(("form", "subtype"), [("WAV", "FLOAT"), ("FLAC", None), ("MP3", None)])
def test_the_size_of_blocks_does_not_change_the_samples(monkeypatch, form, subtype):
    both = np.stack([sine(22_050), sine(22_050, 0.2, 300)], axis=1)
    content = encode(both, 22_050, form, subtype)
    whole = decode(content)
    monkeypatch.setattr(audio, "BLOCK", 1234)
    np.testing.assert_array_equal(decode(content), whole)


@pytest.mark.parametrize("rate", [1, 3999, 384_001, 2**31 - 1])
def test_an_absurd_rate_is_refused(rate):
    content = WAV[:24] + struct.pack("<I", rate) + WAV[28:]
    with pytest.raises(AudioError, match=f"a rate of {rate} Hz: expected 4000 to 384000 Hz"):
        decode(content)


def test_floats_of_another_scale_are_refused_and_loud_ones_are_not():
    for level in (1.5, 4.0, 9.9):
        assert np.abs(decode(encode(sine(16_000, level), subtype="FLOAT"))).max() > level * 0.99
    for level in (10.1, 127.0, 20_000.0, 1e20, 1e38):
        for subtype in ("FLOAT", "DOUBLE"):
            with pytest.raises(AudioError, match=r"a sample of .*: floats are expected within 1"):
                decode(encode(sine(16_000, level), subtype=subtype))


def test_what_overflows_is_refused():
    both = np.stack([np.full(16_000, 3e38)] * 2, axis=1)  # their sum is infinite in float32
    for samples in (both, both * [1, -1] + 1e38, np.full(16_000, 1e300)):
        with pytest.raises(AudioError, match="NaN or infinite samples|a sample of"):
            decode(encode(samples, subtype="DOUBLE" if samples.ndim == 1 else "FLOAT"))


def test_the_shortest_clip_has_400_samples():
    assert len(decode(encode(sine(16_000)[:400]))) == 400
    assert len(decode(encode(sine(48_000)[:1198], 48_000))) == 400


def test_the_quietest_16_bit_clip_is_not_silent():
    samples = np.zeros(16_000, dtype=np.int16)
    samples[8000] = 1
    assert np.abs(decode(encode(samples))).max() == pytest.approx(2**-15)


def test_damage_anywhere_is_an_audio_error_or_nothing():
    """Not one byte of a file can stop a run."""
    rng = np.random.default_rng(0)
    for content in (WAV, FLAC, encode(sine(16_000), subtype="FLOAT")):
        for position in [*range(64), *rng.integers(64, len(content), 16)]:
            damaged = bytearray(content)
            damaged[position] ^= rng.integers(1, 256)
            try:
                samples = decode(bytes(damaged))
            except AudioError:
                continue
            assert np.isfinite(samples).all()
            assert len(samples) >= 400


def test_check_sets_unusable_clips_aside_and_goes_on(tmp_path, table):
    clips = table(len(BAD) + 3)
    (tmp_path / "wav").mkdir()
    contents = [WAV, *(content for content, _ in BAD.values()), FLAC]  # the last is not there
    for path, content in zip(clips["path"], contents):
        (tmp_path / path).write_bytes(content)
    checked, rejected = audio.check(Corpus("table", tmp_path, ("Anger", "Joy"), clips))

    first, last = clips["clip_id"].iloc[[0, -2]]
    assert checked.clips["clip_id"].tolist() == [first, last]
    assert checked.clips.index.tolist() == [0, 1]
    assert checked.clips["duration_s"].tolist() == [1.0, 1.0]
    checksums = [f"{zlib.crc32(content):08x}" for content in (WAV, FLAC)]
    assert checked.clips["audio_checksum"].tolist() == checksums

    assert list(rejected.columns) == ["clip_id", "path", "reason"]
    expected = [*(reason for _, reason in BAD.values()), "No such file"]
    assert len(rejected) == len(expected)
    assert rejected["clip_id"].tolist() == clips["clip_id"].drop([0, len(BAD) + 1]).tolist()
    for reason, match in zip(rejected["reason"], expected):
        with pytest.raises(AudioError, match=match):
            raise AudioError(reason)
