"""Check a clip table, also against its audio files."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from emoshare_utils.corpora.clip_table import (
    COLUMNS,
    EXPECTED,
    OPTIONAL,
    RESERVED,
    SPLITS,
    Corpus,
    CorpusError,
    cut,
)
from emoshare_utils.corpora.mismatch import explain
from emoshare_utils.corpora.reading import (
    folded,
    listed,
    numeric_shares,
    refuse_blank,
    require_columns,
    whole_numbers,
)

LONGEST_NAME = 60  # characters of an emotion
WITHOUT_AUDIO = "label without audio"
OWN_TABLE = "table"  # the corpus whose option allows files outside its folder
OUTSIDE = ". If they are meant to be there, set options: {outside_root: true}"
FEWEST = 2  # clips of train and of devel: one clip has no rank


def validate(
    corpus: Corpus, audio: set[str], source: Path, allow_missing: bool = False
) -> tuple[Corpus, pd.DataFrame]:
    """Check a clip table against its audio files.

    Emotions that `check_emotions` refuses, shares outside [0, 1] or missing in train or devel,
    unknown splits, fewer than two clips in train or devel, `n_raters` that are no whole numbers,
    blank names, and paths outside the corpus folder are always refused. Duplicate clips, speakers
    in two splits, labels without audio and audio without a label are refused too, unless
    `allow_missing`: then these clips are dropped, as few as possible, and recorded with the reason.

    Args:
        corpus: the clip table as its adapter read it.
        audio: the audio files in the corpus folder, relative to it.
        source: the label file, for messages.

    Returns:
        The corpus without the dropped clips, its columns complete and in order; and the dropped
        clips: clip_id, path, reason.

    Raises:
        CorpusError: with what is wrong, how often, and the first five clips.
    """
    check_emotions(corpus.emotions, source)
    if twice := set(corpus.clips.columns[corpus.clips.columns.duplicated()]):
        raise CorpusError(f"{source}: more than one column is called {listed(sorted(twice))}")
    require_columns(corpus.clips, ["clip_id", "path", "split", *corpus.emotions], source)
    clips = _completed(corpus.clips)
    for column in ("clip_id", "path"):
        refuse_blank(clips[column], source)
    try:
        files = pd.Series([str(corpus.path(path)) for path in clips["path"]], clips.index, str)
    except CorpusError as error:
        advice = OUTSIDE if corpus.name == OWN_TABLE and "leaves" in str(error) else ""
        raise CorpusError(f"{source}: {error}{advice}") from error
    _check_splits(clips, source)
    named = clips.set_axis(clips["clip_id"].rename(None))
    clips["n_raters"] = whole_numbers(named["n_raters"], source, least=1).array
    shares = numeric_shares(named[list(corpus.emotions)], clips["split"] == "test", source)
    text = [emotion for emotion in shares if not pd.api.types.is_numeric_dtype(clips[emotion])]
    clips[text] = shares[text].to_numpy()

    dropped = []
    for reason, find in _FAULTS.items():
        faulty = find(clips, audio, files.reindex(clips.index))
        if len(faulty) and not allow_missing:
            raise CorpusError(
                f"{source}: {reason}, {len(faulty)} found: {listed(faulty['clip_id'])}. "
                + _remedy(reason, faulty, clips, audio)
            )
        dropped.append(faulty[["clip_id", "path"]].assign(reason=reason))
        clips = clips.drop(faulty.index, errors="ignore")
    _check_splits(clips, f"{source}, faulty clips dropped")
    dropped = pd.concat(dropped, ignore_index=True)
    return corpus.with_clips(clips.reset_index(drop=True)), dropped


def _remedy(reason: str, faulty: pd.DataFrame, clips: pd.DataFrame, audio: set[str]) -> str:
    if reason == WITHOUT_AUDIO and (cause := explain(faulty["path"], audio - {*clips["path"]})):
        return f"{cause}. Correct the labels' paths"
    if reason == WITHOUT_AUDIO and len(faulty) == len(clips):
        example = f", as {cut(min(audio), 60, quoted=False)}" if audio else ""
        return (
            "No label has its file: root is the folder that the paths start from, and has "
            f"{len(audio):,} audio files{example}"
        )
    return "Correct the corpus, or set allow_missing to drop and record them"


def limit_rejected(rejected: pd.DataFrame, n_clips: int, limit: float, record: Path) -> None:
    """CorpusError if more than the fraction `limit` of `n_clips` clips had to be set aside."""
    if n_clips == 0 or len(rejected) > limit * n_clips:
        reasons = rejected["reason"].value_counts().head(5)
        raise CorpusError(
            f"{len(rejected)} of {n_clips} clips were set aside, more than "
            f"max_rejected = {limit:g} allows; see {record}. Most often: "
            + "; ".join(f"{reason} ({count})" for reason, count in reasons.items())
        )


def check_emotions(emotions: Sequence[str], source: Path) -> None:
    """Raise CorpusError, which names the emotion, if one cannot name a column and a folder."""
    times = Counter(folded(emotion) for emotion in emotions)
    for emotion in emotions:
        if not emotion.strip():
            fault = "is blank"
        elif any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in emotion):
            fault = "holds a line break or another control character"
        elif len(emotion) > LONGEST_NAME:
            fault = f"has {len(emotion)} characters, more than {LONGEST_NAME}"
        elif emotion in RESERVED or emotion.startswith(EXPECTED):
            fault = "is what a column of our own tables is called"
        elif times[folded(emotion)] > 1:
            fault = "is there twice (capital letters do not count: emotions name folders)"
        else:
            continue
        raise CorpusError(f"{source}: the emotion {cut(emotion)} {fault}: rename the column")


def _completed(clips: pd.DataFrame) -> pd.DataFrame:
    """`COLUMNS` first, null where the corpus does not have them."""
    unknown = {column: dtype for column, dtype in OPTIONAL.items() if column not in clips}
    clips = clips.assign(**dict.fromkeys(unknown, np.nan)).astype(unknown)
    clips.index = pd.RangeIndex(1, len(clips) + 1, name="row")  # for messages
    return clips[[*COLUMNS, *clips.columns.difference(COLUMNS, sort=False)]]


def _check_splits(clips: pd.DataFrame, source: Path | str) -> None:
    strange = clips[~clips["split"].isin(SPLITS)]
    if len(strange):
        raise CorpusError(
            f"{source}: the split of {listed(strange['clip_id'])} is "
            f"{listed(map(repr, sorted(set(strange['split'].astype(str)))))}: "
            f"expected {listed(SPLITS)}"
        )
    counts = clips["split"].value_counts()
    few = [split for split in ("train", "devel") if counts.get(split, 0) < FEWEST]
    if few:
        found = [f"{counts.get(split, 'no')} clip is in {split}" for split in few]
        raise CorpusError(
            f"{source}: {listed(found)}: train and devel need {FEWEST} or more, which rho can rank"
        )


def _duplicates(clips: pd.DataFrame, audio: set[str], files: pd.Series) -> pd.DataFrame:
    """The second and later rows of a clip, or of a file, links followed."""
    return clips[clips.duplicated("clip_id") | files.duplicated()]


def _shared_speakers(clips: pd.DataFrame, audio: set[str], files: pd.Series) -> pd.DataFrame:
    """The clips of a speaker outside the split that holds most of that speaker's clips."""
    known = clips[clips["speaker"].notna()]
    counts = known.groupby(["speaker", "split"]).size().unstack(fill_value=0)
    home = known["speaker"].map(counts.idxmax(axis=1)) if len(known) else known["split"]
    return known[known["split"] != home]


def _without_audio(clips: pd.DataFrame, audio: set[str], files: pd.Series) -> pd.DataFrame:
    return clips[~clips["path"].isin(audio)]


def _without_label(clips: pd.DataFrame, audio: set[str], files: pd.Series) -> pd.DataFrame:
    paths = sorted(audio - set(clips["path"]))
    index = range(-len(paths), 0)  # no row of the table has these
    ids = [PurePosixPath(path).stem for path in paths]
    return pd.DataFrame({"clip_id": ids, "path": paths}, index=index)


_FAULTS = {  # in this order: a clip dropped for one reason is not counted for the next
    WITHOUT_AUDIO: _without_audio,
    "audio without label": _without_label,
    "duplicate clip": _duplicates,
    "speaker in two splits": _shared_speakers,
}
