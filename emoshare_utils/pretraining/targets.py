"""HuBERT's labels: each frame's cluster, by k-means over acoustics or over an encoder's layer.

The first iteration's are clusters of MFCC, as in the paper, over several spans of time, and of
pitch and level; the second iteration's are clusters of a layer of the first one's encoder.
"""

import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import correlate1d
from sklearn.cluster import MiniBatchKMeans
from torchaudio import transforms

from emoshare_utils.corpora.audio import MIN_SAMPLES, SAMPLE_RATE
from emoshare_utils.features import acoustic
from emoshare_utils.features.encoder import Encoder
from emoshare_utils.features.small_network import HOP
from emoshare_utils.files import UNSEALED, DamagedError, atomic, read_sealed, sealed
from emoshare_utils.pretraining.audio import Audio, crc32, n_frames
from emoshare_utils.progress import track

KMEANS_FRAMES = 300_000  # that k-means is fitted on, about: every n-th frame
VOICE_WINDOW = 800  # samples: 50 ms, for pitch, voicing and level
ENCODER_BATCH = 16  # clips
VERSION = 1, 1  # of MFCC, and of the rest: raise one when the labels of a clip change
# The MFCC that the package's encoders learned from: of the same bands as `acoustic.Mfcc`, but with
# 1e-6 added to each where that one has a floor.
MFCC = transforms.MFCC(SAMPLE_RATE, acoustic.BANDS, log_mels=True, melkwargs=acoustic.MEL)


class View(NamedTuple):
    """The acoustics that one clustering sees, over time around each frame.

    Attributes:
        columns: of `acoustics`: the first, and the one after the last.
        frames: the number of frames (20 ms each) around and including the middle one, odd.
        terms: of the cosine transform over these frames: the mean, the slope, the curvature, ...
    """

    columns: tuple[int, int]
    frames: int
    terms: int


# The first is the usual 13 MFCC with their first and second differences, over 0.22 s. The others
# see longer spans, finer changes, the fine structure of the spectrum, or pitch and level.
VIEWS = (
    View((0, 13), 11, 3),
    View((0, 13), 25, 4),
    View((0, 5), 25, 6),
    View((0, 2), 25, 8),
    View((0, 13), 51, 6),
    View((13, 40), 11, 3),
    View((40, 43), 25, 6),
)


def acoustics(samples: np.ndarray) -> np.ndarray:
    """40 MFCC, pitch, voicing and level at each of an encoder's frames: (n,) -> (L, 43).

    MFCC are of 25 ms, 2.5 ms earlier than the frame; the others are of 50 ms around its middle.
    """
    every_10_ms = MFCC(torch.from_numpy(samples)).T.numpy()
    mfcc = every_10_ms[1::2][: n_frames(len(samples))]
    return np.concatenate([mfcc, voice(samples)], axis=1)


