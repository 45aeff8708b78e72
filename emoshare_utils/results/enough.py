"""How much data a number needs before it is shown, and which predictions hardly vary.

The one place for these limits. Below them a number is empty, and a note says why.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

# For an interval over clips, and for what is decided by one (a percentage, a claim). Simulated
# shares of ten listeners that are predicted with rho .6: with 20 clips the 95 % interval is .7 wide
# and holds the true rho 97 times in 100; with 8 it is 1.5 wide, which says nothing.
FEWEST_CLIPS = 20
# For an interval over speakers. Simulated speakers of 30 clips who differ (by .1 or .3 of the
# variance): the 95 % interval holds the true rho 55 to 61 times in 100 with 2 of them, 83 to 89
# with 3, 90 to 91 with 4, 93 to 94 with 5, 95 with 6; with 2 it is narrower than the one over clips
# 84 to 93 times in 100.
FEWEST_SPEAKERS = 5
# Clips, for the rho of the expected share: rho .8 of 50 clips is known to about +-.1.
FEWEST_FOR_EXPECTED = 50
# Predictions hardly vary if their standard deviation is below this fraction of the shares'. By mean
# squared error the best fraction is r, their correlation with the shares. Two epochs on twenty
# clips gave .00 to .04, with rho to .68; five epochs on 548 clips gave .1 to .8, but for two
# networks in 90.
HARDLY = 0.05

FLAT = "predictions hardly vary"
UNRANKED = "not ranked"  # a system whose predictions hardly vary for half of the emotions or more


def too_few(clips: int, speakers: int = 0) -> str:
    """Say why there is no interval over so many clips, or speakers (0: not known); "" if there is.

    Too few clips have none over speakers either.
    """
    if clips < FEWEST_CLIPS:
        return f"{_count(clips, 'clip')}: too few for an interval ({FEWEST_CLIPS})"
    if 0 < speakers < FEWEST_SPEAKERS:
        few = _count(speakers, "speaker")
        return f"{few}: too few for an interval over speakers ({FEWEST_SPEAKERS})"
    return ""


def too_few_expected(clips: int) -> str:
    """Say why so many clips have no rho of the expected share; "" if they have."""
    if clips >= FEWEST_FOR_EXPECTED:
        return ""
    return f"{_count(clips, 'clip')}: too few ({FEWEST_FOR_EXPECTED})"


def flat(shares: np.ndarray, predictions: np.ndarray) -> str:
    """Say that predictions hardly vary, "predictions hardly vary: .49 to .51"; "" if they do.

    Args:
        shares, predictions: (n,), of one emotion.
    """
    spread = np.std(predictions)
    if not np.isfinite(spread) or spread >= HARDLY * np.std(shares):
        return ""
    return f"{FLAT}: {_short(predictions.min())} to {_short(predictions.max())}"


def are_flat(notes: pd.Series) -> pd.Series:
    """Which results have a note that predictions hardly vary."""
    return notes.fillna("").str.contains(FLAT, regex=False)


def unranked(flat_emotions: int, emotions: int) -> str:
    """Say that a system is not ranked, as its predictions hardly vary for so many emotions of all.

    Such a system is never the best, and no difference to it has a sign or is a percentage.
    """
    return UNRANKED if flat_emotions and 2 * flat_emotions >= emotions else ""


def are_unranked(notes: pd.Series) -> pd.Series:
    """Which systems have a note that they are not ranked."""
    return notes.fillna("").str.contains(UNRANKED, regex=False)


def as_reason(emotion: str, note: str) -> tuple[str, str]:
    """The reason and the emotion for `metrics.mean_note`, of an emotion's note.

    "predictions hardly vary: .49 to .51" of Joy is the reason "predictions hardly vary" and
    "Joy (.49 to .51)", so that emotions stand behind one reason.
    """
    if not note.startswith(FLAT):
        return note, emotion
    said = note.partition("; ")[0].removeprefix(f"{FLAT}: ")
    return FLAT, f"{emotion} ({said})"


def flat_emotions(note: str, emotions: Sequence[str]) -> list[str]:
    """The emotions whose predictions hardly vary, by a system's note made of `as_reason`."""
    said = note.partition(f"{FLAT}: ")[2].partition("; ")[0]
    return [one for one in emotions if re.search(rf"(^|, ){re.escape(one)} \(", said)]


def why_no_interval(notes: Sequence[str]) -> list[str]:
    """What these notes say about missing intervals, each once."""
    said = [part for note in notes for part in note.split("; ") if ": too few for an " in part]
    return [*dict.fromkeys(said)]


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def _short(share: float) -> str:
    """.49 for a share of 0.49, 1.00 for 1."""
    rounded = round(float(share), 2) + 0.0  # no "-0.00"
    return f"{rounded:.2f}".removeprefix("0").replace("-0.", "−.").replace("-", "−")
