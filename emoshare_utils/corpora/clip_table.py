"""The clip table: one row per clip, whichever corpus it came from."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from emoshare_utils.errors import NotMadeYet, UserError
from emoshare_utils.files import read_json, write_json
from emoshare_utils.storage import read_parquet, write_parquet

COLUMNS = ("clip_id", "path", "split", "speaker", "language", "n_raters", "duration_s")
OPTIONAL = {"speaker": "string", "language": "string", "n_raters": "Int64", "duration_s": float}
SPLITS = ("train", "devel", "test")
# What no emotion may be called, because its column stands beside these in some table. Further
# columns stand in the clip table only, and may be called as the later ones.
RESERVED = {
    *COLUMNS,
    *("audio_checksum", "filename"),  # `audio.check`, `compare23.submission`
    *("encoder", "architecture", "emotion", "seed", "share", "prediction"),  # of predictions
    *("n", "rho", "mae", "ccc", "ci_low", "ci_high", "ci_speakers_low", "ci_speakers_high"),
    *("source", "name", "mean", "n_emotions", "seeds", "note", "baseline"),  # Tables 1 and 2
    *("mean_rho", "n_mean_rho", "baseline_mean_rho", "change_percent"),
    *("max_rho", "n_max_rho", "baseline_max_rho", "max_change_percent"),
    *("kind", "epoch"),  # rho of the expected share, the history of a training
    "panel",  # of a table of votes
}
EXPECTED = "expected_"  # before an emotion, the column of its expected share; none is called so
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


class CorpusError(UserError, ValueError):
    """A corpus that cannot be used as it is; the message names the file and what to do."""


@dataclass(frozen=True)
class Corpus:
    """A clip table and what belongs to it.

    `clips` has the columns of `COLUMNS`, then one share in [0, 1] per emotion (`emotions`, in the
    corpus's order; none has a name in `RESERVED`), then any further columns (demographics, latent
    appraisal). `clip_id` is unique, `path` relative to `root`, `split` one of `SPLITS`; what an
    adapter does not know of the other columns it leaves out or null. Shares may be null in the test
    split. `duration_s` is measured by `audio.check`, which adds `audio_checksum`. `listeners` says
    who rated: "listeners", "simulated listeners" where no person did, or more, which pictures and
    tables then say. Files outside `root` are refused unless `outside_root` is True.
    """

    name: str
    root: Path
    emotions: tuple[str, ...]
    clips: pd.DataFrame
    listeners: str = "listeners"
    outside_root: bool = False

    def save(self, folder: Path) -> None:
        """Write `clips.parquet` and `corpus.json` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "name": self.name,
            "root": str(self.root),
            "emotions": list(self.emotions),
            "listeners": self.listeners,
        } | ({"outside_root": True} if self.outside_root else {})
        write_parquet(folder / "clips.parquet", self.clips)
        write_json(folder / "corpus.json", about)

    @classmethod
    def load(cls, folder: Path) -> "Corpus":
        """Read what `save` wrote; FileNotFoundError names the notebook to run first, DamagedError
        the file that is not as it was written."""
        for name in ("clips.parquet", "corpus.json"):
            if not (folder / name).is_file():
                raise NotMadeYet(
                    f"{folder / name} is not there: run notebooks/01_data_preparation.ipynb "
                    f"with run = {folder.name!r} first"
                )
        about = read_json(folder / "corpus.json")
        about |= {"root": Path(about["root"]), "emotions": tuple(about["emotions"])}
        return cls(**about, clips=read_parquet(folder / "clips.parquet"))

    @property
    def further_columns(self) -> list[str]:
        """The columns that are neither ours nor shares."""
        known = {*COLUMNS, *self.emotions}
        return [column for column in self.clips.columns if column not in known]

    @property
    def simulated(self) -> bool:
        """True where no person listened."""
        return self.listeners.startswith("simulated")

    def path(self, clip_path: str) -> Path:
        """The file of a clip; CorpusError if it is outside the corpus folder and may not be."""
        if self.outside_root:
            return _resolved(self.root, clip_path)
        return resolve_inside(self.root, clip_path)

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split."""
        return self.clips[self.clips["split"] == name]

    def shares(self, split: str) -> np.ndarray:
        """The shares of one split, (clips, emotions)."""
        return self.split(split)[list(self.emotions)].to_numpy(float)

    def listeners_of_clips(self, split: str) -> np.ndarray:
        """How many listeners each clip of a split had, (n,); NaN where that is not known."""
        clips = self.split(split)
        if "n_raters" not in clips:
            return np.full(len(clips), np.nan)
        return clips["n_raters"].astype(float).to_numpy()

    def digest(self) -> str:
        """16 hex digits that change with the clips, their audio, splits and shares."""
        columns = ["clip_id", "split", "audio_checksum", *self.emotions]
        rows = pd.util.hash_pandas_object(self.clips[columns].astype(str), index=False)
        return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()[:16]

    def with_clips(self, clips: pd.DataFrame) -> "Corpus":
        """The same corpus with another clip table."""
        return replace(self, clips=clips)


def resolve_inside(root: Path, relative: str) -> Path:
    """`root / relative`, resolved; CorpusError if that is not inside `root`, or no path at all."""
    root, path = _resolved(root, ""), _resolved(root, relative)
    if not path.is_relative_to(root):
        raise CorpusError(
            f"the path {cut(relative)} leaves the corpus folder {root}: "
            "paths must stay inside it, links included"
        )
    return path


def _resolved(root: Path, relative: str) -> Path:
    """`root / relative`, links followed; CorpusError if that is no path at all."""
    try:
        return (root.resolve() / relative).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # too long, NUL, links in a circle
        raise CorpusError(
            f"the path {cut(relative)} leads nowhere ({cut(error, 40, quoted=False)})"
        ) from error


def cut(value: object, most: int = 80, quoted: bool = True) -> str:
    """A value for messages, at most so many characters; always quoted if it cannot be printed."""
    text = str(value)
    text = repr(text) if quoted or not text.isprintable() else text
    return text if len(text) <= most else f"{text[: most - 1]}…"
