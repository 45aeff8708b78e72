"""Facts about a corpus's audio files: length, rate, clipping, and files that are the same."""

import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from emoshare_utils.corpora.audio import SAMPLE_RATE, read_audio
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.corpora.lengths import AudioError
from emoshare_utils.device import one_worker_per_core
from emoshare_utils.files import checksum

SAMPLE_CLIPS = 400  # that are decoded: a few seconds
MOST_COMPARED = 20_000  # files of equal size
FULL = 0.999  # of the largest sample that 16 bit holds
CLIPPED = 0.001  # of a clip's samples that are full: a few are in any loud recording


def sampled(corpus: Corpus) -> pd.DataFrame:
    """A random sample of clips, decoded.

    Returns:
        The clip table's rows with `duration_s` and `audio_checksum` measured, `rate` in Hz,
        `clipped`, the fraction of samples at full scale, and `reason`, why it cannot be used ("").
    """
    clips = corpus.clips
    if len(clips) > SAMPLE_CLIPS:
        chosen = np.random.default_rng(0).permutation(len(clips))[:SAMPLE_CLIPS]
        clips = clips.iloc[np.sort(chosen)]
    with one_worker_per_core() as pool:
        facts = list(pool.map(_facts, [corpus.path(path) for path in clips["path"]]))
    columns = ["duration_s", "audio_checksum", "rate", "clipped", "reason"]
    measured = pd.DataFrame(facts, clips.index, columns)
    return clips.assign(**measured).reset_index(drop=True)


def _facts(path: Path) -> tuple[float, str, int, float, str]:
    try:
        samples = read_audio(path)
        rate = soundfile.info(path).samplerate
    except (AudioError, OSError, soundfile.SoundFileError) as error:
        return float("nan"), "", 0, 0.0, str(error)
    clipped = float((np.abs(samples) >= FULL).mean())
    return len(samples) / SAMPLE_RATE, checksum(path.read_bytes()), rate, clipped, ""


def identical(corpus: Corpus) -> tuple[pd.DataFrame, int]:
    """Clips whose files hold the same bytes; only files of equal size are read.

    Returns:
        The rows of `corpus.clips` with `same`, a number for each set of equal files; and how many
        files of equal size were left out, beyond `MOST_COMPARED`.
    """
    sizes = [_size(corpus.path(path)) for path in corpus.clips["path"]]
    twice = pd.Series(sizes).duplicated(keep=False).to_numpy() & (np.array(sizes) > 0)
    candidates = np.flatnonzero(twice)
    by_content: dict[str, list[int]] = defaultdict(list)
    for row in candidates[:MOST_COMPARED]:
        content = corpus.path(corpus.clips["path"].iloc[row]).read_bytes()
        by_content[hashlib.sha256(content).hexdigest()].append(row)
    sets = [rows for rows in by_content.values() if len(rows) > 1]
    same = {row: number for number, rows in enumerate(sets) for row in rows}
    found = corpus.clips.iloc[list(same)].assign(same=list(same.values()))
    return found, max(0, len(candidates) - MOST_COMPARED)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
