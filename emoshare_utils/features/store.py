"""The feature store: ragged float16 frames on disk, in shards that are whole or not there.

One folder per encoder and setting:

    settings.json           everything that changes the numbers; its digest is in the folder's name
    plan.parquet            which clips each shard holds, finished or not
    shard-00000.npy         (sum of L, W) float16: the frames of about 500 clips, end to end
    shard-00000.parquet     per clip: clip_id, audio_checksum, shard, offset, length, checksum

A shard counts once its .parquet is there, which is written last. Every file is written under a
temporary name, synced and renamed. The plan is made before the first frame, so a run that was
stopped resumes with the same shards, and a damaged shard is made again as it was.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from emoshare_utils.errors import NotMadeYet
from emoshare_utils.files import (
    DamagedError,
    FolderError,
    atomic,
    checksum,
    read_json,
    slug,
    writing,
)
from emoshare_utils.progress import track
from emoshare_utils.storage import read_parquet, write_parquet

SHARD_CLIPS = 500
EXPONENT = 0x7C00  # all of its bits are set in infinity and NaN
READERS = 8  # threads that compare shards with their checksums
INDEX_COLUMNS = ["clip_id", "audio_checksum", "shard", "offset", "length", "checksum"]
PLAN_COLUMNS = ["clip_id", "audio_checksum", "shard"]
PAPER_SAMPLES = 127_520  # the longest clip of the paper's corpus has just fewer (section 2.1)


class StoreError(FolderError):
    """A feature store that lacks a clip or is damaged; it names the file and what to do."""


@dataclass(frozen=True)
class Shard:
    """A shard to make: its name, and the rows of the clip table that it holds, longest first."""

    name: str
    clips: pd.DataFrame


class FeatureStore:
    """The frames of every clip under one encoder and setting.

    `frames(clip_id)` gives (L, W) float16: no clip is padded on disk and no array holds a whole
    split. Clips are read one by one, not mapped: the pages of a map count as resident memory, and
    a pass over a store would hold all of it.
    """

    def __init__(self, folder: Path) -> None:
        """Open the store in `folder`; StoreError if there is none, or its settings are damaged."""
        self.folder = folder
        if not (folder / "settings.json").is_file():
            raise StoreError(
                f"{folder} is no feature store: it has no settings.json; "
                "run notebooks/02_embedding_extraction.ipynb, which writes it"
            )
        content = (folder / "settings.json").read_bytes()
        if not folder.name.endswith(_digest(content)):
            raise StoreError(
                f"{folder / 'settings.json'} is damaged: run notebooks/02_embedding_extraction"
                ".ipynb again, which writes it again"
            )
        self.settings: dict = json.loads(content)
        self.width: int = self.settings["width"]

    def __reduce__(self) -> tuple:
        """How another process gets it: by its folder, opened again."""
        return type(self), (self.folder.resolve(),)

    @classmethod
    def create(cls, features: Path, encoder: str, width: int, settings: dict) -> "FeatureStore":
        """Open the store of these settings in the folder `features`; made if it is not there."""
        folder = cls.place(features, encoder, width, settings)
        file, content = folder / "settings.json", _content(width, settings)
        if not (file.is_file() and file.read_bytes() == content):  # lost, or damaged
            with atomic(file) as stream:
                stream.write(content)
        return cls(folder)

    @staticmethod
    def place(features: Path, encoder: str, width: int, settings: dict) -> Path:
        """The folder of the store of these settings, made if it is not there."""
        folder = features / f"{slug(encoder)}-{_digest(_content(width, settings))}"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def layers(self) -> int:
        """How many layers lie side by side in a frame ("@all"): 1 for most."""
        return self.settings.get("layers", 1)

    @property
    def metadata(self) -> int:
        """How many numbers about the clip each frame ends in (`metadata.WithMetadata`): 0."""
        return 0

    @property
    def paper_frames(self) -> int:
        """The paper's fixed length, 7.97 s: 797 acoustic frames, 398 of most encoders."""
        return int(PAPER_SAMPLES // self.settings.get("hop", 320))

    # What is here

    @cached_property
    def index(self) -> pd.DataFrame:
        """One row per clip, by clip_id; StoreError names a damaged shard."""
        shards = [_read_index(file) for file in self._index_files()]
        table = pd.concat(shards) if shards else pd.DataFrame(columns=INDEX_COLUMNS)
        return table.drop_duplicates("clip_id", keep="last").set_index("clip_id")

    def missing(self, clips: pd.DataFrame) -> pd.DataFrame:
        """The clips that are not here, or whose audio has changed since."""
        checksums = clips["clip_id"].map(self.index["audio_checksum"])
        return clips[checksums.isna() | (checksums != clips["audio_checksum"])]

    def require(self, clips: pd.DataFrame) -> None:
        """Raise StoreError unless every one of `clips` is here, with its audio as it is now."""
        stale = self.missing(clips)
        if len(stale):
            raise StoreError(
                f"{self.folder} lacks the frames of {len(stale)} clips as they are now, "
                f"{stale['clip_id'].iloc[0]} among them: run "
                f"notebooks/02_embedding_extraction.ipynb with encoder = "
                f"{self.settings['encoder']!r} first"
            )

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
        """The frames of a clip, (L, W) float16; StoreError names a damaged shard.

        They are compared with their checksum the first time.
        """
        shard, offset, length, expected = self._places[clip_id]
        frames = self._shard(shard).read(offset, length)
        if clip_id not in self._compared:
            if checksum(frames) != expected:
                raise _damaged(self.folder / f"{shard}.npy", f"clip {clip_id} has changed")
            self._compared.add(clip_id)
        return frames

    def verify(self) -> list[str]:
        """Compare every clip with its checksum; the names of the shards that are damaged."""
        files = self._index_files()
        with ThreadPoolExecutor(READERS) as pool:
            intact = pool.map(self._intact, files)
            label = f"comparing {self.folder.name} with its checksums"
            intact = list(track(intact, label, len(files), "shards") if files else intact)
        return [file.stem for file, whole in zip(files, intact) if not whole]

    # What is still to be made

    def plan(self, clips: pd.DataFrame, shard_clips: int = SHARD_CLIPS) -> list[Shard]:
        """The shards still to make so that every one of `clips` is here.

        New clips are dealt out by length, so that shards hold about the same number of clips and
        seconds of audio. Only one process may plan at a time.
        """
        missing = self.missing(clips)
        plan = self._read_plan()
        pending = plan[~plan["shard"].isin(self._names)]
        if not _by_clip(pending).equals(_by_clip(missing)):
            plan = self._plan_again(plan, missing, shard_clips)
        rows = missing.set_index("clip_id", drop=False)
        pending = plan[plan["clip_id"].isin(missing["clip_id"]) & ~plan["shard"].isin(self._names)]
        return [
            Shard(name, rows.loc[members["clip_id"]].reset_index(drop=True))
            for name, members in pending.groupby("shard")
        ]

    def _plan_again(
        self, plan: pd.DataFrame, missing: pd.DataFrame, shard_clips: int
    ) -> pd.DataFrame:
        finished = plan[plan["shard"].isin(self._names)]
        # no name is used again: a worker of a stopped run may still be writing its shard
        taken = {*self._names, *plan["shard"]}
        first = 1 + max((int(name.removeprefix("shard-")) for name in taken), default=-1)
        longest_first = missing.sort_values(["duration_s", "clip_id"], ascending=[False, True])
        n_shards = -(-len(missing) // shard_clips)
        back_and_forth = [*range(n_shards), *reversed(range(n_shards))]
        dealt = np.resize(np.array(back_and_forth, int), len(missing))
        new = longest_first[["clip_id", "audio_checksum"]].assign(
            shard=[f"shard-{first + number:05d}" for number in dealt]
        )
        plan = pd.concat([finished, new], ignore_index=True)[PLAN_COLUMNS]
        write_parquet(self.folder / "plan.parquet", plan)
        return plan

    def _read_plan(self) -> pd.DataFrame:
        """The plan; an empty one where there is none, or none that can be read."""
        try:
            return read_parquet(self.folder / "plan.parquet")[PLAN_COLUMNS]
        except (DamagedError, FileNotFoundError):  # finished shards count all the same
            return pd.DataFrame(columns=PLAN_COLUMNS, dtype=str)

    # Changing it

    def write_shard(self, name: str, clips: pd.DataFrame, frames: Sequence[np.ndarray]) -> None:
        """Write a shard: `frames[i]`, (L_i, W), belongs to the i-th of `clips`.

        Raises:
            StoreError: a frame is not finite in float16 or has another width.
            FolderError: the folder cannot be written.
        """
        pairs = zip(clips["clip_id"], frames, strict=True)
        stored = [_as_stored(clip_id, clip_frames, self.width) for clip_id, clip_frames in pairs]
        lengths = [len(clip_frames) for clip_frames in stored]
        index = pd.DataFrame(
            {
                "clip_id": clips["clip_id"].to_numpy(),
                "audio_checksum": clips["audio_checksum"].to_numpy(),
                "shard": name,
                "offset": np.cumsum([0, *lengths[:-1]]),
                "length": lengths,
                "checksum": [checksum(clip_frames) for clip_frames in stored],
            }
        )
        header = {"descr": "<f2", "fortran_order": False, "shape": (sum(lengths), self.width)}
        with atomic(self.folder / f"{name}.npy") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for clip_frames in stored:
                file.write(clip_frames.data)
        write_parquet(self.folder / f"{name}.parquet", index)
        self.forget()

    def discard(self, name: str) -> None:
        """Delete a shard, so that its clips are missing."""
        with writing(self.folder):
            (self.folder / f"{name}.parquet").unlink(missing_ok=True)
            (self.folder / f"{name}.npy").unlink(missing_ok=True)
        self.forget()

    def forget(self) -> None:
        """Look at the disk again: another process may have written shards."""
        for name in ("index", "_places", "_names", "_compared"):
            self.__dict__.pop(name, None)
        self._shard.cache_clear()

    @cached_property
    def _places(self) -> dict[str, tuple[str, int, int, str]]:
        rows = self.index[["shard", "offset", "length", "checksum"]].itertuples()
        return {clip: tuple(place) for clip, *place in rows}

    @cached_property
    def _names(self) -> set[str]:
        return {file.stem for file in self._index_files()}

    @cached_property
    def _compared(self) -> set[str]:
        return set()

    @lru_cache(maxsize=256)  # noqa: B019  (a store lives as long as its open files)
    def _shard(self, name: str) -> "_ShardFrames":
        return _ShardFrames(self.folder / f"{name}.npy")

    def _intact(self, index: Path) -> bool:
        try:
            frames, rows = self._shard(index.stem), _read_index(index)
            places = zip(rows["offset"], rows["length"], rows["checksum"])
            return all(checksum(frames.read(at, n)) == expected for at, n, expected in places)
        except StoreError:
            return False

    def _index_files(self) -> list[Path]:
        return sorted(self.folder.glob("shard-*.parquet"))


def open_store(features: str | Path, encoder: str) -> FeatureStore:
    """The store last extracted for `encoder`; FileNotFoundError names the notebook to run first."""
    folder = stored(features).get(encoder)
    if folder is None or not (Path(features) / folder).is_dir():
        raise NotMadeYet(
            f"{features} has no frames from {encoder!r}: run "
            f"notebooks/02_embedding_extraction.ipynb with encoder = {encoder!r} first"
        )
    return FeatureStore(Path(features) / folder)


def stored(features: str | Path) -> dict[str, str]:
    """The store of each encoder that has been extracted: encoder -> folder name.

    Raises StoreError if `stores.json` is not what was written.
    """
    try:
        return read_json(Path(features) / "stores.json")
    except FileNotFoundError:
        return {}
    except DamagedError as error:
        raise StoreError(f"{error}, notebooks/02_embedding_extraction.ipynb") from error


def _content(width: int, settings: dict) -> bytes:
    """What settings.json holds."""
    return (json.dumps(settings | {"width": width}, indent=2, sort_keys=True) + "\n").encode()


def _digest(content: bytes) -> str:
    """What the name of a store's folder ends in: 10 hex digits that tell its settings."""
    return hashlib.sha256(content).hexdigest()[:10]


def _by_clip(clips: pd.DataFrame) -> pd.DataFrame:
    """clip_id and audio_checksum, sorted, so that two tables of the same clips are equal."""
    return clips[PLAN_COLUMNS[:2]].astype(str).sort_values("clip_id", ignore_index=True)


def _read_index(file: Path) -> pd.DataFrame:
    """The index of a shard, one row per clip; StoreError where it is damaged."""
    with _named_if_damaged(file):
        return read_parquet(file)[INDEX_COLUMNS]


class _ShardFrames:
    """The frames in a shard's .npy file, (sum of L, W) float16; threads may read at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _named_if_damaged(path):
            self.file = path.open("rb", buffering=0)
            np.lib.format.read_magic(self.file)
            (_, self.width), _, dtype = np.lib.format.read_array_header_1_0(self.file)
            if dtype != np.float16:
                raise ValueError(f"its frames are {dtype}, not float16")
            self.start = self.file.tell()

    def read(self, offset: int, length: int) -> np.ndarray:
        """`length` frames from `offset` on, (length, W)."""
        frames = np.empty((length, self.width), np.float16)
        rest, at = memoryview(frames).cast("B"), self.start + offset * frames.strides[0]
        while rest:
            read = os.preadv(self.file.fileno(), [rest], at)
            if not read:
                raise _damaged(self.path, f"it ends before frame {offset + length}")
            rest, at = rest[read:], at + read
        return frames


def _damaged(file: Path, cause: str) -> StoreError:
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
        raise _damaged(file, str(error)) from error


def _as_stored(clip_id: str, frames: np.ndarray, width: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(frames, dtype=np.float16)
    if stored.ndim != 2 or stored.shape[1] != width:
        raise StoreError(f"clip {clip_id}: frames of shape {stored.shape}, expected (L, {width})")
    if (stored.view(np.uint16) & EXPONENT == EXPONENT).any():  # 5 times as fast as isfinite
        raise StoreError(f"clip {clip_id}: frames are not finite in float16")
    return stored
