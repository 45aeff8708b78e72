"""Shares of one recording: a file, or samples in memory."""

import io
from functools import lru_cache
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from emoshare_utils.corpora.audio import decode, read_audio
from emoshare_utils.corpora.lengths import AudioError
from emoshare_utils.predicting.trained import TrainedSystem, load_system


def predict(
    recording: str | Path | np.ndarray,
    system: TrainedSystem | str | Path | None = None,
    sample_rate: int | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Predict the share of listeners who would hear each emotion in a recording.

    Args:
        recording: an audio file; or samples, (n,) or (n, channels), floats in [-1, 1].
        system: as `load_system` returned it, or its folder; None: the one that ships, trained on
            acted English (its `card` says what it must not be used for).
        sample_rate: of samples, in Hz; a file says its own.
        device: "auto", "cpu", "cuda" or "cuda:N"; a loaded system stays where it is.

    Returns:
        One row per emotion: emotion, share, and low and high, the 90 % interval for the share that
        a new panel of listeners would give.

    Raises:
        AudioError: the recording cannot be used; the message is the reason.
        OSError: there is no such file.
        SystemFolderError: the system cannot be used.
        ValueError: samples without a sample rate, or a rate with a file.
    """
    samples = read_recording(recording, sample_rate)
    if not isinstance(system, TrainedSystem):
        system = _shipped(device) if system is None else load_system(system, device)
    return system.predict(samples)


def read_recording(recording: str | Path | np.ndarray, sample_rate: int | None) -> np.ndarray:
    """The samples (n,) float32 at 16 kHz of a file or of samples at any rate."""
    if isinstance(recording, str | Path):
        if sample_rate is not None:
            raise ValueError("sample_rate is for samples in memory: a file says its own rate")
        return read_audio(Path(recording))
    if not isinstance(sample_rate, Integral):
        raise ValueError(
            f"sample_rate = {sample_rate!r}: say the rate of the samples in Hz, as in "
            "predict(samples, sample_rate=16_000)"
        )
    samples = np.asarray(recording)
    if samples.dtype.kind != "f" or samples.ndim not in (1, 2) or not samples.size:
        raise AudioError(
            f"samples of shape {samples.shape}, {samples.dtype}: expected (n,) or (n, channels) "
            "floats in [-1, 1]; divide whole numbers of 16 bit by 32768"
        )
    file = io.BytesIO()  # so that samples in memory and in a file are treated alike
    soundfile.write(file, samples.astype(np.float32), int(sample_rate), "FLOAT", format="WAV")
    return decode(file.getvalue())


@lru_cache(maxsize=1)
def _shipped(device: str) -> TrainedSystem:
    return load_system(None, device)
