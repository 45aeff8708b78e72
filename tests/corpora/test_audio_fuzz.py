"""Damaged files of every format: samples that can be used, or a reason, and nothing else."""

import io
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from emoshare_utils.corpora.audio import LONGEST_S, LOUDEST, SAMPLE_RATE, AudioError, decode

FORMATS = [
    *(("WAV", subtype) for subtype in ("PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM", "GSM610")),
    *(("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("CAF", "PCM_16")),
    *(("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"), ("FLAC", "PCM_16")),
    *(("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("NIST", "PCM_16")),
    *(("CAF", "ALAC_16"), ("VOC", "PCM_16")),
]
SIZES = (
    0,
    1,
    0x7FFFFFFF,
    0x7FFFF000,
    0x80000000,
    0xFFFFFFFF,
    2_000_000_000,
    10**6,
    2**63,
    2**64 - 1,
)
LARGEST = 1 << 30  # bytes that may be allocated beyond those that an import takes
LONGEST_RUN_S = 20  # for one file


def sound(form: str, subtype: str, seconds: float = 0.4, seed: int = 0) -> bytes:
    rate = 16_000
    noise = np.random.default_rng(seed).normal(0, 0.1, int(seconds * rate))
    file = io.BytesIO()
    soundfile.write(file, noise, rate, format=form, subtype=subtype)
    return file.getvalue()


def damaged(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits, cut, repeat, overwrite a size, or add rubbish; mostly near the header."""
    kind = rng.integers(8)
    where = int(rng.integers(min(100, len(content))))
    anywhere = int(rng.integers(len(content)))
    if kind == 0:
        return content[:anywhere]
    if kind == 1:
        return content + other
    if kind == 2:
        return content[:anywhere] + rng.bytes(int(rng.integers(1, 3000))) + content[anywhere:]
    if kind == 3:
        return content[:where] + content[where + int(rng.integers(1, 50)) :]
    if kind == 4:
        size = SIZES[rng.integers(len(SIZES))]
        width, order = rng.choice([4, 8]), rng.choice(["little", "big"])
        new = (size % 2 ** (8 * int(width))).to_bytes(int(width), str(order))
        return content[:where] + new + content[where + len(new) :]
    flipped = bytearray(content)
    for place in (where, where, anywhere)[: kind - 4]:
        flipped[place] ^= int(rng.integers(1, 256))
    return bytes(flipped)


def outcome(content: bytes) -> str:
    """ "read" or the reason; an assertion or any other error is a fault of ours."""
    try:
        samples = decode(content)
    except AudioError as error:
        return str(error)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert 400 <= len(samples) <= LONGEST_S * SAMPLE_RATE
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() < 2 * LOUDEST
    return "read"


def fuzz(per_format: int, seed: int) -> Iterator[tuple[str, str]]:
    """The format and the outcome of every damaged file."""
    rng = np.random.default_rng(seed)
    for form, subtype in FORMATS:
        content = sound(form, subtype)
        other = sound(form, subtype, seconds=0.2, seed=1)
        for _ in range(per_format):
            yield f"{form} {subtype}", outcome(damaged(content, other, rng))


def peak() -> int:
    """The most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def test_damage_gives_samples_or_a_reason():
    before = peak()
    outcomes = [outcome for _, outcome in fuzz(per_format=12, seed=0)]
    assert 0.1 < outcomes.count("read") / len(outcomes) < 0.9
    assert peak() - before < 200


if __name__ == "__main__":  # by hand: with limits, as C hears no exception; per_format, seed
    pages = Path("/proc/self/statm").read_text().split()[0]  # torch alone takes gigabytes
    taken = int(pages) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + LARGEST, taken + LARGEST))
    signal.alarm(LONGEST_RUN_S)
    before, start = peak(), time.perf_counter()
    for form, result in fuzz(int(sys.argv[1]), int(sys.argv[2])):
        seconds = time.perf_counter() - start
        print(form, f"{seconds:.3f}", peak() - before, result, sep="\t", flush=True)
        signal.alarm(LONGEST_RUN_S)
        before, start = peak(), time.perf_counter()
