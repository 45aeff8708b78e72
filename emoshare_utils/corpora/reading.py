"""Read label files as text, decide by parsing what their cells are, and draw splits.

The index of a table that `read_table` returns says where each row stands: the line of a CSV file
(the header is line 1), the row of a parquet file. Messages name it.
"""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from emoshare_utils.corpora.clip_table import SPLITS, CorpusError, cut

# What stands for a number that is not given, in small or capital letters.
NULLS = {"", "?", "-", "na", "n/a", "n.a.", "#n/a", "<na>", "nan", "null", "none"}
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
PERCENT = r"[+-]?[\d.,]+\s*%"
# 45%, 0,5, 1/3, 5 of 9, 50 percent, <0.5, '0.5, =1/2: no other column than one of shares has these
NEARLY = r"['\"<>=~≈\u200b\ufeff]*[\d.,·]*\d\s*(%|percent|pct|(/|⁄|of)\s*\d+)?"
DECIMAL_COMMA = r"[+-]?\d*,\d+"
# A file with more is no label file, or damaged, or has a column for each clip.
MOST_BYTES, MOST_ROWS, MOST_COLUMNS = 10**9, 10**7, 2000
MOST_RATERS = 10**6


def read_table(file: Path, columns: list[str], layout: str) -> pd.DataFrame:
    """Read a label file, .parquet or else CSV in UTF-8, with every cell as text.

    Blanks around names and cells are cut; a cell without content is "". A column without a name
    is left out if all its cells are blank.

    Args:
        columns: those it must have; the first names the clip and is never blank.
        layout: what the corpus folder must hold, for messages.

    Returns:
        (rows, columns) of str; the index is named "line" or "row".

    Raises:
        CorpusError: the file is not there, is not a table, lacks a column or has one twice, or a
            name is blank.
    """
    try:
        if not file.is_file():
            raise CorpusError(f"{file} is not there: the corpus folder must hold {layout}")
        if file.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
        content = file.read_bytes()
        is_parquet = file.suffix == ".parquet"
        table = _parquet(content) if is_parquet else _csv(content, columns[0])
        table = _named(table)
    except CorpusError:
        raise
    except (ValueError, OSError, pa.ArrowException) as error:
        cause = cut(" ".join(str(error).split()), 300, quoted=False)
        raise CorpusError(f"{file} is not readable as a table: {cause}") from error
    _refuse_data_as_names(table, columns[0], file)
    require_columns(table, columns, file)
    refuse_blank(table[columns[0]], file)
    return table


