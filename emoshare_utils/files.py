"""Files that are there whole or not at all, and folders that one process writes at a time."""

import errno
import fcntl
import json
import os
import re
import shutil
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from emoshare_utils.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

SEAL = "checksum"  # the entry of a record, or of a file's metadata, that tells of damage
UNSEALED = b"sealed-crc32:00000000"  # its value before the checksum is known
WRITTEN = "EMOSHARE_WRITTEN"  # names the file that lists what this process and its own have written
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet's formula starts with


class FolderError(UserError, RuntimeError):
    """A folder that cannot be written, or that another process is writing; it says what to do."""


class DamagedError(FolderError):
    """A file that does not hold what was written into it; the message names it and the cause."""

    def __init__(self, file: Path, cause: object) -> None:
        cause = " ".join(str(cause).split())[:200]
        super().__init__(f"{file} is damaged ({cause}): run the notebook that made it again")


def slug(name: str) -> str:
    """A folder name for an encoder or emotion: `org/model` becomes `org--model-` and a checksum.

    Only a name that had to change gets the checksum, which keeps different names apart.
    """
    plain = re.sub(r"[^\w.-]+", "--", name).strip(".-")
    return plain if plain == name else f"{plain}-{checksum(name.encode())}".strip("-")


def checksum(*parts: bytes | memoryview | np.ndarray) -> str:
    """What tells content from other content: CRC-32 of the parts, one after the other, in hex."""
    value = 0
    for part in parts:
        value = zlib.crc32(part if isinstance(part, bytes) else np.ascontiguousarray(part), value)
    return f"{value:08x}"


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under `path` whole, or not at all; FolderError as `writing`.

    Where the environment's EMOSHARE_WRITTEN names a file, the path is added to it, a line.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    with writing(path.parent):
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if listed := os.environ.get(WRITTEN):  # first, so that no file is there unlisted
                with Path(listed).open("a") as lines:
                    lines.write(f"{path.absolute()}\n")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def sealed(content: bytes) -> bytes:
    """The content of a file, its last `UNSEALED` replaced by the checksum of the content."""
    start = content.rindex(UNSEALED)
    seal = UNSEALED[:-8] + checksum(content).encode()
    return content[:start] + seal + content[start + len(seal) :]


def read_sealed(path: Path) -> bytes:
    """Read what `sealed` made, as it was before; a file of an earlier version has no seal.

    Raises:
        DamagedError: it is not what was written.
        FileNotFoundError: it is not there.
    """
    content = path.read_bytes()
    start = content.rfind(UNSEALED[:-8])
    if start < 0:
        return content
    before = content[:start] + UNSEALED + content[start + len(UNSEALED) :]
    if sealed(before) != content:
        raise DamagedError(path, "its content has changed")
    return before


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a record with its checksum, whole or not at all."""
    text = json.dumps(record | {SEAL: UNSEALED.decode()}, indent=2)
    with atomic(path) as file:
        file.write(sealed(f"{text}\n".encode()))


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote; raises as `read_sealed`."""
    content = read_sealed(path)
    try:
        record = json.loads(content)
        if not isinstance(record, dict):
            raise ValueError("it holds no record")
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, error) from error
    record.pop(SEAL, None)
    return record


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    with atomic(path) as file:
        file.write(text.encode())


def write_csv(path: Path, table: "DataFrame") -> None:
    """Write a table without its index, whole or not at all.

    Text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    text = table.rename(columns=_as_text)
    for place, dtype in enumerate(text.dtypes):
        if not hasattr(dtype, "kind") or dtype.kind in "OSU":
            text.isetitem(place, text.iloc[:, place].map(_as_text))
    write_text(path, text.to_csv(index=False, lineterminator="\n"))


def _as_text(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed `atomic` left; only while no other process writes in `folder`."""
    with writing(folder):
        for file in folder.glob(".*.tmp"):
            file.unlink(missing_ok=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Say what to do where the disk is full or the folder is not to be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = f"make room ({size(_free(folder))} are free)"
        elif error.errno in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            advice = "its file system cannot lock files (flock): mount it so, or use another"
        else:
            advice = "make it writable, or set another run"
        raise FolderError(
            f"{folder} cannot be written ({error.strerror or error}): {advice}, then run the same "
            "again. What is finished is kept"
        ) from error


@contextmanager
def locked(folder: Path, wait: bool = False, advice: str = "") -> Iterator[None]:
    """Hold the folder's lock, which the system releases even when this process is killed.

    Raises:
        FolderError: another process holds it (its id is in the message, which `advice`
            ends) and `wait` is False.
    """
    with writing(folder):
        lock = (folder / ".lock").open("a+")
    with lock:
        try:
            with writing(folder):
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except FolderError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                raise
            lock.seek(0)
            raise FolderError(
                f"{folder} is being written by another run: let it finish "
                f"(process {lock.read().strip()}){advice}"
            ) from error
        with writing(folder):
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
        yield


def _free(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def size(n_bytes: int) -> str:
    """As "1.5 GB" or "20.0 MB"."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
