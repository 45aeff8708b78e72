"""Read label files, and draw splits where a corpus gives none."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from emoshare_utils.corpora.clip_table import SPLITS, CorpusError


def listed(values: Iterable, most: int = 5) -> str:
    """The first few values and how many more there are, for messages."""
    values = [str(value) for value in values]
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(values[:most]) + more


def read_table(file: Path, columns: list[str], layout: str, **options) -> pd.DataFrame:
    """Read a label file, CSV or .parquet.

    Args:
        columns: those it must have; the first names the clip and is never blank.
        layout: what the corpus folder must hold, for messages.
        options: for `pandas.read_csv`.

    Raises:
        CorpusError: the file is not there, is not a table or lacks a column, or a name is blank.
    """
    if not file.is_file():
        raise CorpusError(f"{file} is not there: the corpus folder must hold {layout}")
    try:
        table = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file, **options)
    except ValueError as error:  # of pandas, pyarrow and the text's encoding
        raise CorpusError(f"{file} is not readable as a table: {error}") from error
    require_columns(table, columns, file)
    table = table.reset_index(drop=True)
    blank = table.index[table[columns[0]].isna()]
    if len(blank):
        raise CorpusError(
            f"{file}: {columns[0]} is blank in {len(blank)} rows, first in row {blank[0] + 1}"
        )
    return table


def require_columns(table: pd.DataFrame, columns: list[str], file: Path) -> None:
    """Raise CorpusError, which names the file and the columns, if one of `columns` is missing."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise CorpusError(
            f"{file} has no column {listed(missing)}: expected {listed(columns)}, "
            f"found {listed(table.columns)}"
        )


def numeric_shares(table: pd.DataFrame, emotions: list[str], file: Path) -> pd.DataFrame:
    """The share columns as numbers, "?" and blanks as null; CorpusError for anything else."""
    shares = table[emotions].replace({"?": None, "": None})
    numbers = shares.apply(pd.to_numeric, errors="coerce").astype(float)
    unreadable = (numbers.isna() & shares.notna()).any()
    if unreadable.any():
        column = unreadable.idxmax()
        value = shares[column][numbers[column].isna() & shares[column].notna()].iloc[0]
        raise CorpusError(f"{file}, column {column}: {value!r} is not a number in [0, 1]")
    return numbers


def speaker_splits(
    speakers: pd.Series, seed: int, fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
) -> pd.Series:
    """Draw a split for each speaker, and give it to the speaker's clips (fractions of speakers)."""
    names = np.sort(speakers.unique())
    if len(names) < len(SPLITS):
        raise CorpusError(
            f"{len(names)} speakers cannot be kept apart in {len(SPLITS)} splits: "
            "give a split column, or clips of at least three speakers"
        )
    order = np.random.default_rng(seed).permutation(names)
    n_devel, n_test = (max(1, round(len(names) * fraction)) for fraction in fractions[1:])
    chosen = dict.fromkeys(order, "train")
    chosen.update(dict.fromkeys(order[:n_devel], "devel"))
    chosen.update(dict.fromkeys(order[n_devel : n_devel + n_test], "test"))
    return speakers.map(chosen)