def voice(samples: np.ndarray) -> np.ndarray:
    """Pitch, voicing and level at each of an encoder's frames: (n,) -> (L, 3).

    From the autocorrelation of 50 ms under a Hann window, divided by the window's own: voicing is
    its maximum over lags from 2 to 20 ms, relative to lag 0; pitch is in octaves above 100 Hz,
    times the voicing; level is the logarithm of the energy.
    """
    window = np.hanning(VOICE_WINDOW)
    padded = np.pad(samples, ((VOICE_WINDOW - MIN_SAMPLES) // 2, VOICE_WINDOW))
    frames = sliding_window_view(padded, VOICE_WINDOW)[::HOP][: n_frames(len(samples))] * window
    power = np.abs(np.fft.rfft(frames, 2 * VOICE_WINDOW)) ** 2  # (L, frequencies)
    window_power = np.abs(np.fft.rfft(window, 2 * VOICE_WINDOW)) ** 2
    lags = np.arange(SAMPLE_RATE // 500, SAMPLE_RATE // 50)
    of_frames, of_window = (np.fft.irfft(x)[..., [0, *lags]] for x in (power, window_power))
    autocorrelation = of_frames / of_window
    autocorrelation = autocorrelation[:, 1:] / (autocorrelation[:, :1] + 1e-9)
    best = (autocorrelation - 0.02 * np.log2(lags)).argmax(1)  # of equal ones, the shortest lag
    voicing = np.take_along_axis(autocorrelation, best[:, None], 1)[:, 0].clip(0, 1)
    octaves = np.log2(SAMPLE_RATE / lags[best] / 100)
    level = np.log(power.sum(1) + 1e-3)
    return np.column_stack([octaves * voicing, voicing, level]).astype(np.float32)


def temporal_dct(columns: np.ndarray, view: View) -> np.ndarray:
    """A cosine transform over time around each frame: (L, 43) -> (L, columns x terms).

    Term k of a column x at frame t is the mean over the n frames t + i around it of
    x(t + i) cos(pi k (i + n / 2) / n), i from -(n - 1) / 2 to (n - 1) / 2. Beyond the clip's ends
    stand its first and last frame.
    """
    seen = columns[:, slice(*view.columns)]
    phase = np.pi * (np.arange(view.frames) + 0.5) / view.frames
    waves = np.cos(np.outer(np.arange(view.terms), phase)) / view.frames
    return np.concatenate([correlate1d(seen, wave, 0, mode="nearest") for wave in waves], axis=1)


def label_by_acoustics(
    audio: Audio, file: Path, clusters: int = 500, seed: int = 0
) -> list[np.ndarray]:
    """The first iteration's labels: each frame's cluster in every one of `VIEWS`.

    Args:
        file: keeps the labels; it is read where it holds those of the same arguments.

    Returns:
        (L, 7) int16 for each clip.

    Raises:
        ValueError: fewer frames than clusters.
    """

    def make() -> list[np.ndarray]:
        numbers = track(range(len(audio.clips)), "MFCC and voice")
        clips = [acoustics(audio.samples(clip)) for clip in numbers]
        views = track(VIEWS, "k-means", unit="views")
        return side_by_side(
            _cluster([temporal_dct(clip, view) for clip in clips], clusters, seed) for view in views
        )

    about = [crc32(*audio.clips), *VERSION, VIEWS, clusters, seed]
    return _read_or_make(file, about, make)


def label_by_layer(
    audio: Audio, file: Path, encoder: Encoder, clusters: int = 500, seed: int = 0
) -> list[np.ndarray]:
    """The second iteration's labels: each frame's cluster of a layer of the first one's encoder.

    All frames are in memory at once, as float16: for width 448, 0.16 GB per hour of audio.

    Args:
        file: as for `label_by_acoustics`.
        encoder: the first iteration's at one layer, as
            `load_encoder(f"{folder}@2", device, precision="auto")`.

    Returns:
        (L, 1) int16 for each clip.

    Raises:
        ValueError: fewer frames than clusters.
    """
    layer = encoder.settings["layer"]

    def make() -> list[np.ndarray]:
        numbers = range(len(audio.clips))
        batches = [numbers[start : start + ENCODER_BATCH] for start in numbers[::ENCODER_BATCH]]
        frames = []
        for batch in track(batches, f"layer {layer}", unit=f"batches of {ENCODER_BATCH} clips"):
            encoded = encoder.encode([audio.samples(clip) for clip in batch])
            frames += [clip.astype(np.float16) for clip in encoded]
        return side_by_side([_cluster(frames, clusters, seed)])

    about = [crc32(*audio.clips), encoder.settings["revision"], layer, clusters, seed]
    return _read_or_make(file, about, make)


def side_by_side(clusterings: Iterable[list[np.ndarray]]) -> list[np.ndarray]:
    """Several clusterings' labels of the same clips, (L,) or (L, G) each, as columns per clip."""
    return [np.column_stack(labels) for labels in zip(*clusterings, strict=True)]


def _read_or_make(
    file: Path, about: list, make: Callable[[], list[np.ndarray]]
) -> list[np.ndarray]:
    about = json.dumps(about)
    try:
        with np.load(io.BytesIO(read_sealed(file))) as kept:
            if str(kept["about"]) == about:
                return np.split(kept["labels"], np.cumsum(kept["lengths"])[:-1])
    except FileNotFoundError:
        pass
    except (DamagedError, OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        print(f"{file} is damaged ({error}): the labels are made again")
    labels, stream = make(), io.BytesIO()
    lengths = [len(clip) for clip in labels]
    np.savez(stream, about=about, labels=np.concatenate(labels), lengths=lengths)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic(file) as whole:
        whole.write(sealed(stream.getvalue() + UNSEALED))
    return labels


def _cluster(frames: list[np.ndarray], clusters: int, seed: int) -> list[np.ndarray]:
    """k-means over a part of the frames (L, W), and the cluster of every frame.

    Each dimension is divided by its standard deviation, so that all weigh the same.
    """
    starts = np.cumsum([0, *map(len, frames)])
    every = max(1, int(starts[-1]) // KMEANS_FRAMES)
    taken = [clip[-start % every :: every] for clip, start in zip(frames, starts)]
    sample = np.concatenate(taken).astype(np.float32)
    if len(sample) < clusters:
        raise ValueError(
            f"{len(sample)} frames of speech are too few for {clusters} clusters: set fewer "
            "clusters, or more audio"
        )
    scale = np.maximum(sample.std(0), 1e-6)
    means = MiniBatchKMeans(
        clusters, batch_size=10_000, n_init=2, random_state=seed, reassignment_ratio=0.0
    ).fit(sample / scale)
    return [means.predict(clip.astype(np.float32) / scale).astype(np.int16) for clip in frames]
