"""The clip table: one row a clip, whichever corpus it came from."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

COLUMNS = ("clip_id", "path", "split", "speaker", "language", "n_raters", "duration_s")
SPLITS = ("train", "devel", "test")
PAPER_EMOTIONS = (
    "Anger",
    "Boredom",
    "Calmness",
    "Concentration",
    "Determination",
    "Excitement",
    "Interest",
    "Sadness",
    "Tiredness",
)


class CorpusError(ValueError):
    """A corpus that cannot be used as it is; the message names the file and what to do."""


@dataclass(frozen=True)
class Corpus:
    """A clip table and what belongs to it.

    `clips` has the columns of `COLUMNS`, then one column a share in [0, 1] (named in
    `emotions`, in the corpus's order), then any extra columns (demographics, hidden causes).
    Paths are relative to `root`. `listeners` says who rated: "listeners", or "simulated
    listeners" where no person did.
    """

    name: str
    root: Path
    emotions: tuple[str, ...]
    clips: pd.DataFrame
    listeners: str = "listeners"

    def save(self, folder: Path) -> None:
        """Write `clips.parquet` and `corpus.json` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.clips.to_parquet(folder / "clips.parquet", index=False)
        about = {
            "name": self.name,
            "root": str(self.root),
            "emotions": list(self.emotions),
            "listeners": self.listeners,
        }
        (folder / "corpus.json").write_text(json.dumps(about, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Corpus":
        """Read what `save` wrote; FileNotFoundError names the notebook to run first."""
        for name in ("clips.parquet", "corpus.json"):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder / name} is not there: run notebooks/01_data_preparation.ipynb "
                    f"with run = {folder.name!r} first"
                )
        about = json.loads((folder / "corpus.json").read_text())
        return cls(
            name=about["name"],
            root=Path(about["root"]),
            emotions=tuple(about["emotions"]),
            clips=pd.read_parquet(folder / "clips.parquet"),
            listeners=about["listeners"],
        )

    @property
    def simulated(self) -> bool:
        """True where no person listened."""
        return self.listeners.startswith("simulated")

    def path(self, clip_path: str) -> Path:
        """The file of a clip; CorpusError if it would leave the corpus folder."""
        return resolve_inside(self.root, clip_path)

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split."""
        return self.clips[self.clips["split"] == name]

    def shares(self, split: str) -> np.ndarray:
        """The shares of one split, (clips, emotions)."""
        return self.split(split)[list(self.emotions)].to_numpy(float)

    def digest(self) -> str:
        """What tells this clip table from another: its clips, audio, splits and shares."""
        columns = ["clip_id", "split", "audio_checksum", *self.emotions]
        rows = pd.util.hash_pandas_object(self.clips[columns].astype(str), index=False)
        return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()[:16]

    def with_clips(self, clips: pd.DataFrame) -> "Corpus":
        """The same corpus with another clip table."""
        return replace(self, clips=clips)


def resolve_inside(root: Path, relative: str) -> Path:
    """`root / relative`, resolved; CorpusError if that is not inside `root`."""
    root = root.resolve()
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        raise CorpusError(
            f"the clip path {relative!r} leaves the corpus folder {root}: "
            "paths must stay inside it, links included"
        )
    return path
