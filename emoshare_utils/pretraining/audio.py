"""The audio that an encoder is pretrained on, and the batches of an update."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count

import numpy as np
import pandas as pd
import torch
from scipy.signal import resample_poly

from emoshare_utils.corpora.audio import MIN_SAMPLES, SAMPLE_RATE, read_audio
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.small_network import HOP
from emoshare_utils.features.speech_encoder import normalised
from emoshare_utils.files import checksum
from emoshare_utils.pretraining.plan import LENGTH_MULTIPLE, Plan
from emoshare_utils.progress import track

INT16 = 32_768
MIN_FRAMES = LENGTH_MULTIPLE + 4  # 0.4 s; a shorter clip leaves no choice of a crop


@dataclass(frozen=True)
class Audio:
    """Clips, and HuBERT's labels of their frames.

    Attributes:
        clips: each (n,) int16 at 16 kHz, all in memory: 115 MB per hour.
        sources: one row per corpus: source, copy, languages, clips, speakers, hours, speeds.
        labels: (L, G) integers for each clip, of G clusterings; None: there are none.

    Raises:
        ValueError: the labels are not one for each frame of each clip.
    """

    clips: Sequence[np.ndarray]
    sources: pd.DataFrame
    labels: Sequence[np.ndarray] | None = None

    def __post_init__(self) -> None:
        expected = [n_frames(len(clip)) for clip in self.clips]
        if self.labels is not None and [len(clip) for clip in self.labels] != expected:
            raise ValueError(
                "labels: expected one for each frame of each clip: make them with "
                "label_by_acoustics or label_by_layer from the same audio"
            )

    @property
    def hours(self) -> float:
        """Of all clips at all speeds."""
        return sum(map(len, self.clips)) / SAMPLE_RATE / 3600

    def labelled(self, labels: Sequence[np.ndarray] | None) -> "Audio":
        """The same clips with these labels, (L, G) each."""
        return replace(self, labels=labels)

    def samples(self, clip: int) -> np.ndarray:
        """One clip, (n,) float32, with zero mean and unit variance, as encoders take it."""
        return normalised(torch.from_numpy(self.clips[clip].astype(np.float32) / INT16)).numpy()


def listen(
    corpora: Mapping[str, Corpus], speeds: Mapping[str, Sequence[float]] | None = None
) -> Audio:
    """Read the train splits of these corpora, by name; their shares are not used.

    Args:
        speeds: corpus -> the speeds to play each of its clips at, 1 where it is not named. A
            faster clip is also higher, as another voice.

    Raises:
        ValueError: no clip lasts 0.4 s (those that do not are left out), or a speed is not above 0.
    """
    clips, sources = [], []
    for name, corpus in corpora.items():
        table = corpus.split("train")
        at_speeds = (speeds or {}).get(name, [1.0])
        if not min(at_speeds, default=0) > 0:
            raise ValueError(f"speeds of {name} = {list(at_speeds)}: expected some above 0, as 0.9")
        paths = track([corpus.root / path for path in table["path"]], name)
        read = [as_int16(read_audio(path)) for path in paths]
        for speed in at_speeds:
            clips += [change_speed(samples, speed) for samples in read]
        sources.append(
            {
                "source": name,
                "copy": corpus.listeners.partition(", ")[2] or "whole",  # how much of it is here
                "languages": " ".join(sorted(table["language"].dropna().unique())),
                "clips": len(read),
                "speakers": table["speaker"].nunique(),
                "hours": sum(map(len, read)) / SAMPLE_RATE / 3600,
                "speeds": " ".join(f"{speed:g}" for speed in at_speeds),
            }
        )
    clips = [clip for clip in clips if n_frames(len(clip)) >= MIN_FRAMES]
    if not clips:
        raise ValueError("no clip of the train splits lasts 20 frames (0.4 s)")
    return Audio(clips, pd.DataFrame(sources))


def change_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """The samples (n,) int16 played at `speed`, (n / speed,) int16; pitch follows."""
    ratio = Fraction(speed).limit_denominator(50)
    if ratio == 1:
        return samples
    scaled = samples.astype(np.float32) / INT16
    return as_int16(resample_poly(scaled, ratio.denominator, ratio.numerator))


def as_int16(samples: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as 16-bit integers."""
    return np.round(samples.clip(-1, 1) * (INT16 - 1)).astype(np.int16)


def n_frames(n_samples: int) -> int:
    """Frames of an n-sample clip: floor((n - 400) / 320) + 1."""
    return (n_samples - MIN_SAMPLES) // HOP + 1


def crc32(*parts: bytes | np.ndarray) -> int:
    """The checksum of the parts as checkpoints and labels store it: a number."""
    return int(checksum(*parts), 16)


def draw_batches(audio: Audio, plan: Plan) -> Iterator[list[int]]:
    """Clips of similar length, `plan.seconds` in all, epoch after epoch without end."""
    lengths = np.array([len(clip) for clip in audio.clips])
    for epoch in count():
        rng = np.random.default_rng([plan.seed, epoch])
        batches, batch = [], []
        for clip in np.argsort(lengths * rng.uniform(0.9, 1.1, len(lengths))):
            batch.append(int(clip))
            if len(batch) * lengths[batch].min() >= plan.seconds * SAMPLE_RATE:
                batches.append(batch)
                batch = []
        if batch:
            batches.append(batch)
        for number in rng.permutation(len(batches)):
            yield batches[number]


def crop(
    audio: Audio, clips: list[int], plan: Plan, update: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """A random crop of each clip, as long as the shortest clip and at most `plan.seconds`.

    Returns:
        Samples (N, n), labels (N, L, G); None without labels.
    """
    frames = [n_frames(len(audio.clips[clip])) for clip in clips]
    longest = max(LENGTH_MULTIPLE, n_frames(round(plan.seconds * SAMPLE_RATE)))
    length = min(*frames, longest) // LENGTH_MULTIPLE * LENGTH_MULTIPLE
    rng = np.random.default_rng([plan.seed, update, 1])
    first = [int(rng.integers(0, total - length + 1)) for total in frames]
    n = MIN_SAMPLES + HOP * (length - 1)
    samples = [audio.samples(clip)[HOP * at : HOP * at + n] for clip, at in zip(clips, first)]
    if audio.labels is None:
        return np.stack(samples), None
    labels = [audio.labels[clip][at : at + length] for clip, at in zip(clips, first)]
    return np.stack(samples), np.stack(labels).astype(np.int64)
