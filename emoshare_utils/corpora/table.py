"""Your own corpus: a CSV or parquet file with a column of paths, and shares or single votes."""

import os
import re
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pandas as pd

from emoshare_utils.corpora.clip_table import (
    COLUMNS,
    OPTIONAL,
    SPLITS,
    Corpus,
    CorpusError,
    cut,
    resolve_inside,
)
from emoshare_utils.corpora.reading import (
    folded,
    numeric_shares,
    read_table,
    refuse_blank,
    require_columns,
    share_columns,
    speaker_splits,
    typed,
    whole_numbers,
)
from emoshare_utils.corpora.validation import check_emotions
from emoshare_utils.corpora.votes import RATER, count_votes

NAME = "table"
LAYOUT = "the audio files and the table that lists them, named by labels"
AUDIO = "."
# what other tables call our devel; capital letters do not count
DEVEL = ("dev", "development", "val", "valid", "validation")
MEASURED = ["duration_s", "audio_checksum"]  # by `audio.check`, whatever the table says


def read(
    root: Path,
    labels: str = "clips.csv",
    shares: list[str] | None = None,
    split_seed: int = 0,
    outside_root: bool = False,
) -> tuple[Corpus, Path]:
    """Read the clips of `root / labels`.

    Its columns: `path` (inside `root`); `split` (train, devel, test; `DEVEL` are read as devel, and
    a line says so) or else `speaker`, over which splits are drawn; the shares; if you like
    `clip_id` (default: the path without its ending), `language` and `n_raters`. Further columns are
    kept, but one without a name, which numbers the rows, and those that are measured here. With a
    column `rater`, a row is one rater's answer, from which shares and `n_raters` are counted
    (`votes.count_votes`).

    Args:
        labels: the table's name in `root`, or its whole path, ending in .csv or .parquet.
        shares: the emotions; None or empty for every other column with a number in it.
        split_seed: of the draw of splits, where there is no `split`.
        outside_root: allow paths, and links, that lead out of `root`.

    Raises:
        CorpusError: the table or a column is missing, an emotion cannot be called so, a share is
            no number in [0, 1], one is null where the split is not given as test, a number of
            raters is none, or votes cannot be counted.
    """
    root = root.resolve()
    source = Path(labels) if Path(labels).is_absolute() else resolve_inside(root, labels)
    table, emotions = _labels(source, root, shares)
    paths = list(table["path"])
    clips = table.reindex(columns=list(COLUMNS)).assign(duration_s=float("nan"))
    if "clip_id" in table:
        refuse_blank(table["clip_id"], source)
    else:
        clips["clip_id"] = [_clip_id(path) for path in paths]
    clips = clips.mask(clips == "").assign(split=clips["split"])
    clips["n_raters"] = whole_numbers(clips["n_raters"], source, least=1)
    clips = clips.astype({"clip_id": "string", **OPTIONAL})
    if "split" not in table:
        if clips["speaker"].isna().any():
            raise CorpusError(
                f"{source} has neither a split for every clip nor a speaker for every clip: "
                "a draw over clips would put one voice in two splits"
            )
        clips["split"] = speaker_splits(clips["speaker"], split_seed, source=source)
    elif unknown := int(clips["speaker"].isna().sum()):
        print(
            f"{source.name} gives a split, but {unknown:,} of {len(clips):,} clips no speaker: a "
            "voice may be in two splits, which makes rho too high. Fill in a column speaker"
        )
    masked = table.reindex(columns=["split"])["split"] == "test"
    clips = clips.join(numeric_shares(table[emotions], masked, source))
    extra = table.columns.difference([*COLUMNS, *emotions], sort=False)
    clips = clips.join(table[extra].apply(typed)).reset_index(drop=True)
    return Corpus(NAME, root, tuple(emotions), clips, outside_root=outside_root), source


def _labels(source: Path, root: Path, shares: list[str] | None) -> tuple[pd.DataFrame, list[str]]:
    """The table, one row per clip, its paths relative to `root`; and the emotions."""
    if source.suffix not in (".csv", ".parquet"):
        raise CorpusError(f"{source}: expected a table that ends in .csv or .parquet")
    table = read_table(source, ["path"], LAYOUT).drop(columns=["", *MEASURED], errors="ignore")
    ours = (*COLUMNS, RATER)
    for column in table.columns:
        if column not in ours and folded(column) in ours:
            raise CorpusError(f"{source}: rename the column {cut(column)} to {folded(column)!r}")
    table["path"] = [_relative(path, root) for path in table["path"]]
    if "split" in table:
        table["split"] = _named_splits(table["split"], source)
    if RATER in table:
        table, emotions = count_votes(table, shares, source)
    else:
        _refuse_unnamed_raters(table, source)
        emotions = shares or share_columns(table.drop(columns=list(COLUMNS), errors="ignore"))
    if not emotions:
        raise CorpusError(f"{source} has no share column: name them with shares")
    check_emotions(emotions, source)
    require_columns(table, ["path", *emotions], source)
    return table, emotions


def _named_splits(splits: pd.Series, source: Path) -> pd.Series:
    """The splits with our names: devel where a table has one of `DEVEL`, which is said."""
    ours = {name: "devel" if name.lower() in DEVEL else name.lower() for name in splits.unique()}
    ours = {name: split for name, split in ours.items() if split in SPLITS and split != name}
    if ours:
        read = ", ".join(f"{cut(name)} as {split}" for name, split in ours.items())
        print(f"{source.name}: read the split {read}")
    return splits.replace(ours)


def _clip_id(path: str) -> str:
    """The path without its ending, nor what leads out of the corpus folder."""
    inside = re.sub(r"^(/|\.\./)+", "", path) or path
    return inside.removesuffix(PurePosixPath(path).suffix)


def _refuse_unnamed_raters(table: pd.DataFrame, source: Path) -> None:
    """Raise CorpusError where clips have several rows, as of several raters."""
    n_clips = table["path"].nunique()
    if n_clips <= len(table) / 2:
        raise CorpusError(
            f"{source} has {len(table)} rows of {n_clips} clips: if a row is one rater's answer, "
            f"call the column that says whose {RATER!r}; if not, keep one row of each clip"
        )


def _relative(path: str, root: Path) -> str:
    """`./a.wav`, `b/../a.wav` or an absolute path, as the corpus folder lists it: `a.wav`."""
    file = Path(path)
    if file.is_absolute():
        with suppress(OSError, ValueError, RuntimeError):  # it leads nowhere: refused later
            file = file.parent.resolve() / file.name
    file = file.relative_to(root) if file.is_relative_to(root) else file
    return Path(os.path.normpath(file)).as_posix()
