"""A file -> float32 mono samples at 16 kHz, and the check that every clip is one."""

import io
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from torchaudio.transforms import Resample

from emoshare_utils.corpus import Corpus
from emoshare_utils.device import one_worker_a_core
from emoshare_utils.progress import track

SAMPLE_RATE = 16_000  # Hz
MIN_SAMPLES = 400  # fewer cannot be encoded: one frame of 25 ms
SILENCE = 1e-5  # a clip whose samples never exceed this is silent (16 bit starts at 3e-5)
VERSION = 1  # raise it when the samples of a file change


class AudioError(ValueError):
    """A file that is no usable clip; the message is the reason."""


def read_audio(path: Path) -> np.ndarray:
    """The samples of a clip: WAV, FLAC, OGG or MP3, any rate, width and channel count.

    Channels are averaged and the result resampled.

    Returns:
        Mono samples at 16 kHz, (n,) float32, n >= 400.

    Raises:
        AudioError: empty, truncated, not audio, NaN, silent or shorter than 400 samples.
        FileNotFoundError: no such file.
    """
    return decode(path.read_bytes())


def decode(content: bytes) -> np.ndarray:
    """`read_audio` of a file's bytes."""
    if not content:
        raise AudioError("empty file")
    _refuse_truncated_wav(content)
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate, promised = file.samplerate, file.frames
            samples = file.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"not readable as audio ({error.error_string})") from error
    if len(samples) < promised:
        raise AudioError(f"truncated: {len(samples)} of {promised} samples are there")
    if not np.isfinite(samples).all():
        raise AudioError("NaN or infinite samples")
    samples = samples.mean(axis=1)
    if rate != SAMPLE_RATE:
        samples = _resampler(rate)(torch.from_numpy(samples)).numpy()
    if len(samples) < MIN_SAMPLES:
        raise AudioError(f"{len(samples)} samples at 16 kHz: at least {MIN_SAMPLES} are needed")
    if np.abs(samples).max() <= SILENCE:
        raise AudioError("silent")
    return samples


def check(corpus: Corpus) -> tuple[Corpus, pd.DataFrame]:
    """Decode every clip; keep the usable ones and give them `duration_s` and `audio_checksum`.

    The checksum (CRC-32 of the file) lets the feature store notice a changed clip.

    Returns:
        The corpus without unusable clips, and those: clip_id, path, reason.
    """
    paths = [corpus.path(path) for path in corpus.clips["path"]]
    with one_worker_a_core() as pool:
        checks = track(pool.map(_check_file, paths), "checking audio", total=len(paths))
        durations, checksums, reasons = zip(*checks)
    clips = corpus.clips.assign(duration_s=durations, audio_checksum=checksums)
    usable = pd.Series(reasons, index=clips.index) == ""
    rejected = clips.loc[~usable, ["clip_id", "path"]]
    rejected = rejected.assign(reason=[reason for reason in reasons if reason])
    return corpus.with_clips(clips[usable].reset_index(drop=True)), rejected


def _check_file(path: Path) -> tuple[float, str, str]:
    """Duration in s, checksum, and the reason to set the file aside ("" for none)."""
    try:
        content = path.read_bytes()
        duration_s = len(decode(content)) / SAMPLE_RATE
    except (AudioError, OSError) as error:
        return float("nan"), "", str(error)
    return duration_s, f"{zlib.crc32(content):08x}", ""


@cache
def _resampler(rate: int) -> Resample:
    return Resample(rate, SAMPLE_RATE)  # keeps its filter, which takes longer than a clip


def _refuse_truncated_wav(content: bytes) -> None:
    """AudioError if a WAV's data chunk promises more bytes than the file has.

    libsndfile reads what is there and says nothing. A streamed WAV, whose writer never knew
    its length, promises 0 or 0xFFFFFFFF bytes and is accepted.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return
    position = 12
    while position + 8 <= len(content):
        chunk, size = struct.unpack_from("<4sI", content, position)
        if chunk == b"data":
            present = len(content) - position - 8
            if size > present and size < 0xFFFFFF00:
                raise AudioError(f"truncated: {present} of {size} bytes of samples are there")
            return
        position += 8 + size + size % 2
