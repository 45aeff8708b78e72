"""The length that a file's header states, compared with what the file holds.

libsndfile believes headers: of a truncated WAV it reads what is there without a word, of two
recordings end to end the first alone, and of an MP3 that lost its first frame an estimate.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from emoshare_utils.errors import UserError

# A writer that cannot go back (SoX into a pipe, a recorder that died) leaves a placeholder where
# the number of bytes belongs: 0, -1, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 2,000,000,000, ... Every
# size from here on is one: no clip that we take is so large (an hour at 48 kHz in stereo is 0.7
# GB at 16 bit). A smaller size that is not there is that of a truncated file.
PLACEHOLDER_BYTES = 1_000_000_000
FIRST_FRAME_WITHIN = 8192  # bytes of a stream that was cut: the longest frame has 1,441
STRAY_BYTES = 1024  # so many after the samples may belong to nothing, as an ID3v1 tag


class AudioError(UserError, ValueError):
    """An unusable file; the message is the reason."""


class NotAudioError(AudioError):
    """What cannot be decoded at all."""


class Checked(NamedTuple):
    """A file for libsndfile to decode, and what must come of it."""

    content: bytes  # its header states the true length, if any
    samples: int | None = None  # per channel; None: as many as libsndfile says
    is_mpeg: bool = False


def check_length(content: bytes) -> Checked:
    """Compare what the header of a file states with what is there, and correct placeholders.

    Raises:
        AudioError: more or less is there than the header states, or several recordings are.
    """
    content = _without_id3(content)
    magic = content[:4]
    if magic == b"OggS":
        _check_ogg(content)
    elif len(content) > 1 and content[0] == 0xFF and content[1] >= 0xE0:
        return _check_mpeg(content)
    elif magic in _LAYOUTS:
        return _check_chunks(content, _LAYOUTS[magic])
    elif magic == b"fLaC":
        return _check_flac(content)
    elif magic in (b".snd", b"dns."):
        return Checked(_check_au(content))
    elif magic == b"NIST":
        _check_sphere(content)
    elif start := _first_frame(content[:FIRST_FRAME_WITHIN]):
        return _check_mpeg(content[start:])
    return Checked(content)


def _without_id3(content: bytes) -> bytes:
    """Leave out the ID3v2 tags in front."""
    while content[:3] == b"ID3" and len(content) > 10:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0)))
        content = content[10 + size + (10 if content[5] & 0x10 else 0) :]
    return content


# WAV, RF64, AIFF, CAF, W64: chunks with a name and a size


class _Layout(NamedTuple):
    first: int  # where the first chunk is
    head: str  # name and size
    counted: int  # how much of the head is counted in the size
    align: int
    samples: bytes  # the name of the chunk that holds them


_LAYOUTS = {
    b"RIFF": _Layout(12, "<4sI", 0, 2, b"data"),
    b"RIFX": _Layout(12, ">4sI", 0, 2, b"data"),
    b"RF64": _Layout(12, "<4sI", 0, 2, b"data"),
    b"FORM": _Layout(12, ">4sI", 0, 2, b"SSND"),
    b"caff": _Layout(8, ">4sQ", 0, 1, b"data"),
    b"riff": _Layout(40, "<4s12xQ", 24, 8, b"data"),
}
_MP3_IN_WAV = b"\x55\0"


def _chunks(content: bytes, layout: _Layout, position: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and size of every chunk from `position` on, until something else comes."""
    head = struct.Struct(layout.head)
    while position + head.size <= len(content):
        name, size = head.unpack_from(content, position)
        if name in _LAYOUTS or not all(32 <= byte < 127 for byte in name):
            return
        position, size = position + head.size, max(0, size - layout.counted)
        yield name, position, size
        position += size + -(position + size) % layout.align


def _after_chunks(content: bytes, layout: _Layout, position: int) -> int:
    """How many bytes after `position` belong to no chunk; below 0: the last chunk is cut."""
    for _, start, size in _chunks(content, layout, position):
        position = start + size
    return len(content) - position


