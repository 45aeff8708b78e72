"""A shard of a feature store: ragged float16 frames end to end in one file, their index in another.

The index (.parquet) is written after the frames (.npy), so a shard counts once its index is there.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from emoshare_utils.files import FolderError, atomic, checksum, writing

EXPONENT = 0x7C00  # all of its bits are set in infinity and NaN
INDEX_COLUMNS = ["clip_id", "audio_checksum", "shard", "offset", "length", "checksum"]


class StoreError(FolderError):
    """A feature store that lacks a clip or is damaged; it names the file and what to do."""


@dataclass(frozen=True)
class Shard:
    """A shard to make: its name, and the rows of the clip table that it holds, longest first."""

    name: str
    clips: pd.DataFrame


def write_shard(folder: Path, shard: Shard, frames: Sequence[np.ndarray], width: int) -> None:
    """Write a shard: `frames[i]`, (L_i, W), belongs to the i-th of its clips.

    Raises:
        StoreError: a frame is not finite in float16 or has another width than W = `width`.
        FolderError: the folder cannot be written.
    """
    pairs = zip(shard.clips["clip_id"], frames, strict=True)
    stored = [_as_stored(clip_id, clip_frames, width) for clip_id, clip_frames in pairs]
    lengths = [len(clip_frames) for clip_frames in stored]
    index = pd.DataFrame(
        {
            "clip_id": shard.clips["clip_id"].to_numpy(),
            "audio_checksum": shard.clips["audio_checksum"].to_numpy(),
            "shard": shard.name,
            "offset": np.cumsum([0, *lengths[:-1]]),
            "length": lengths,
            "checksum": [checksum(clip_frames) for clip_frames in stored],
        }
    )
    header = {"descr": "<f2", "fortran_order": False, "shape": (sum(lengths), width)}
    with writing(folder):
        with atomic(folder / f"{shard.name}.npy") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for clip_frames in stored:
                file.write(clip_frames.data)
        with atomic(folder / f"{shard.name}.parquet") as file:
            index.to_parquet(file, index=False, write_page_checksum=True)


def read_index(file: Path) -> pd.DataFrame:
    """The index of a shard, one row per clip; StoreError where it is damaged."""
    with _named_if_damaged(file):
        return pd.read_parquet(file, page_checksum_verification=True)[INDEX_COLUMNS]


class ShardFrames:
    """The frames in a shard's .npy file, (sum of L, W) float16; threads may read at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _named_if_damaged(path):
            self.file = path.open("rb", buffering=0)
            np.lib.format.read_magic(self.file)
            shape, _, self.dtype = np.lib.format.read_array_header_1_0(self.file)
            _, self.width = shape
            self.start = self.file.tell()

    def read(self, offset: int, length: int) -> np.ndarray:
        """`length` frames from `offset` on, (length, W)."""
        frames = np.empty((length, self.width), self.dtype)
        rest, at = memoryview(frames).cast("B"), self.start + offset * frames.strides[0]
        while rest:
            read = os.preadv(self.file.fileno(), [rest], at)
            if not read:
                raise damaged(self.path, f"it ends before frame {offset + length}")
            rest, at = rest[read:], at + read
        return frames


def damaged(file: Path, cause: str) -> StoreError:
    """The error for a file that does not hold what was written."""
    return StoreError(
        f"{file} is damaged ({cause}): run notebooks/02_embedding_extraction.ipynb again, which "
        "makes this shard again"
    )


@contextmanager
def _named_if_damaged(file: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever damage makes numpy and pyarrow raise
        raise damaged(file, str(error)) from error


def _as_stored(clip_id: str, frames: np.ndarray, width: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(frames, dtype=np.float16)
    if stored.ndim != 2 or stored.shape[1] != width:
        raise StoreError(f"clip {clip_id}: frames of shape {stored.shape}, expected (L, {width})")
    if (stored.view(np.uint16) & EXPONENT == EXPONENT).any():  # 5 times as fast as isfinite
        raise StoreError(f"clip {clip_id}: frames are not finite in float16")
    return stored
