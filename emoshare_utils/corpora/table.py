"""Anyone's corpus: a CSV or parquet file with a clip path and share columns."""

from pathlib import Path

import pandas as pd

from emoshare_utils.corpora.clip_table import COLUMNS, Corpus, CorpusError, resolve_inside
from emoshare_utils.corpora.reading import numeric_shares, read_table, speaker_splits

NAME = "table"
LAYOUT = "the audio files and the table that lists them, named by labels"
AUDIO = "."


def read(
    root: Path, labels: str = "clips.csv", shares: list[str] | None = None, split_seed: int = 0
) -> tuple[Corpus, Path]:
    """The clips of `root / labels`.

    Columns: `path` (inside `root`), `split` (train, devel, test) or, without it, `speaker`
    for splits drawn over the speakers; optional `clip_id` (default: the path without its
    ending), `speaker`, `language`, `n_raters`; and the shares. Further columns are kept.

    Args:
        labels: the table's name in `root`, ending in .csv or .parquet.
        shares: the share columns; None or empty: every other numeric column.
        split_seed: the draw of speakers, where there is no `split`.

    Raises:
        CorpusError: the table or a column is missing, or a share is not a number.
    """
    root = root.resolve()
    source = resolve_inside(root, labels)
    if source.suffix not in (".csv", ".parquet"):
        raise CorpusError(f"{source}: expected a table that ends in .csv or .parquet")
    text = dict.fromkeys(["path", "clip_id", "speaker", "language"], str)  # 007 stays 007
    table = read_table(source, ["path", *(shares or [])], LAYOUT, dtype=text)
    emotions = list(shares or table.columns[_numeric(table) & ~table.columns.isin(COLUMNS)])
    if not emotions:
        raise CorpusError(f"{source} has no share column: name them with shares")

    clips = table.reindex(columns=list(COLUMNS))
    clips["path"] = [_relative(path, root) for path in table["path"].astype(str)]
    if "clip_id" not in table:
        clips["clip_id"] = clips["path"].map(lambda path: str(Path(path).with_suffix("")))
    for column in ("clip_id", "speaker", "language"):
        clips[column] = clips[column].astype("string")
    clips["n_raters"] = clips["n_raters"].astype("Int64")
    clips["duration_s"] = float("nan")
    if "split" not in table:
        if clips["speaker"].isna().any():
            raise CorpusError(
                f"{source} has neither a split for every clip nor a speaker for every clip: "
                "a draw over clips would put one voice in two splits"
            )
        clips["split"] = speaker_splits(clips["speaker"], split_seed)
    clips = clips.join(numeric_shares(table, emotions, source))
    extra = table.columns.difference([*COLUMNS, *emotions], sort=False)
    return Corpus(NAME, root, tuple(emotions), clips.join(table[extra])), source


def _relative(path: str, root: Path) -> str:
    """`./a.wav`, or an absolute path inside the corpus folder, as it is listed there: `a.wav`."""
    file = Path(path)
    if file.is_absolute():
        file = file.parent.resolve() / file.name
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()


def _numeric(table: pd.DataFrame) -> list[bool]:
    types = pd.api.types
    return [types.is_numeric_dtype(of) and not types.is_bool_dtype(of) for of in table.dtypes]