def _check_chunks(content: bytes, layout: _Layout) -> Checked:
    before = {}  # where the chunks before the samples start
    for name, start, size in _chunks(content, layout, layout.first):
        if name == layout.samples:
            content = _check_samples(content, layout, start, size, before.get(b"ds64"))
            form = before.get(b"fmt ", 0)
            if content[form : form + 2] == _MP3_IN_WAV:
                return check_length(content[start:])
            return Checked(content)
        before[name] = start
    return Checked(content)  # libsndfile says what is wrong


def _check_samples(
    content: bytes, layout: _Layout, start: int, size: int, ds64: int | None
) -> bytes:
    """The content with the true size of its samples, which begin at `start`."""
    form, field = layout.head[0] + layout.head[-1], start - struct.calcsize(layout.head[-1])
    if ds64 and size == 0xFFFFFFFF and ds64 + 16 <= start:  # RF64's 64 bits
        form, field = "<Q", ds64 + 8
        (size,) = struct.unpack_from(form, content, field)
    left = _after_chunks(content, layout, start)
    if _is_placeholder(content, start, size, empty=0 <= left < layout.align):
        header = bytearray(content[:start])
        struct.pack_into(form, header, field, len(content) - start + layout.counted)
        return bytes(header) + content[start:]
    end = start + size  # some writers leave out the padding
    ends = (end, end + -end % layout.align)
    left = min(_after_chunks(content, layout, end) for end in ends)
    _refuse_rest(content, len(content) - left)
    return content


def _is_placeholder(content: bytes, start: int, size: int, empty: bool = False) -> bool:
    """True if `size`, of the samples that begin at `start`, is none, so that they take up the
    rest; 0 is one unless the file is known to be `empty`. AudioError if the file is truncated."""
    present = max(0, len(content) - start)
    if present < size < PLACEHOLDER_BYTES:
        raise AudioError(f"truncated: {present} of {size} bytes of samples are there")
    if size > present or (size == 0 < present and not empty):
        _refuse_second(content)
        return True
    return False


def _refuse_second(content: bytes) -> None:
    """AudioError if what the file begins with comes again."""
    if content.find(content[:8], 8) > 0:
        raise AudioError("several recordings end to end: make one file of each")


def _refuse_rest(content: bytes, end: int) -> None:
    """AudioError if more than a tag or zeros follow where the header says that the file ends."""
    if len(content) - end > STRAY_BYTES and content[end:].strip(b"\0"):
        raise AudioError(
            f"{len(content) - end} bytes follow what its header accounts for: several recordings "
            "end to end, or a wrong length"
        )


# AU, NIST SPHERE, FLAC: a header at a fixed place


def _check_au(content: bytes) -> bytes:
    if len(content) < 12:
        return content
    start, size = struct.unpack_from(">II" if content[:1] == b"." else "<II", content, 4)
    if _is_placeholder(content, start, size):
        return content[:8] + b"\xff\xff\xff\xff" + content[12:]  # AU's own "unknown"
    _refuse_rest(content, start + size)
    return content


def _check_sphere(content: bytes) -> None:
    lines = [line.split() for line in content[:1024].splitlines()]
    stated = {line[0]: line[2] for line in lines if len(line) == 3}
    try:
        start = int(lines[1][0])
        size = int(stated[b"sample_count"]) * int(stated[b"sample_n_bytes"])
        size *= int(stated[b"channel_count"])
    except (IndexError, KeyError, ValueError):
        return  # libsndfile says what is wrong
    if not _is_placeholder(content, start, size):
        _refuse_rest(content, start + size)


def _check_flac(content: bytes) -> Checked:
    """With no length in its header libsndfile decodes to the end, and past a wrong length."""
    if len(content) < 26:
        return Checked(content)
    _refuse_second(content)
    high, low = content[21] & 0x0F, content[22:26]
    samples = high << 32 | int.from_bytes(low, "big")
    content = content[:21] + bytes([content[21] & 0xF0, 0, 0, 0, 0]) + content[26:]
    return Checked(content, samples or None)


