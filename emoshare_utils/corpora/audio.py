"""Read any audio file as float32 mono samples at 16 kHz, and find the files that are unusable."""

import io
import math
import struct
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from scipy.signal import resample_poly
from torchaudio.transforms import Resample

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.device import one_worker_per_core
from emoshare_utils.files import checksum
from emoshare_utils.progress import track

SAMPLE_RATE = 16_000  # Hz
MIN_SAMPLES = 400  # fewer cannot be encoded: one frame of 25 ms
LONGEST_S = 3600  # a header that promises more is damaged, or of a stream without an end
SILENCE = 1e-5  # a clip whose samples never exceed this is silent (16 bit starts at 3e-5)
VERSION = 1  # raise it when a change here changes the samples of a file


class AudioError(ValueError):
    """An unusable file; the message is the reason."""


def read_audio(path: Path) -> np.ndarray:
    """Read a clip: WAV, FLAC, OGG or MP3 with any rate, width and number of channels.

    The channels are averaged and the mean is resampled.

    Returns:
        Mono samples at 16 kHz, (n,) float32, n >= 400.

    Raises:
        AudioError: the file is empty, truncated, not audio, silent, shorter than 400 samples or
            longer than an hour, or has NaN.
        FileNotFoundError: no such file.
    """
    return decode(path.read_bytes())


def decode(content: bytes) -> np.ndarray:
    """Do what `read_audio` does with the bytes of a file."""
    if not content:
        raise AudioError("empty file")
    _refuse_truncated_wav(content)
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate, promised = file.samplerate, file.frames
            if promised > LONGEST_S * rate:
                raise AudioError(f"promises {promised / rate:.0f} s, more than {LONGEST_S} s")
            samples = file.read(promised, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"not readable as audio ({error.error_string})") from error
    if len(samples) < promised:
        raise AudioError(f"truncated: {len(samples)} of {promised} samples are there")
    if not np.isfinite(samples).all():
        raise AudioError("NaN or infinite samples")
    n_samples = math.ceil(len(samples) * SAMPLE_RATE / rate)
    if n_samples < MIN_SAMPLES:
        raise AudioError(f"{n_samples} samples at 16 kHz: at least {MIN_SAMPLES} are needed")
    samples = _resample(samples.mean(axis=1), rate)
    if np.abs(samples).max() <= SILENCE:
        raise AudioError("silent")
    return samples


def check(corpus: Corpus) -> tuple[Corpus, pd.DataFrame]:
    """Decode every clip; keep the usable ones and add `duration_s` and `audio_checksum` to them.

    Returns:
        The corpus without unusable clips, and the unusable ones: clip_id, path, reason.
    """
    paths = [corpus.path(path) for path in corpus.clips["path"]]
    with one_worker_per_core() as pool:
        checks = track(pool.map(_check_file, paths), "checking audio", total=len(paths))
        durations, checksums, reasons = zip(*checks)
    clips = corpus.clips.assign(duration_s=durations, audio_checksum=checksums)
    usable = pd.Series(reasons, index=clips.index) == ""
    rejected = clips.loc[~usable, ["clip_id", "path"]]
    rejected = rejected.assign(reason=[reason for reason in reasons if reason])
    return corpus.with_clips(clips[usable].reset_index(drop=True)), rejected


def _check_file(path: Path) -> tuple[float, str, str]:
    """Duration in s, checksum, and why the file is unusable ("" if it is not)."""
    try:
        content = path.read_bytes()
        duration_s = len(decode(content)) / SAMPLE_RATE
    except (AudioError, OSError) as error:
        return float("nan"), "", str(error)
    return duration_s, checksum(content), ""


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
    if rate == SAMPLE_RATE:
        return samples
    common = math.gcd(rate, SAMPLE_RATE)
    if SAMPLE_RATE // common > 640:  # as 22,254 Hz: the filter below would take gigabytes
        return resample_poly(samples, SAMPLE_RATE // common, rate // common)
    return _resampler(rate)(torch.from_numpy(samples)).numpy()


@cache
def _resampler(rate: int) -> Resample:
    return Resample(rate, SAMPLE_RATE)  # keeps its filter, which takes longer than a clip


def _refuse_truncated_wav(content: bytes) -> None:
    """Raise AudioError if a WAV's data chunk promises more bytes than the file has.

    libsndfile reads what is there without a warning. A streamed WAV, whose writer did not know
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
