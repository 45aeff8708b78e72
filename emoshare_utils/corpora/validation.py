"""Check a clip table, also against its audio files."""

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from emoshare_utils.corpora.clip_table import COLUMNS, OPTIONAL, SPLITS, Corpus, CorpusError
from emoshare_utils.corpora.reading import listed, require_columns


def validate(
    corpus: Corpus, audio: set[str], source: Path, allow_missing: bool = False
) -> tuple[Corpus, pd.DataFrame]:
    """Check a clip table against its audio files.

    Shares outside [0, 1], or missing in train or devel, unknown splits and paths outside the
    corpus folder are always refused. Duplicate clips, speakers in two splits, labels without
    audio and audio without a label are refused too, unless `allow_missing`: then these clips are
    dropped, as few as possible, and recorded with the reason.

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
    require_columns(corpus.clips, ["clip_id", "path", "split", *corpus.emotions], source)
    clips = _completed(corpus.clips)
    _check_splits(clips, source)
    _check_shares(clips, corpus.emotions, source)
    for path in clips["path"]:
        corpus.path(path)

    dropped = []
    for reason, find in _FAULTS.items():
        faulty = find(clips, audio)
        if len(faulty) and not allow_missing:
            raise CorpusError(
                f"{source}: {reason}, {len(faulty)} found: {listed(faulty['clip_id'])}. "
                "Correct the corpus, or set allow_missing to drop and record them"
            )
        dropped.append(faulty[["clip_id", "path"]].assign(reason=reason))
        clips = clips.drop(faulty.index, errors="ignore")
    _check_splits(clips, f"{source}, faulty clips dropped")
    dropped = pd.concat(dropped, ignore_index=True)
    return corpus.with_clips(clips.reset_index(drop=True)), dropped


def limit_rejected(rejected: pd.DataFrame, n_clips: int, limit: float, record: Path) -> None:
    """CorpusError if more than the fraction `limit` of `n_clips` clips had to be set aside."""
    if n_clips == 0 or len(rejected) > limit * n_clips:
        reasons = rejected["reason"].value_counts().head(5)
        raise CorpusError(
            f"{len(rejected)} of {n_clips} clips were set aside, more than "
            f"max_rejected = {limit:g} allows; see {record}. Most often: "
            + "; ".join(f"{reason} ({count})" for reason, count in reasons.items())
        )


def _completed(clips: pd.DataFrame) -> pd.DataFrame:
    """`COLUMNS` first, null where the corpus does not have them."""
    unknown = {column: dtype for column, dtype in OPTIONAL.items() if column not in clips}
    clips = clips.assign(**dict.fromkeys(unknown, np.nan)).astype(unknown)
    return clips[[*COLUMNS, *clips.columns.difference(COLUMNS, sort=False)]]


def _check_splits(clips: pd.DataFrame, source: Path | str) -> None:
    strange = clips[~clips["split"].isin(SPLITS)]
    if len(strange):
        raise CorpusError(
            f"{source}: the split of {listed(strange['clip_id'])} is "
            f"{listed(sorted(set(strange['split'].astype(str))))}: expected {listed(SPLITS)}"
        )
    absent = [split for split in ("train", "devel") if split not in set(clips["split"])]
    if absent:
        raise CorpusError(f"{source}: no clip is in {listed(absent)}: train and devel are needed")


def _check_shares(clips: pd.DataFrame, emotions: tuple[str, ...], source: Path) -> None:
    shares = clips[list(emotions)]
    outside = (shares < 0) | (shares > 1)
    missing = shares.isna() & clips["split"].isin(["train", "devel"]).to_numpy()[:, None]
    for fault, what in ((outside, "outside [0, 1]"), (missing, "missing in train or devel")):
        if fault.to_numpy().any():
            rows = clips["clip_id"][fault.any(axis=1)]
            raise CorpusError(
                f"{source}: shares {what} in {listed(shares.columns[fault.any()])}, {len(rows)} "
                f"clips: {listed(rows)}. A share is the fraction of listeners, from 0 to 1 "
                "(in your own table, name the share columns with shares)"
            )


def _duplicates(clips: pd.DataFrame, audio: set[str]) -> pd.DataFrame:
    """The second and later rows of a clip."""
    return clips[clips.duplicated("clip_id") | clips.duplicated("path")]


def _shared_speakers(clips: pd.DataFrame, audio: set[str]) -> pd.DataFrame:
    """The clips of a speaker outside the split that holds most of that speaker's clips."""
    known = clips[clips["speaker"].notna()]
    counts = known.groupby(["speaker", "split"]).size().unstack(fill_value=0)
    home = known["speaker"].map(counts.idxmax(axis=1)) if len(known) else known["split"]
    return known[known["split"] != home]


def _without_audio(clips: pd.DataFrame, audio: set[str]) -> pd.DataFrame:
    return clips[~clips["path"].isin(audio)]


def _without_label(clips: pd.DataFrame, audio: set[str]) -> pd.DataFrame:
    paths = sorted(audio - set(clips["path"]))
    index = range(-len(paths), 0)  # no row of the table has these
    ids = [PurePosixPath(path).stem for path in paths]
    return pd.DataFrame({"clip_id": ids, "path": paths}, index=index)


_FAULTS = {  # in this order: a clip dropped for one reason is not counted for the next
    "label without audio": _without_audio,
    "audio without label": _without_label,
    "duplicate clip": _duplicates,
    "speaker in two splits": _shared_speakers,
}
