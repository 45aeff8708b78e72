"""Read any audio file as float32 mono samples at 16 kHz, and find the files that are unusable."""

import io
import math
import stat
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from scipy.signal import resample_poly
from torchaudio.transforms import Resample

from emoshare_utils.corpora.audio_files import ENDINGS
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.corpora.lengths import AudioError, NotAudioError, check_length
from emoshare_utils.device import one_worker_per_core
from emoshare_utils.files import checksum
from emoshare_utils.progress import track

SAMPLE_RATE = 16_000  # Hz
MIN_SAMPLES = 400  # fewer cannot be encoded: one frame of 25 ms
LONGEST_S = 3600  # a header that promises more is damaged, or of a stream without an end
MOST_SAMPLES = LONGEST_S * 48_000  # per channel, at any rate: 0.7 GB of float32
MOST_BYTES = 2**31  # of a file
RATES = (4_000, 384_000)  # Hz; others are of a damaged header
# libsndfile's names of those whose length is checked; what it reads else may be cut, or doubled
FORMATS = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3", "MPEG", "NIST"}
LOUDEST = 10  # floats are meant to be within 1, and a few exceed it; more are of another scale
BLOCK = 2**22  # samples, of all channels together, that are decoded at a time: 16 MB
SILENCE = 1e-5  # a clip whose samples never exceed this is silent (16 bit starts at 3e-5)
VERSION = 1  # raise it when a change here changes the samples of a file


def read_audio(path: Path) -> np.ndarray:
    """Read a clip: WAV, FLAC, OGG, MP3, AIFF, ... with any rate, width and number of channels.

    What a file is, its content says. The channels are averaged and the mean is resampled.

    Returns:
        Mono samples at 16 kHz, (n,) float32, n >= 400.

    Raises:
        AudioError: the file is empty, truncated, damaged, not audio, no regular file, silent,
            shorter than 400 samples or longer than an hour, of a rate outside `RATES`, its length
            is another than its header states, or it has NaN or samples beyond `LOUDEST`.
        OSError: there is no such file, or it cannot be read.
    """
    return _read(path)[1]


def decode(content: bytes) -> np.ndarray:
    """Do what `read_audio` does with the bytes of a file."""
    if not content:
        raise AudioError("empty file")
    checked = check_length(content)
    try:
        with _Decoder(_Bytes(checked.content, not checked.is_mpeg)) as file:
            if file.format not in FORMATS:
                raise NotAudioError(f"a {file.format} file, whose length cannot be checked")
            samples, rate = _mono(file, checked.samples), file.samplerate
    except soundfile.SoundFileError as error:
        reason = str(getattr(error, "error_string", error))
        # "Error : bad …" where the folder has a file "._": it takes that for a resource fork
        if reason.startswith(("Format not recognised", "Error : bad ")):
            reason = "of no known format"
        raise NotAudioError(f"not readable as audio ({reason})") from error
    n_samples = math.ceil(len(samples) * SAMPLE_RATE / rate)
    if n_samples < MIN_SAMPLES:
        raise AudioError(f"{n_samples} samples at 16 kHz: at least {MIN_SAMPLES} are needed")
    samples = _resample(samples, rate)
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
        content, samples = _read(path)
    except (AudioError, OSError) as error:
        return float("nan"), "", str(error)
    return len(samples) / SAMPLE_RATE, checksum(content), ""


