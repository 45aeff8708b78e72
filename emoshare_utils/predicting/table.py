"""Many recordings -> one table, a row each; what was interrupted resumes.

While it is being made, the table is a folder of parts beside the file that it becomes. A part holds
the rows of some dozens of recordings and is there whole or not at all. A row counts again only for
the same bytes and the same system.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emoshare_utils.corpora.audio import SAMPLE_RATE, read_audio
from emoshare_utils.files import (
    DamagedError,
    FolderError,
    locked,
    remove_leftovers,
    write_csv,
    writing,
)
from emoshare_utils.predicting.trained import TrainedSystem, content_id, windows
from emoshare_utils.progress import track
from emoshare_utils.storage import read_parquet, write_parquet

PART_FILES, PART_BYTES = 64, 32_000_000  # at most, of audio files: a kill loses so much work
READERS = 4
DIGITS = 4  # of a share in the file
FIRST, LAST = ["path", "duration_s", "windows"], ["problem", "audio_checksum", "system"]


def columns(emotions: Sequence[str]) -> list[str]:
    """The table's columns: each emotion is followed by the bounds of its interval."""
    shares = [f"{emotion}{end}" for emotion in emotions for end in ("", "_low", "_high")]
    return [*FIRST, *shares, *LAST]


def predict_files(
    files: Sequence[Path], system: TrainedSystem, csv: Path | None = None
) -> pd.DataFrame:
    """Predict every recording; one that cannot be read gets a row that says why.

    Args:
        csv: where to write the table; rows that are there already, of the same bytes and system,
            are kept. Until it is whole, its parts are in the folder `<csv>.parts`. None: nowhere.

    Returns:
        A row per file, in order: path, duration_s, windows (1, or into how many the recording was
        cut), for each emotion its share with `_low` and `_high`, problem ("" if there is none),
        audio_checksum and system, which tell bytes and systems from others.

    Raises:
        FolderError: the table cannot be written, or another process is writing it.
        ValueError: two columns would have one name.
    """
    names = columns(system.emotions)
    if len(set(names)) < len(names):
        raise ValueError(f"two columns of the table would have one name: {', '.join(names)}")
    if csv is None:
        return _collected(files, system, _predicted(files, system, {}))
    parts = csv.with_name(f"{csv.name}.parts")
    with writing(parts):
        parts.mkdir(parents=True, exist_ok=True)
    with locked(parts):
        remove_leftovers(parts)
        known = _known(csv, parts, system)
        rows = _written(_predicted(files, system, known), parts, names)
        table = _collected(files, system, rows)
        write_csv(csv, table)
    shutil.rmtree(parts)
    return table


def _collected(
    files: Sequence[Path], system: TrainedSystem, parts: Iterator[list[dict[str, Any]]]
) -> pd.DataFrame:
    rows = []
    for part in track(parts, "predicting", len(files), "recordings", amount=len):
        rows += part
    return pd.DataFrame(rows, columns=columns(system.emotions)).astype({"windows": "Int64"})


def _predicted(
    files: Sequence[Path], system: TrainedSystem, known: dict[str, dict[str, Any]]
) -> Iterator[list[dict[str, Any]]]:
    """The rows of the files, in order, a part at a time; `known` rows are by their checksum."""
    with ThreadPoolExecutor(READERS) as readers:
        for part in _parts(files):
            read = list(readers.map(lambda file: _read(file, system, known), part))
            good = [place for place, (_, samples) in enumerate(read) if samples is not None]
            shares = system.shares([read[place][1] for place in good])
            lows, highs = system.interval.bounds(shares, system.emotions)
            for place, *values in zip(good, shares, lows, highs):
                read[place][0].update(_cells(system.emotions, *values))
            yield [row for row, _ in read]


def _parts(files: Sequence[Path]) -> Iterator[list[Path]]:
    part, n_bytes = [], 0
    for file in files:
        part.append(file)
        with suppress(OSError, ValueError):  # its row will say what is wrong
            n_bytes += file.stat().st_size
        if len(part) == PART_FILES or n_bytes >= PART_BYTES:
            yield part
            part, n_bytes = [], 0
    if part:
        yield part


def _read(
    file: Path, system: TrainedSystem, known: dict[str, dict[str, Any]]
) -> tuple[dict[str, Any], np.ndarray | None]:
    """The row of a file, and its samples if it is still to be predicted."""
    path = os.fsencode(file).decode(errors="replace")  # a name may be no UTF-8
    row = {"path": path, "problem": "", "audio_checksum": "", "system": system.checksum}
    try:
        if file.is_file():
            row["audio_checksum"] = content_id(file)
        if row["audio_checksum"] in known:
            return known[row["audio_checksum"]] | {"path": path}, None
        samples = read_audio(file)
    except (ValueError, OSError) as error:  # AudioError, or a path that is none
        return row | {"problem": str(getattr(error, "strerror", None) or error)}, None
    row["duration_s"] = round(len(samples) / SAMPLE_RATE, DIGITS)
    if problem := system.refusal(samples):
        return row | {"problem": problem}, None
    return row | {"windows": len(windows(samples, system.longest))}, samples


def _cells(
    emotions: Sequence[str], shares: np.ndarray, lows: np.ndarray, highs: np.ndarray
) -> dict[str, Any]:
    if not np.isfinite(shares).all():
        return {"problem": "its frames are not finite in float16"}
    ends = zip(("", "_low", "_high"), (shares, lows, highs))
    return {
        f"{emotion}{end}": round(float(value), DIGITS)
        for end, values in ends
        for emotion, value in zip(emotions, values)
    }


def _known(csv: Path, parts: Path, system: TrainedSystem) -> dict[str, dict[str, Any]]:
    """Rows without a problem of this very system, by the checksum of the audio."""
    tables = []
    if csv.is_file():
        text = dict.fromkeys(["path", *LAST], str)
        try:
            tables.append(pd.read_csv(csv, dtype=text, keep_default_na=True))
        except (ValueError, pd.errors.ParserError) as error:
            raise _not_ours(csv) from error
        if list(tables[0]) != columns(system.emotions):
            raise _not_ours(csv)
    for file in sorted(parts.glob("*.parquet")):
        try:
            tables.append(read_parquet(file))
        except DamagedError:
            print(f"{file} is damaged: its recordings are predicted again")
            file.unlink()
    known: dict[str, dict[str, Any]] = {}
    for table in tables:
        usable = table["problem"].fillna("").eq("") & table["system"].eq(system.checksum)
        rows = table[usable].assign(problem="").to_dict("records")
        known |= {row["audio_checksum"]: row for row in rows}
    return known


def _not_ours(csv: Path) -> FolderError:
    return FolderError(f"{csv} holds another table: name another file, or delete it")


def _written(
    rows: Iterator[list[dict[str, Any]]], parts: Path, names: list[str]
) -> Iterator[list[dict[str, Any]]]:
    """The same rows, each part written before it is passed on."""
    first = 1 + max((int(file.stem) for file in parts.glob("*.parquet")), default=-1)
    for number, part in enumerate(rows, first):
        write_parquet(parts / f"{number:06d}.parquet", pd.DataFrame(part, columns=names))
        yield part