def require_columns(table: pd.DataFrame, columns: list[str], file: Path) -> None:
    """Raise CorpusError, which names the file and the columns, if one of `columns` is missing."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise CorpusError(
            f"{file} has no column {listed(missing)}: expected {listed(columns)}, "
            f"found {listed(table.columns)}: rename the column that is meant, or add it"
        )


def refuse_blank(cells: pd.Series, file: Path) -> None:
    """Raise CorpusError if a cell of a column that names something is blank or null."""
    blank = cells.index[cells.isna() | (cells == "")]
    if len(blank):
        raise CorpusError(
            f"{file}: {cut(cells.name)} is blank in {len(blank)} rows, "
            f"first in {_place(blank, 0)}: fill in or delete these rows"
        )


def numeric_shares(cells: pd.DataFrame, masked: Iterable[bool], file: Path) -> pd.DataFrame:
    """The shares as numbers in [0, 1], null where a cell is one of `NULLS` (or null).

    Args:
        cells: (n, emotions), text or numbers; the index says where each row stands, for messages.
        masked: (n,), true for the clips whose shares may be null.

    Raises:
        CorpusError: a cell is no number, is outside [0, 1], or is null where it may not be.
    """
    parsed = {column: _parsed(values) for column, values in cells.items()}
    numbers = pd.DataFrame({column: values for column, (values, _) in parsed.items()})
    nulls = pd.DataFrame({column: null for column, (_, null) in parsed.items()})
    unreadable = numbers.isna() & ~nulls
    outside = (numbers < 0) | (numbers > 1)
    missing = nulls & ~np.asarray(masked, bool)[:, None]
    for faulty, what in (
        (unreadable, "that are no numbers"),
        (outside, "outside [0, 1]"),
        (missing, "missing in train or devel"),
    ):
        if faulty.to_numpy().any():
            rows = faulty.index[faulty.any(axis=1)]
            column = faulty.columns[faulty.any()][0]
            first = faulty[column].to_numpy().argmax()
            value = cells[column].iloc[first]
            places = [_place(rows, place) for place in range(len(rows))]
            raise CorpusError(
                f"{file}: shares {what} in {listed(faulty.columns[faulty.any()])}, {len(rows)} "
                f"clips: {listed(places)}. {cut(column)} of {_place(faulty.index, first)} is "
                f"{cut(value)}: {_remedy(value, what, numbers[column].max())}"
            )
    return numbers


def share_columns(table: pd.DataFrame) -> list[str]:
    """The columns in which a cell is a number or nearly one: `numeric_shares` names what is not."""
    return [
        column
        for column, cells in table.items()
        if pd.to_numeric(cells, errors="coerce").notna().any()
        or cells.str.normalize("NFKC").str.fullmatch(NEARLY, case=False).any()
    ]


def whole_numbers(cells: pd.Series, file: Path, least: int, most: int = MOST_RATERS) -> pd.Series:
    """The whole numbers of a column, (n,) Int64, null where a cell is one of `NULLS`.

    Raises:
        CorpusError: a cell is no whole number from `least` to `most`.
    """
    numbers, null = _parsed(cells)
    faulty = ~null & (~numbers.between(least, most) | (numbers % 1 != 0))
    if faulty.any():
        first = faulty.to_numpy().argmax()
        raise CorpusError(
            f"{file}: {cells.name} of {_place(cells.index, first)} is {cut(cells.iloc[first])}: "
            f"expected a whole number from {least} to {most:,}"
        )
    return numbers.astype("Int64")


def typed(cells: pd.Series) -> pd.Series:
    """A column of numbers if all its cells but those of `NULLS` are, else of text, "" as null."""
    numbers, null = _parsed(cells)
    if null.all() or (numbers.isna() & ~null).any():
        return cells.mask(cells == "")
    return pd.to_numeric(cells.mask(null))


def folded(name: str) -> str:
    """What names have in common that differ in capital letters or in how an accent is coded."""
    return unicodedata.normalize("NFC", name).casefold()


def listed(values: Iterable, most: int = 5) -> str:
    """The first few values, each cut to 40 characters, and how many more there are."""
    values = list(values)
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(cut(value, 40, quoted=False) for value in values[:most]) + more


def speaker_splits(
    speakers: pd.Series,
    seed: int,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    source: Path | str = "the corpus",
) -> pd.Series:
    """Draw a split for each speaker, and give it to the speaker's clips (fractions of speakers).

    Raises:
        CorpusError: there are fewer speakers than splits (the message names `source`), or the
            seed is below 0.
    """
    if seed < 0:
        raise CorpusError(f"split_seed = {seed}: expected 0 or more")
    names = np.sort(speakers.unique())
    if len(names) < len(SPLITS):
        raise CorpusError(
            f"{source}: {len(names)} speakers cannot be kept apart in {len(SPLITS)} splits: "
            "give a split column, or clips of at least three speakers"
        )
    order = np.random.default_rng(seed).permutation(names)
    n_devel, n_test = (max(1, round(len(names) * fraction)) for fraction in fractions[1:])
    chosen = dict.fromkeys(order, "train")
    chosen.update(dict.fromkeys(order[:n_devel], "devel"))
    chosen.update(dict.fromkeys(order[n_devel : n_devel + n_test], "test"))
    return speakers.map(chosen)


def _refuse_data_as_names(table: pd.DataFrame, first: str, file: Path) -> None:
    """Raise CorpusError where the columns' names look like a row: the file has no header."""
    names = [name for name in table.columns if name]
    if first not in names and any(re.fullmatch(r"[-+]?\d*\.?\d+|.+\.\w{2,4}", n) for n in names):
        raise CorpusError(
            f"{file}: its first line, {listed(names)}, looks like a clip's: put a line with the "
            f"columns' names above it, {first!r} among them"
        )