def _read(path: Path) -> tuple[bytes, np.ndarray]:
    """The bytes and the samples of a file; a pipe is not opened, for that would wait for ever."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise AudioError("no regular file but a folder, pipe, socket or device")
    if found.st_size > MOST_BYTES:
        raise AudioError(f"{found.st_size:,} bytes, more than {MOST_BYTES:,}")
    content = path.read_bytes()
    try:
        return content, decode(content)
    except NotAudioError as error:
        ending = path.suffix
        if not ending or ending.lower() in ENDINGS:
            raise
        raise AudioError(
            f"{error}: files that end in {ending} cannot be read here; convert to WAV or FLAC, "
            f"e.g. ffmpeg -i in{ending} out.wav"
        ) from error


class _Bytes(io.BytesIO):
    """A file for libsndfile's callbacks, in which nothing may be raised.

    If it is not `sized`, its end is not told: libmpg123 then counts the frames of an MP3 that
    does not say how many there are, instead of estimating them from the first.
    """

    def __init__(self, content: bytes, sized: bool) -> None:
        super().__init__(content)
        self.sized = sized

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END and not self.sized:
            offset, whence = 0, io.SEEK_SET
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):  # of a damaged header: it stays where it is
            return self.tell()


class _Decoder(soundfile.SoundFile):
    """A file that is read from its beginning to its end.

    soundfile seeks after every block of a file that it can seek in, and libmpg123 decodes what
    comes after a seek a little differently.
    """

    def seekable(self) -> bool:
        return False


def _mono(file: soundfile.SoundFile, stated: int | None) -> np.ndarray:
    """Decode to the end, in blocks, and average the channels.

    Args:
        stated: the samples per channel that must be there; None: as many as libsndfile says.

    Returns:
        (n,) float32 at the file's rate.
    """
    rate, expected = file.samplerate, file.frames if stated is None else stated
    if not RATES[0] <= rate <= RATES[1]:
        raise AudioError(f"a rate of {rate} Hz: expected {RATES[0]} to {RATES[1]} Hz")
    most = min(LONGEST_S * rate, MOST_SAMPLES)
    limit = f"more than {most / rate:.0f} s at {rate} Hz"
    endless = expected >= 2**62  # as libsndfile says of a FLAC that does not state its length
    if expected > most and not endless:
        raise AudioError(f"promises {expected / rate:.0f} s, {limit}")
    per_block = max(1, BLOCK // file.channels)
    blocks, n = [], 0
    while n < expected and len(block := _block(file, min(per_block, expected - n))):
        blocks.append(block)
        n += len(block)
        if n > most:
            raise AudioError(f"holds {limit}")
    if n < expected and not endless:
        raise AudioError(f"truncated or damaged: {n} of {expected} samples are there")
    with suppress(soundfile.SoundFileError):  # as a FLAC does that ends with a tag
        if stated is not None and len(_block(file, 1)):
            raise AudioError(f"holds more than the {n} samples that its header states")
    return blocks[0] if len(blocks) == 1 else np.concatenate([np.zeros(0, np.float32), *blocks])


def _block(file: soundfile.SoundFile, size: int) -> np.ndarray:
    """The mean over channels of the next samples, (up to `size`,) float32."""
    channels = file.read(size, dtype="float32", always_2d=True)
    with np.errstate(over="ignore", invalid="ignore"):
        block = channels.mean(axis=1)
    loudest = max(block.max(initial=0), -block.min(initial=0))  # NaN, if one is
    if not np.isfinite(loudest):
        raise AudioError("NaN or infinite samples")
    if loudest > LOUDEST:
        raise AudioError(
            f"a sample of {loudest:.3g}: floats are expected within 1, and {LOUDEST} at most; "
            "scale the file, as by 1/32768 if it holds the values of 16 bit"
        )
    return block


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
    if rate == SAMPLE_RATE:
        return samples
    common = math.gcd(rate, SAMPLE_RATE)
    if SAMPLE_RATE // common > 640:  # as 22,254 Hz: the filter below would take gigabytes
        return resample_poly(samples, SAMPLE_RATE // common, rate // common)
    return _resampler(rate)(torch.from_numpy(samples)).numpy()


@lru_cache(maxsize=8)  # of a damaged corpus there are many, of 0.1 GB at most
def _resampler(rate: int) -> Resample:
    return Resample(rate, SAMPLE_RATE)  # keeps its filter, which takes longer than a clip
