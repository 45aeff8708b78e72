"""The feature store: ragged float16 frames on disk, in shards that are whole or not there.

One folder an encoder and setting:

    settings.json           everything that changes the numbers; its digest is in the folder's name
    shard-00000.npy         (sum of L, W) float16: the frames of about 500 clips, end to end
    shard-00000.parquet     one row a clip: clip_id, audio_checksum, shard, offset, length, checksum

A shard counts once its .parquet is there, which is written last. Both files are written under a
temporary name, synced and renamed.
"""

import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

SHARD_CLIPS = 500
INDEX_COLUMNS = ["clip_id", "audio_checksum", "shard", "offset", "length", "checksum"]


def slug(name: str) -> str:
    """A folder name for an encoder or emotion: `org/model` becomes `org--model-` and a checksum.

    Only a name that had to change gets the checksum, which keeps different names apart.
    """
    plain = re.sub(r"[^\w.-]+", "--", name).strip(".-")
    return plain if plain == name else f"{plain}-{zlib.crc32(name.encode()):08x}".strip("-")


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under `path` whole, or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class StoreError(RuntimeError):
    """A feature store that lacks a clip or is damaged; the message names the file."""


class FeatureStore:
    """The frames of every clip under one encoder and setting.

    `frames(clip_id)` gives (L, W) float16, read from a memory map: no clip is padded on disk and
    no array holds a whole split.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "settings.json").is_file():
            raise StoreError(f"{folder} is no feature store: it has no settings.json")
        self.settings: dict = json.loads((folder / "settings.json").read_text())
        self.width: int = self.settings["width"]

    @classmethod
    def create(cls, features: Path, encoder: str, width: int, settings: dict) -> "FeatureStore":
        """Open the store of these settings in the folder `features`; made if it is not there."""
        content = json.dumps(settings | {"width": width}, indent=2, sort_keys=True) + "\n"
        digest = hashlib.sha256(content.encode()).hexdigest()[:10]
        folder = features / f"{slug(encoder)}-{digest}"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "settings.json").is_file():
            with atomic(folder / "settings.json") as file:
                file.write(content.encode())
        return cls(folder)

    @cached_property
    def index(self) -> pd.DataFrame:
        """One row a clip, by clip_id; StoreError names a damaged shard."""
        shards = [_read_index(file) for file in self._shards()]
        table = pd.concat(shards) if shards else pd.DataFrame(columns=INDEX_COLUMNS)
        return table.drop_duplicates("clip_id", keep="last").set_index("clip_id")

    def missing(self, clips: pd.DataFrame) -> pd.DataFrame:
        """The clips that are not here, or whose audio has changed since."""
        stored = clips["clip_id"].map(self.index["audio_checksum"])
        return clips[stored.isna() | (stored != clips["audio_checksum"])]

    def lengths(self, clip_ids: Sequence[str]) -> np.ndarray:
        """Frames of each clip, (N,) int64; StoreError names the clips that are not here."""
        absent = [clip for clip in clip_ids if clip not in self.index.index]
        if absent:
            raise StoreError(
                f"{self.folder} lacks {len(absent)} clips, {', '.join(absent[:5])} among them: "
                "run notebooks/02_embedding_extraction.ipynb again"
            )
        return self.index.loc[list(clip_ids), "length"].to_numpy(np.int64)

    def frames(self, clip_id: str) -> np.ndarray:
        """The frames of a clip, (L, W) float16; StoreError names a damaged shard."""
        shard, offset, length = self._places[clip_id]
        return self._shard(shard)[offset : offset + length]

    def write_shard(self, clips: pd.DataFrame, frames: list[np.ndarray]) -> None:
        """Append one shard: `frames[i]`, (L_i, W), belongs to the i-th of `clips`.

        Raises:
            StoreError: a frame is not finite in float16, or has another width.
        """
        stored = []
        for clip_id, clip_frames in zip(clips["clip_id"], frames):
            with np.errstate(over="ignore"):
                stored.append(np.ascontiguousarray(clip_frames, dtype=np.float16))
            if stored[-1].ndim != 2 or stored[-1].shape[1] != self.width:
                raise StoreError(
                    f"clip {clip_id}: frames of shape {stored[-1].shape}, "
                    f"expected (L, {self.width})"
                )
            if not np.isfinite(stored[-1]).all():
                raise StoreError(f"clip {clip_id}: frames are not finite in float16")
        number = 1 + max((int(file.stem[6:]) for file in self._shards()), default=-1)
        name = f"shard-{number:05d}"
        lengths = [len(clip_frames) for clip_frames in stored]
        index = pd.DataFrame(
            {
                "clip_id": clips["clip_id"].to_numpy(),
                "audio_checksum": clips["audio_checksum"].to_numpy(),
                "shard": name,
                "offset": np.cumsum([0, *lengths[:-1]]),
                "length": lengths,
                "checksum": [_checksum(clip_frames) for clip_frames in stored],
            }
        )
        with atomic(self.folder / f"{name}.npy") as file:
            np.save(file, np.concatenate(stored))
        with atomic(self.folder / f"{name}.parquet") as file:
            index.to_parquet(file, index=False, write_page_checksum=True)
        self._forget()

    def verify(self) -> list[str]:
        """Compare every clip with its checksum; the shards that are damaged."""
        return [file.stem for file in self._shards() if not self._intact(file)]

    def remove_leftovers(self) -> None:
        """Delete what a killed writer left; only while no other process writes here."""
        for file in self.folder.glob(".shard-*.tmp"):
            file.unlink()

    @cached_property
    def _places(self) -> dict[str, tuple[str, int, int]]:
        rows = self.index[["shard", "offset", "length"]].itertuples()
        return {clip: (shard, offset, length) for clip, shard, offset, length in rows}

    @lru_cache(maxsize=256)  # noqa: B019  (a store lives as long as its maps)
    def _shard(self, name: str) -> np.ndarray:
        file = self.folder / f"{name}.npy"
        with _named_if_damaged(file):
            return np.load(file, mmap_mode="r")

    def _intact(self, index: Path) -> bool:
        try:
            frames, rows = self._shard(index.stem), _read_index(index)
        except StoreError:
            return False
        places = zip(rows["offset"], rows["length"], rows["checksum"])
        return all(_checksum(frames[at : at + n]) == checksum for at, n, checksum in places)

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("shard-*.parquet"))

    def _forget(self) -> None:
        for name in ("index", "_places"):
            self.__dict__.pop(name, None)
        self._shard.cache_clear()


def _checksum(frames: np.ndarray) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(frames)):08x}"


def _read_index(file: Path) -> pd.DataFrame:
    with _named_if_damaged(file):
        return pd.read_parquet(file, page_checksum_verification=True)[INDEX_COLUMNS]


@contextmanager
def _named_if_damaged(file: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever damage makes numpy and pyarrow raise
        raise StoreError(
            f"{file} is damaged ({error}): delete {file.stem}.npy and {file.stem}.parquet, then "
            "run notebooks/02_embedding_extraction.ipynb again"
        ) from error
