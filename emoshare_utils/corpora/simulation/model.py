"""The constants, the sentences and the random numbers of the simulation."""

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

APPRAISALS = ("valence", "arousal", "dominance")  # without a unit, from -1 to 1

# Neutral sentences of a little over a second, by language: only how they are said carries emotion.
_sentences = pd.read_csv(Path(__file__).with_name("phrases.csv"))
PHRASES = _sentences.groupby("language", sort=False)["phrase"].agg(tuple).to_dict()


class Cue(NamedTuple):
    """One row of (S2) in the cue's own unit; `effect` is of valence, arousal and dominance."""

    base: float
    speaker: float
    effect: tuple[float, float, float]
    clip: float


class Profile(NamedTuple):
    """One emotion's region in (S4): centre and weight per appraisal, and a radius."""

    centre: tuple[float, float, float]
    weight: tuple[float, float, float]
    radius: float


# The first four go to eSpeak NG, the others to (S3).
CUES = {
    "rate_wpm": Cue(165, 9, (5, 36, 0), 7),  # words per minute
    "pitch": Cue(46, 6, (4, 18, -8), 4),  # eSpeak NG's 0-99, about 1 % of F0 per step
    "pitch_range": Cue(50, 6, (20, 16, 0), 6),  # eSpeak NG's 0-99
    "word_gap_10ms": Cue(2, 1, (0, -3, -2), 1),  # 10 ms
    "level_dbfs": Cue(-31, 1, (0, 4, 3), 1),  # dB below full scale, RMS of the speech
    "tilt_db": Cue(0, 0.4, (0, 1.5, 0.4), 0.4),  # dB per octave above 500 Hz
    "smile_db": Cue(0, 0.8, (6, 0, 0), 1),  # dB around 2,800 Hz
    "chest_db": Cue(0, 0.8, (0, -1, 6), 1),  # dB below 300 Hz
}
PROFILES = {
    "Anger": Profile((-0.9, 0.9, 0.7), (1, 1, 1), 0.8),
    "Boredom": Profile((-0.6, -0.8, 0.3), (1, 1, 1), 0.65),
    "Calmness": Profile((0.7, -0.7, 0.3), (1, 1, 1), 0.75),
    "Concentration": Profile((0.0, -0.2, 0.9), (1, 1, 1), 0.65),
    "Determination": Profile((0.2, 0.5, 1.0), (1, 1, 1), 0.7),
    "Excitement": Profile((0.9, 0.9, 0.0), (1, 1, 1), 0.75),
    "Interest": Profile((0.7, 0.3, -0.4), (1, 1, 1), 0.65),
    "Sadness": Profile((-0.9, -0.3, -0.8), (1, 1, 1), 0.7),
    "Tiredness": Profile((-0.1, -1.0, -0.7), (1, 1, 1), 0.7),
}


@dataclass(frozen=True)
class Model:
    """Every constant of the simulation."""

    cues: dict[str, Cue] = field(default_factory=CUES.copy)
    profiles: dict[str, Profile] = field(default_factory=PROFILES.copy)
    bias: float = 0.15  # of a listener, standard deviation per appraisal
    threshold: float = 0.15  # of a listener, standard deviation in units of distance
    known: float = 0.3  # uncertainty in a language the listener knows, units of distance
    unknown: float = 0.5  # uncertainty in a language the listener does not know
    second_language: float = 0.2  # probability of knowing a language that is not one's own
    panel: tuple[int, int] = (10, 18)  # fewest and most listeners per clip
    phrases: tuple[float, ...] = (0.62, 0.28, 0.08, 0.02)  # probability of 1, 2, 3, 4 phrases
    duration_s: tuple[float, float] = (1.0, 7.95)  # shortest and longest; fits the paper's 398
    margin_s: float = 0.1  # before the first and after the last sound
    noise_dbfs: float = -72.0  # of the noise floor, RMS


class Stream(IntEnum):
    """Independent streams of random numbers: no clip's draws depend on those of another."""

    VOICE, APPRAISAL, PERFORMANCE, NOISE, POOL, PANEL = range(6)


def generator(seed: int, stream: Stream, item: int = 0) -> np.random.Generator:
    """The random numbers of one speaker, clip or pool (`item`)."""
    return np.random.default_rng([seed, stream, item])
