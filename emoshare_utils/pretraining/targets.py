"""HuBERT's targets: each frame's cluster, by k-means over acoustics or over an encoder's layer.

The first targets are clusters of MFCC, as in the original recipe, over several spans of time, and
of the voice's pitch and level; the second are clusters of a layer of the encoder that these gave.
"""

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

from emoshare_utils.corpora import audio
from emoshare_utils.features import acoustic
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.small_network import HOP
from emoshare_utils.files import atomic, writing
from emoshare_utils.pretraining.audio import Audio, checksum, n_frames
from emoshare_utils.progress import track

FIT = 300_000  # frames that k-means sees: every n-th, so that there are so many at least
VERSION = 1  # raise it when the labels of a clip change
VOICE = 800  # samples, 50 ms, in which pitch is looked for
ENCODED = 16  # clips at once


class View(NamedTuple):
    """What one clustering sees of a frame: how some acoustics run over time around it.

    Attributes:
        columns: of `acoustics`, the first, and the one after the last.
        frames: how many of 20 ms, an odd number.
        terms: of the cosine transform over these frames: the mean, the slope, the curvature, ...
    """

    columns: tuple[int, int]
    frames: int
    terms: int


# The first is the usual 13 MFCC with their first and second differences, over .22 s. The others
# see longer, or finer, or the fine structure of the spectrum, or the voice.
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
    """40 MFCC, pitch, voicing and level of each of an encoder's frames, (L, 43).

    MFCC are of 25 ms, 2.5 ms earlier than the frame; the others are of 50 ms around its middle.
    """
    every_10_ms = acoustic.Mfcc()(torch.from_numpy(samples))
    mfcc = every_10_ms[1::2][: n_frames(len(samples))].numpy()
    return np.concatenate([mfcc, voice(samples)], axis=1)


