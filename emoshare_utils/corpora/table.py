"""Your own corpus: a CSV or parquet file with a column of paths and columns of shares."""

from pathlib import Path

from emoshare_utils.corpora.clip_table import COLUMNS, OPTIONAL, Corpus, CorpusError, resolve_inside
from emoshare_utils.corpora.reading import numeric_shares, read_table, speaker_splits

NAME = "table"
LAYOUT = "the audio files and the table that lists them, named by labels"
AUDIO = "."


def read(
    root: Path, labels: str = "clips.csv", shares: list[str] | None = None, split_seed: int = 0
) -> tuple[Corpus, Path]:
    """Read the clips of `root / labels`.

    Its columns: `path` (inside `root`); `split` (train, devel, test) or else `speaker`, over which
    splits are drawn; the shares; if you like `clip_id` (default: the path without its ending),
    `language` and `n_raters`. Further columns are kept.

    Args:
        labels: the table's name in `root`, ending in .csv or .parquet.
        shares: the share columns; None or empty for every other numeric column.
        split_seed: of the draw of splits, where there is no `split`.

    Raises:
        CorpusError: the table or a column is missing, or a share is not a number.
    """
    root = root.resolve()
    source = resolve_inside(root, labels)
    if source.suffix not in (".csv", ".parquet"):
        raise CorpusError(f"{source}: expected a table that ends in .csv or .parquet")
    text = dict.fromkeys(["path", "clip_id", "speaker", "language"], str)  # 007 stays 007
    table = read_table(source, ["path", *(shares or [])], LAYOUT, dtype=text)
    numeric = table.select_dtypes("number").columns.difference(COLUMNS, sort=False)
    emotions = list(shares or numeric)
    if not emotions:
        raise CorpusError(f"{source} has no share column: name them with shares")

    clips = table.reindex(columns=list(COLUMNS))
    clips["path"] = [_relative(path, root) for path in table["path"].astype(str)]
    if "clip_id" not in table:
        clips["clip_id"] = clips["path"].map(lambda path: str(Path(path).with_suffix("")))
    clips = clips.assign(duration_s=float("nan")).astype({"clip_id": "string", **OPTIONAL})
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