def _csv(content: bytes, first: str) -> pd.DataFrame:
    """The table of a CSV file whose first needed column is `first`; ValueError says what fails."""
    text = _decoded(content)
    header = io.StringIO(text, newline="").readline()
    lacks_first = first not in [cell.strip('" \r\n') for cell in header.split(",")]
    for separator, name in SEPARATORS.items():
        if lacks_first and header.count(separator) > header.count(","):
            raise ValueError(
                f"{name} stand between its cells: save it with commas instead, and with points in "
                "its numbers (0.5)"
            )
    rows, lines, end = [], [], 0
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            line, end = end + 1, reader.line_num
            if len(cells) < 2 and not "".join(cells).strip():
                continue  # a blank line
            rows.append(cells)
            lines.append(line)
            _limit_columns(len(cells))
            if len(cells) != len(rows[0]):
                raise ValueError(
                    f"line {line} has {len(cells)} cells, the header {len(rows[0])}: put a cell "
                    'that holds a comma between quotes (")'
                )
    except csv.Error as error:
        raise ValueError(
            f'line {end + 1}: {error}; is a quote (") not closed, or does text follow it?'
        ) from error
    if len(rows) < 2:
        raise ValueError("no line follows its header")
    index = pd.Index(lines[1:], name="line")
    table = pd.DataFrame(rows[1:], index, dtype=str)
    return table.apply(lambda column: column.str.strip()).set_axis(rows[0], axis=1)


def _decoded(content: bytes) -> str:
    if not content.strip():
        raise ValueError("it is empty")
    advice = "save it as CSV in UTF-8"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"it is UTF-16: {advice}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise ValueError(f"byte {byte:#04x} in line {line} is not UTF-8: {advice}") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"a NUL is in line {line}, as in no text: {advice}")
    return text


def _parquet(content: bytes) -> pd.DataFrame:
    """The table of a parquet file, each cell as text; what pandas kept as an index is left out."""
    file = parquet.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    if file.metadata.num_rows > MOST_ROWS:
        raise ValueError(f"it promises {file.metadata.num_rows:,} rows, more than {MOST_ROWS:,}")
    _limit_columns(file.metadata.num_columns)
    table = file.read().to_pandas(ignore_metadata=True)
    if table.empty:
        raise ValueError("it has no rows")
    table = table.loc[:, ~table.columns.str.fullmatch(r"__index_level_\d+__")]
    names, table = table.columns, table.set_axis(range(table.shape[1]), axis=1)
    table = table.apply(_as_text).set_axis(names, axis=1)
    return table.set_index(pd.RangeIndex(1, len(table) + 1, name="row"))


def _limit_columns(count: int) -> None:
    if count > MOST_COLUMNS:
        raise ValueError(
            f"it has {count:,} columns, more than {MOST_COLUMNS:,}: a clip is a row, an emotion is "
            "a column"
        )


def _as_text(column: pd.Series) -> pd.Series:
    text = column.astype(object).map(str).where(column.notna(), "")
    return text.astype(str).str.strip()


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its columns' names cut; ValueError where one has none or another's.

    The first column may be without a name, as R and pandas write the numbers of rows.
    """
    names = table.columns.str.strip()
    table = table.set_axis(names, axis=1)
    blank = np.array([not name and (table.iloc[:, i] == "").all() for i, name in enumerate(names)])
    table = table.loc[:, ~blank]
    if "" in table.columns[1:]:
        raise ValueError(f"column {list(table.columns).index('', 1) + 1} has no name: name it")
    times = Counter(folded(name) for name in table.columns)
    for name in table.columns:
        if times[folded(name)] > 1:
            raise ValueError(f"more than one column is called {cut(name)}: rename or delete one")
    return table


def _parsed(cells: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The numbers of a column, (n,) float, NaN where there is none; and whether a cell is null."""
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    null = numbers.isna().to_numpy(copy=True)
    null[null] = [_is_null(cell) for cell in cells[null]]
    return numbers, pd.Series(null, cells.index)


def _is_null(cell: object) -> bool:
    return cell.strip().lower() in NULLS if isinstance(cell, str) else bool(pd.isna(cell))


def _place(index: pd.Index, number: int) -> str:
    """As "line 3", or a clip's name where the index holds names."""
    return cut(f"{index.name or ''} {index[number]}".strip(), quoted=False)


def _remedy(value: object, what: str, largest: float) -> str:
    text = pd.Series([str(value)])
    if text.str.fullmatch(PERCENT)[0]:
        remedy = "percent, divide by 100"
    elif text.str.fullmatch(DECIMAL_COMMA)[0]:
        remedy = "a decimal comma, write 0.5 for 0,5"
    elif "outside" in what and 10 < largest <= 100:
        remedy = f"with shares up to {largest:g} the column seems to hold percent, divide by 100"
    elif "missing" in what:
        remedy = "fill it in, or leave the clip out; only shares of test may be masked"
    else:
        remedy = "expected the fraction of listeners, a number from 0 to 1"
    return f"{remedy} (in your own table, name the share columns with shares)"