def voice(samples: np.ndarray) -> np.ndarray:
    """Pitch, voicing and level of each of an encoder's frames, (L, 3).

    From the autocorrelation of 50 ms under a Hann window, divided by the window's own: voicing is
    its highest value at lags from 2 to 20 ms, relative to lag 0; pitch is in octaves above 100 Hz,
    times the voicing; level is the logarithm of the energy.
    """
    window = np.hanning(VOICE)
    padded = np.pad(samples, ((VOICE - audio.MIN_SAMPLES) // 2, VOICE))
    frames = sliding_window_view(padded, VOICE)[::HOP][: n_frames(len(samples))] * window
    power = np.abs(np.fft.rfft(frames, 2 * VOICE)) ** 2  # (L, frequencies)
    of_window = np.abs(np.fft.rfft(window, 2 * VOICE)) ** 2
    lags = np.arange(audio.SAMPLE_RATE // 500, audio.SAMPLE_RATE // 50)
    alike, alone = (np.fft.irfft(x)[..., [0, *lags]] for x in (power, of_window))
    alike = alike / alone
    alike = alike[:, 1:] / (alike[:, :1] + 1e-9)
    best = (alike - 0.02 * np.log2(lags)).argmax(1)  # of equal ones, the shortest lag
    voicing = np.take_along_axis(alike, best[:, None], 1)[:, 0].clip(0, 1)
    octaves = np.log2(audio.SAMPLE_RATE / lags[best] / 100)
    level = np.log(power.sum(1) + 1e-3)
    return np.column_stack([octaves * voicing, voicing, level]).astype(np.float32)


def course(columns: np.ndarray, view: View) -> np.ndarray:
    """The acoustics (L, 43) around each frame as `view` sees them, (L, columns x terms).

    Term k of a column x at frame t is the mean over the n frames t + i around it of
    x(t + i) cos(pi k (i + n / 2) / n), i from -(n - 1) / 2. Ends are held.
    """
    seen = columns[:, slice(*view.columns)]
    phase = np.pi * (np.arange(view.frames) + 0.5) / view.frames
    waves = np.cos(np.outer(np.arange(view.terms), phase)) / view.frames
    return np.concatenate([correlate1d(seen, wave, 0, mode="nearest") for wave in waves], axis=1)


def label_by_acoustics(
    heard: Audio, file: Path, clusters: int = 500, seed: int = 0
) -> list[np.ndarray]:
    """HuBERT's first targets: each frame's cluster in every one of `VIEWS`, (L, 7) int16 a clip.

    They are kept in `file`, from which they are read where it holds those of the same arguments.
    """

    def make() -> list[np.ndarray]:
        numbers = track(range(len(heard.clips)), "MFCC and voice")
        clips = [acoustics(heard.samples(clip)) for clip in numbers]
        views = track(VIEWS, "k-means", unit="views")
        return side_by_side(
            _cluster([course(clip, view) for clip in clips], clusters, seed) for view in views
        )

    return _kept(
        file, [checksum(heard.clips), acoustic.VERSION, VERSION, VIEWS, clusters, seed], make
    )


def label_by_layer(
    heard: Audio,
    file: Path,
    folder: Path,
    layer: int,
    clusters: int = 500,
    seed: int = 0,
    device: str = "auto",
) -> list[np.ndarray]:
    """HuBERT's second targets: each frame's cluster of a layer of the encoder in `folder`.

    All frames are in memory at once, as float16: for width 448, .16 GB an hour of audio.

    Returns:
        (L, 1) int16 for every clip; kept in `file` as those of `label_by_acoustics` are.
    """
    encoder = load_encoder(f"{folder}@{layer}", device, precision="auto")

    def make() -> list[np.ndarray]:
        numbers = range(len(heard.clips))
        batches = [numbers[start : start + ENCODED] for start in numbers[::ENCODED]]
        frames = []
        for batch in track(batches, f"layer {layer}", unit=f"batches of {ENCODED} clips"):
            encoded = encoder.encode([heard.samples(clip) for clip in batch])
            frames += [clip.astype(np.float16) for clip in encoded]
        return side_by_side([_cluster(frames, clusters, seed)])

    about = [checksum(heard.clips), encoder.settings["revision"], layer, clusters, seed]
    return _kept(file, about, make)


def side_by_side(clusterings: Iterable[list[np.ndarray]]) -> list[np.ndarray]:
    """Labels of the same clips, (L,) or (L, G) each, as the columns of one array a clip."""
    return [np.column_stack(labels) for labels in zip(*clusterings, strict=True)]


def _kept(file: Path, about: list, make: Callable[[], list[np.ndarray]]) -> list[np.ndarray]:
    about = json.dumps(about)
    try:
        with np.load(file) as kept:
            if str(kept["about"]) == about:
                return np.split(kept["labels"], np.cumsum(kept["lengths"])[:-1])
    except FileNotFoundError:
        pass
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        print(f"{file} is damaged ({error}): the labels are made anew")
    labels = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    with writing(file.parent), atomic(file) as stream:
        lengths = [len(clip) for clip in labels]
        np.savez(stream, about=about, labels=np.concatenate(labels), lengths=lengths)
    return labels


def _cluster(frames: list[np.ndarray], clusters: int, seed: int) -> list[np.ndarray]:
    """k-means over a part of the frames (L, W), and the cluster of every frame.

    Every dimension has the same weight: it is divided by its standard deviation.
    """
    starts = np.cumsum([0, *map(len, frames)])
    every = max(1, int(starts[-1]) // FIT)
    taken = [clip[-start % every :: every] for clip, start in zip(frames, starts)]
    sample = np.concatenate(taken).astype(np.float32)
    if len(sample) < clusters:
        raise ValueError(f"{len(sample)} frames of speech are too few for {clusters} clusters")
    scale = np.maximum(sample.std(0), 1e-6)
    means = MiniBatchKMeans(
        clusters, batch_size=10_000, n_init=2, random_state=seed, reassignment_ratio=0.0
    ).fit(sample / scale)
    return [means.predict(clip.astype(np.float32) / scale).astype(np.int16) for clip in frames]
