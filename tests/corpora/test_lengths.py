"""A clip has the length of its content, or is set aside because its header states another."""

import io
import struct
import sys
from contextlib import suppress

import numpy as np
import pytest
import soundfile

from emoshare_utils.corpora.audio import AudioError, decode

RATE = 16_000
NOISE = np.cumsum(np.random.default_rng(0).normal(0, 0.02, (2 * RATE, 2)), axis=0) % 1 - 0.5
STREAMED = (0, 0x7FFFF000, 0x7FFFFFFF, 0x7FFFFF9C, 0x80000000, 2_000_000_000, 0xFFFFFFFF)


def encode(samples=NOISE[:, 0], form="WAV", subtype=None, rate=RATE, **options) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype, **options)
    return file.getvalue()


def replaced(content: bytes, position: int, form: str, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, position, value)
    return bytes(changed)


def refused(content: bytes, reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        decode(content)


# MP3: without its first frame, which states the length, an MP3 only allows an estimate


def mp3(seconds=2.0, rate=RATE, channels=1, mode="VARIABLE") -> tuple[bytes, bytes]:
    """An MP3, and its frames without the first."""
    noise = np.random.default_rng(1).normal(0, 0.2, (int(seconds * rate), channels))
    noise[len(noise) // 3 :] *= 0.01  # so that the bitrate varies
    content = encode(noise, "MP3", rate=rate, bitrate_mode=mode, compression_level=0.5)
    return content, content[content.index(content[:2], 4) :]


ID3V2 = b"ID3\x04\0\0\0\0\x01\0" + bytes(128)
ID3V1 = b"TAG" + b"x" * 125
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 100, 1, 0) + bytes(108)
FOOTED = b"ID3\x04\0\x10\0\0\x01\0" + bytes(128) + b"3DI\x04\0\x10\0\0\x01\0"
LIKE_A_FRAME = bytes(50) + b"\xff\xfb\x90\x00" + bytes(3000)  # of 44.1 kHz, but none follows
RUBBISH = np.random.default_rng(2).bytes(5000)


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("mode", ["VARIABLE", "AVERAGE", "CONSTANT"])
def test_an_mp3_that_does_not_state_its_length_is_read_to_the_end(rate, channels, mode):
    whole, streamed = mp3(2.0, rate, channels, mode)
    frame, delay = (1152 if rate > 24_000 else 576), 1105
    padded = -(-(2 * rate + delay) // frame) * frame  # the encoder's delay is left in
    n = len(decode(streamed)) * rate / RATE
    assert n % frame == pytest.approx(0, abs=rate / RATE) or n % frame > frame - rate / RATE
    assert padded - 1 <= n <= padded + frame + rate / RATE
    if rate == RATE:
        sound = decode(whole)
        np.testing.assert_allclose(decode(streamed)[delay:][: len(sound)], sound, atol=1e-5)


def test_tags_and_rubbish_around_an_mp3_do_not_change_it():
    for content in mp3():
        sound = decode(content)
        for before in (b"", ID3V2, ID3V2 + ID3V2, FOOTED):
            for after in (b"", ID3V1, APE + ID3V1, RUBBISH, bytes(3000), LIKE_A_FRAME):
                np.testing.assert_allclose(decode(before + content + after), sound, atol=1e-6)


def test_two_mp3_end_to_end_give_both_or_a_reason():
    (whole, streamed), (other, other_streamed) = mp3(), mp3(1.0)
    n, more = len(decode(streamed)), len(decode(other_streamed))
    assert len(decode(streamed + other_streamed)) == n + more
    assert len(decode(streamed + ID3V1 + ID3V2 + other_streamed)) == n + more
    refused(whole + other, "holds 8. MP3 frames, its header states 5.: several recordings")
    refused(whole + other_streamed, "several recordings")
    refused(streamed + mp3(1.0, rate=24_000)[1], "changes from 16000 Hz and 1 channels to 24000")
    refused(streamed + mp3(1.0, channels=2)[1], "changes from 16000 Hz and 1 channels to 16000")


def test_an_mp3_that_is_cut_or_damaged_is_set_aside():
    whole, streamed = mp3()
    refused(whole[: len(whole) // 2], r"truncated: \d\d of 58 MP3 frames are there")
    refused(whole[:-1], "truncated: 57 of 58 MP3 frames are there")
    middle = streamed.index(streamed[:2], len(streamed) // 2)
    refused(streamed[:middle] + RUBBISH + streamed[middle:], "truncated or damaged|not readable")


def test_what_is_no_mp3_though_it_begins_as_mpeg_does():
    for head in (b"\xff\xf1\x50\x80", b"\xff\xfd\x50\x80", b"\xff\xfb\x00\x80"):
        refused(head + RUBBISH, "no MP3")  # AAC, layer II, free format


def test_an_mp3_in_a_wav_is_read_as_an_mp3():
    for content in mp3():
        about = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 144, 1, 0)
        chunks = b"WAVEfmt " + struct.pack("<I", 30) + about
        chunks += b"data" + struct.pack("<I", len(content)) + content
        wav = b"RIFF" + struct.pack("<I", len(chunks)) + chunks
        np.testing.assert_array_equal(decode(wav), decode(content))


# Headers that state the size of the samples in bytes: where, and how

HEADERS = {
    "WAV": (encode(), 40, "<I"),
    "WAV, 24 bit": (encode(subtype="PCM_24"), 40, "<I"),
    "WAV, float": (encode(subtype="FLOAT"), None, "<I"),
    "WAV, stereo": (encode(NOISE), 40, "<I"),
    "WAV, extensible": (encode(form="WAVEX"), None, "<I"),
    "RIFX": (encode(endian="BIG"), 40, ">I"),
    "AIFF": (encode(form="AIFF"), None, ">I"),
    "AU": (encode(form="AU"), 8, ">I"),
    "AU, little endian": (encode(form="AU", endian="LITTLE"), 8, "<I"),
    "W64": (encode(form="W64"), None, "<Q"),
    "CAF": (encode(form="CAF"), None, ">Q"),
    "RF64": (encode(form="RF64"), None, "<Q"),
}


def size_of(name: str) -> tuple[bytes, int, str]:
    """A file, and where and how its header states the size of its samples."""
    content, position, form = HEADERS[name]
    if position is None:
        chunk = {"AIFF": b"SSND", "RF64": b"ds64"}.get(name, b"data")
        position = content.index(chunk) + {"W64": 16, "RF64": 16}.get(name, 4)
    return content, position, form


@pytest.mark.parametrize("name", HEADERS)
def test_a_stream_whose_writer_did_not_know_its_length_is_read_whole(name):
    content, position, form = size_of(name)
    sizes = STREAMED if form[1] == "I" else (*STREAMED, 2**63 - 1, 2**63, 2**64 - 1)
    if name == "RF64":
        sizes = sizes[1:]  # 0 is that of an RF64 whose length its data chunk states
    for size in sizes:
        streamed = replaced(content, position, form, size)
        np.testing.assert_array_equal(decode(streamed), decode(content), err_msg=hex(size))


@pytest.mark.parametrize("name", HEADERS)
def test_a_file_that_is_cut_is_set_aside(name):
    content, _, _ = size_of(name)
    for present in (len(content) // 2, len(content) - 2):
        refused(content[:present], r"truncated: \d+ of \d+ bytes of samples are there")


@pytest.mark.parametrize("name", HEADERS)
def test_two_files_end_to_end_are_set_aside(name):
    content, position, form = size_of(name)
    refused(content + content, "several recordings end to end|not readable as audio")
    streamed = replaced(content, position, form, STREAMED[-1])
    refused(streamed + streamed, "several recordings end to end")


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_states_less_than_is_there_is_set_aside(name):
    content, position, form = size_of(name)
    refused(replaced(content, position, form, 9000), r"\d+ bytes follow what its header accounts")


def test_a_damaged_header_that_leads_out_of_the_file_is_not_reported_twice(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)  # where libsndfile's callbacks end
    content = encode(form="AIFF")
    for position in range(12, 60):
        with suppress(AudioError):
            decode(replaced(content, position, ">Q", 2**63 - 1))
    assert not seen


def test_what_may_follow_the_samples_of_a_wav():
    content, sound = encode(), decode(encode())
    listed = b"LIST" + struct.pack("<I", 2000) + bytes(range(200)) * 10
    for after in (listed, listed + listed, listed[:1500], ID3V1, RUBBISH[:500], bytes(8000)):
        np.testing.assert_array_equal(decode(content + after), sound)
    odd = encode(np.append(NOISE[:, 0], 0.1)[:31_999], subtype="PCM_U8")
    assert len(odd) % 2 == 0  # one byte of padding
    for content in (odd, odd[:-1], odd + listed, odd[:-1] + listed):
        assert len(decode(content)) == 31_999
    refused(encode(np.zeros(0)) + listed, "0 samples at 16 kHz")


def test_a_sphere_file_that_is_cut_is_set_aside():
    content = encode(form="NIST")
    assert len(decode(content)) == 2 * RATE
    refused(content[: len(content) // 2], "truncated: 31488 of 64000 bytes")
    refused(content + content, "bytes follow what its header accounts for")


# FLAC states its number of samples in 36 bits


def flac_stating(samples: int) -> bytes:
    content = encode(form="FLAC")
    high = content[21] & 0xF0 | samples >> 32
    return content[:21] + bytes([high]) + (samples & 0xFFFFFFFF).to_bytes(4, "big") + content[26:]


def test_a_flac_has_the_length_of_its_content():
    content = flac_stating(2 * RATE)
    assert content == encode(form="FLAC")
    np.testing.assert_array_equal(decode(flac_stating(0)), decode(content))
    np.testing.assert_array_equal(decode(ID3V2 + flac_stating(0)), decode(content))
    np.testing.assert_array_equal(decode(content + ID3V1), decode(content))
    for samples in (2 * RATE + 1, 10 * RATE):
        refused(flac_stating(samples), f"32000 of {samples} samples are there")
    for samples in (2 * RATE - 1, 4096, 10_000):
        refused(flac_stating(samples), f"holds more than the {samples} samples")
    refused(content + content, "several recordings")


# OGG: pages


def pages(content: bytes) -> list[bytes]:
    return [b"OggS" + page for page in content.split(b"OggS")[1:]]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_pages_that_are_cut_missing_damaged_or_of_another_recording(subtype):
    noise = np.random.default_rng(3).normal(0, 0.1, 6 * RATE)
    content = encode(noise, "OGG", subtype)
    found = pages(content)
    assert len(found) > 5
    assert len(decode(content)) == 6 * RATE
    refused(content[:-1], "truncated: ends within an OGG page")
    refused(content[: -len(found[-1]) + 10], "truncated: ends within an OGG page")
    refused(content[: -len(found[-1]) + 3], "truncated or damaged: no OGG page at byte")
    refused(b"".join(found[:3] + found[4:]), "damaged: OGG pages are missing before page 4")
    for page in (3, len(found) - 1):
        damaged = bytearray(found[page])
        damaged[100] ^= 1
        refused(
            b"".join([*found[:page], damaged, *found[page + 1 :]]),
            f"damaged: the checksum of OGG page {page} is another",
        )
    refused(content + encode(NOISE[:, 0], "OGG", subtype), "several recordings end to end")
    # a recorder that died has no last page: its length is that of the pages that are there
    assert RATE < len(decode(b"".join(found[:-1]))) < 6 * RATE
    assert len(decode(content + RUBBISH)) == 6 * RATE


def test_an_mp3_whose_writer_died_states_no_frames():
    content = bytearray(mp3(4.0)[0])
    tag = max(content.find(b"Xing"), content.find(b"Info"))
    struct.pack_into(">I", content, tag + 8, 0)
    assert abs(len(decode(bytes(content))) / 16_000 - 4.1) < 0.1


def test_an_mp3_that_begins_within_a_frame_is_read_from_the_next_one_on():
    whole = decode(mp3(4.0)[0])
    cut = decode(mp3(4.0)[0][1000:])
    assert 0.5 * len(whole) < len(cut) < len(whole)


@pytest.mark.parametrize("format", ["VOC", "AVR", "PAF", "IRCAM", "MAT5", "PVF", "MPC2K"])
def test_formats_whose_length_is_not_checked_are_set_aside(format):
    stream = io.BytesIO()
    soundfile.write(stream, np.linspace(-0.5, 0.5, 8000), 16_000, format=format, subtype="PCM_16")
    with pytest.raises(AudioError, match=f"a {format} file, whose length cannot be checked"):
        decode(stream.getvalue())


@pytest.mark.parametrize("fork", [False, True], ids=["", "a resource fork beside it"])
def test_what_is_no_audio_is_said_to_be_of_no_known_format(fork, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if fork:
        (tmp_path / "._").touch()
    for content in (b"hello, this is text " * 50, bytes(64) + b"RIFF" * 50):
        with pytest.raises(AudioError, match="of no known format"):
            decode(content)
