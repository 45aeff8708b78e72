"""Frames that were made elsewhere: one .npy per clip, under the encoder "frames:FOLDER"."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from emoshare_utils.device import one_worker_per_core
from emoshare_utils.features.encoder import Encoder, EncoderError, brief
from emoshare_utils.files import checksum
from emoshare_utils.names import FRAMES
from emoshare_utils.paths import resolve, shown
from emoshare_utils.progress import track

VERSION = 1  # raise it when the frames of a file change
NAMED = 5  # files or clips that a message names
LARGEST = float(np.finfo(np.float16).max)


class Found(NamedTuple):
    """What a file of frames holds: (L, W), the checksum of its frames, or what is wrong with it."""

    length: int = 0
    width: int = 0
    checksum: str = ""
    fault: str = ""


class OwnFrames(Encoder):
    """The frames (L, W) of a clip are those in FOLDER/<clip_id>.npy, whatever made them.

    Every file in FOLDER and the folders in it is read once here, and compared with its checksum
    when its frames are copied into the store. Hidden files are skipped.

    Raises:
        EncoderError: there is no such folder or no .npy in it; or a file that is damaged, has not
            two dimensions, no frame, another width than the others, or values that are not real
            numbers, not finite or beyond float16.
    """

    reads_samples = False

    def __init__(self, name: str, *_: Any) -> None:
        self.folder = resolve(name.removeprefix(FRAMES))
        self.files = _files(self.folder)
        if not self.files:
            missing = "has no .npy file" if self.folder.is_dir() else "is no folder"
            raise EncoderError(
                f"encoder {name!r}: {self.folder} {missing}. Write the frames of each clip there, "
                "as numpy.save('FOLDER/<clip_id>.npy', frames), frames of shape (L, W)"
            )
        with one_worker_per_core() as pool:
            label = f"reading {shown(self.folder)}"
            found = track(pool.map(_check, self.files.values()), label, len(self.files), "files")
            self.found = dict(zip(self.files, found, strict=True))
        widths = pd.Series([found.width for found in self.found.values() if found.width])
        self.width = int(widths.mode().iloc[0]) if len(widths) else 0
        self._refuse_faults(name)
        listed = json.dumps(sorted(self.found.items())).encode()
        self.settings = {"version": VERSION, "files": checksum(listed)}
        super().__init__(name)

    def _refuse_faults(self, name: str) -> None:
        faults = {
            clip_id: found.fault or f"frames of width {found.width}, others have {self.width}"
            for clip_id, found in self.found.items()
            if found.fault or found.width != self.width
        }
        if faults:
            first = [f"{self.files[clip_id]}: {faults[clip_id]}" for clip_id in [*faults][:NAMED]]
            raise EncoderError(
                f"encoder {name!r}: {len(faults)} of {len(self.files)} files cannot be used. "
                f"{'; '.join(first)}{'; …' if len(faults) > NAMED else ''}. Make them again, or "
                "move them out of the folder if they belong to no clip"
            )

    def n_frames(self, n_samples: int) -> int:
        raise self._no_samples()

    def lengths(self, clips: pd.DataFrame) -> np.ndarray:
        """L of each clip, (N,) int64; EncoderError names those that have no file."""
        absent = [clip for clip in clips["clip_id"] if clip not in self.files]
        if absent:
            names = ", ".join(absent[:NAMED]) + (", …" if len(absent) > NAMED else "")
            raise EncoderError(
                f"encoder {self.name!r}: {len(absent)} of {len(clips)} clips have no frames there: "
                f"{names}. The frames of {absent[0]} belong in {absent[0]}.npy; of the "
                f"{len(self.files)} files in {self.folder} the first is {min(self.files)}.npy"
            )
        return np.array([self.found[clip].length for clip in clips["clip_id"]], np.int64)

    def encode(self, clips: Sequence[str]) -> list[np.ndarray]:
        """The frames (L_i, W) float32 of each of the clips that are so called.

        Raises:
            EncoderError: one is no clip_id of a file there, or its file has changed since.
        """
        return [self._read(clip_id) for clip_id in clips]

    def _read(self, clip_id: str) -> np.ndarray:
        if not isinstance(clip_id, str):
            raise self._no_samples()
        if clip_id not in self.files:  # a file is listed, never looked up: no ".." leads out
            raise EncoderError(f"encoder {self.name!r}: {clip_id} has no frames there")
        try:
            frames = _open(self.files[clip_id])
            same = checksum(frames) == self.found[clip_id].checksum
        except (OSError, ValueError):
            same = False
        if not same:
            raise EncoderError(
                f"{self.files[clip_id]} has changed since this run started: run the same again, "
                "which reads the whole folder again"
            )
        return frames.astype(np.float32)

    def _no_samples(self) -> EncoderError:
        return EncoderError(
            f"encoder {self.name!r} only has the frames of the clips in {self.folder}: it makes "
            "none of other samples. For new recordings, make their frames as those were made"
        )


def _files(folder: Path) -> dict[str, Path]:
    """clip_id -> its file, for every .npy below the folder but hidden ones."""
    files = {}
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(here, name)
            if path.suffix == ".npy" and not name.startswith(".") and path.is_file():
                files[path.relative_to(folder).with_suffix("").as_posix()] = path
    return dict(sorted(files.items()))


def _open(path: Path) -> np.ndarray:
    """The array in a .npy file, mapped: no memory is taken for what a header promises.

    Raises:
        ValueError: it is no such file, holds Python objects, or more or less than it says.
        OSError: it cannot be read.
    """
    frames = np.lib.format.open_memmap(path, mode="r")
    if path.stat().st_size != frames.offset + frames.nbytes:
        raise ValueError("its size is not what its header says")
    return frames


def _check(path: Path) -> Found:
    try:
        frames = _open(path)
    except Exception as error:  # whatever damage makes numpy raise
        return Found(fault=f"no readable .npy file ({brief(error)})")
    if frames.ndim != 2 or not frames.size:
        return Found(fault=f"an array of shape {frames.shape}, expected (L, W) with L and W over 0")
    if frames.dtype.kind not in "fiu":
        return Found(fault=f"values of type {frames.dtype}, expected floats or integers")
    if not np.isfinite(frames).all():
        return Found(fault="values that are NaN or infinite")
    largest = max(float(frames.max()), -float(frames.min()))
    if largest > LARGEST:
        return Found(fault=f"a value of {largest:.3g}, float16 holds up to {LARGEST:.0f}: scale it")
    return Found(*frames.shape, checksum(frames))