# OGG: pages, each with a checksum

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _check_ogg(content: bytes) -> None:
    """libogg leaves out damaged pages, and libsndfile takes the last whole one for the end."""
    position, begun, ended, numbers = 0, False, False, {}
    while content[position : position + 4] == b"OggS":
        start = position + 27 + (content[position + 26] if position + 26 < len(content) else 0)
        end = start + sum(content[position + 27 : start])
        if max(start, end) > len(content):
            raise AudioError("truncated: ends within an OGG page")
        flags, serial, number = struct.unpack_from("<B8xII", content, position + 5)
        if flags & 2 and begun:
            raise AudioError("several recordings end to end: make one file of each")
        if _ogg_checksum(content[position:end]) != content[position + 22 : position + 26]:
            raise AudioError(f"damaged: the checksum of OGG page {number} is another")
        if number != numbers.get(serial, number - 1) + 1:
            raise AudioError(f"damaged: OGG pages are missing before page {number}")
        numbers[serial], begun, ended = number, not flags & 2, flags & 4
        position = end
    if content.find(b"OggS", position) > 0 or (position < len(content) and not ended):
        raise AudioError(f"truncated or damaged: no OGG page at byte {position}")


def _ogg_checksum(page: bytes) -> bytes:
    """CRC-32 as Ogg has it: zlib's with the bits reversed, from 0 on, its own field taken as 0."""
    page = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED)
    crc = zlib.crc32(page, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2).to_bytes(4, "little")


# MP3: frames, of which only a Xing or Info frame in front says how many there are

_BITRATES = {  # kbit/s by the version's bits
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8000)}
_HEAD = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]")  # of layer III


class _Frame(NamedTuple):
    size: int  # in bytes
    samples: int
    rate: int
    channels: int


def _frame(content: bytes, position: int) -> _Frame | None:
    """The whole MPEG layer III frame at `position`, if one is there."""
    head = content[position : position + 4]
    if len(head) < 4 or not _HEAD.match(head) or head[2] >> 2 & 3 == 3:
        return None
    version = head[1] >> 3 & 3
    rate, samples = _RATES[version][head[2] >> 2 & 3], 1152 if version == 3 else 576
    kbits = _BITRATES[version or 2][(head[2] >> 4) - 1]
    size = samples // 8 * 1000 * kbits // rate + (head[2] >> 1 & 1)
    if position + size > len(content):
        return None
    return _Frame(size, samples, rate, 1 if head[3] >> 6 == 3 else 2)


def _frames(content: bytes) -> Iterator[_Frame]:
    """All frames; where something else comes between, from the next three in a row on."""
    position = 0
    while position >= 0:
        while frame := _frame(content, position):
            yield frame
            position += frame.size
        heads = (match.start() for match in _HEAD.finditer(content, position))
        position = next((at for at in heads if _frames_in_a_row(content, at, 3)), -1)


def _frames_in_a_row(content: bytes, position: int, n: int) -> bool:
    for _ in range(n):
        frame = _frame(content, position)
        if not frame:
            return False
        position += frame.size
    return True


def _first_frame(beginning: bytes) -> int:
    """Where the first of three whole frames in a row is, as in a stream that was cut; 0: none."""
    heads = (match.start() for match in _HEAD.finditer(beginning))
    return next((at for at in heads if _frames_in_a_row(beginning, at, 3)), 0)


def _check_mpeg(content: bytes) -> Checked:
    first = _frame(content, 0)
    if not first:
        raise NotAudioError("no MP3 (nor AAC, MPEG layer I or II, free format) can be read here")
    n_frames = 0
    for frame in _frames(content):
        if frame[1:] != first[1:]:
            raise AudioError(
                f"changes from {first.rate} Hz and {first.channels} channels to {frame.rate} and "
                f"{frame.channels}: several recordings end to end, or damaged"
            )
        n_frames += 1
    tag = max(content[: min(first.size - 8, 48)].find(name) for name in (b"Xing", b"Info"))
    flags, stated = struct.unpack_from(">II", content, tag + 4) if tag > 0 else (0, 0)
    if tag > 0 and not (flags & 1 and stated):  # its writer died: libmpg123 would believe the 0
        content, n_frames = content[first.size :], n_frames - 1
    if not flags & 1 or not stated:
        return Checked(content, n_frames * first.samples, is_mpeg=True)
    if n_frames - 1 < stated:
        raise AudioError(f"truncated: {n_frames - 1} of {stated} MP3 frames are there")
    if n_frames - 1 > stated + 1:
        raise AudioError(
            f"holds {n_frames - 1} MP3 frames, its header states {stated}: several recordings "
            "end to end, or damaged"
        )
    return Checked(content, is_mpeg=True)
