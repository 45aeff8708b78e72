"""The clip table: one row a clip, whichever corpus it came from."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

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


def read_table(file: Path, columns: list[str], layout: str, **options) -> pd.DataFrame:
    """A label file, CSV or .parquet.

    Args:
        columns: what it must have; the first names the row and is never blank.
        layout: what the corpus folder should hold, for messages.
        options: for `pandas.read_csv`.

    Raises:
        CorpusError: it is not there, is no table, lacks a column, or a row has no name.
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
    """CorpusError, naming the file and the columns, unless `table` has all of `columns`."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise CorpusError(
            f"{file} has no column {_listed(missing)}: expected {_listed(columns)}, "
            f"found {_listed(list(table.columns))}"
        )


def numeric_shares(table: pd.DataFrame, emotions: list[str], file: Path) -> pd.DataFrame:
    """The share columns as numbers, "?" and blanks as null; CorpusError on anything else."""
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
    """A split a clip such that no speaker is in two: a seeded draw over the speakers."""
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


def validate(
    corpus: Corpus, audio: set[str], source: Path, allow_missing: bool = False
) -> tuple[Corpus, pd.DataFrame]:
    """Check a clip table against its audio files.

    Shares outside [0, 1], or missing in train or devel, unknown splits and paths that leave the
    corpus folder are always refused. Duplicate clips, speakers in two splits, labels without
    audio and audio without a label are refused too, unless `allow_missing`, which drops as few
    clips as mends the table and records each with its reason.

    Args:
        corpus: the clip table as its adapter read it.
        audio: the audio files that lie in the corpus folder, relative to it.
        source: the label file, for messages.

    Returns:
        The corpus without the dropped clips, and those: clip_id, path, reason.

    Raises:
        CorpusError: with what is wrong, how often, and the first five clips.
    """
    clips = corpus.clips
    _check_splits(clips, source)
    _check_shares(clips, corpus.emotions, source)
    for path in clips["path"]:
        corpus.path(path)

    dropped = []
    for reason, find in _FAULTS.items():
        faulty = find(clips, audio)
        if len(faulty) and not allow_missing:
            raise CorpusError(
                f"{source}: {reason}, {len(faulty)} found: {_listed(list(faulty['clip_id']))}. "
                "Mend the corpus, or set allow_missing to drop and record them"
            )
        dropped.append(faulty[["clip_id", "path"]].assign(reason=reason))
        clips = clips.drop(faulty.index, errors="ignore")
    _check_splits(clips, f"{source}, faulty clips dropped")
    dropped = pd.concat(dropped, ignore_index=True)
    return corpus.with_clips(clips.reset_index(drop=True)), dropped


def limit_rejected(rejected: pd.DataFrame, n_clips: int, limit: float, record: Path) -> None:
    """CorpusError if more than the fraction `limit` of `n_clips` clips had to be set aside."""
    if n_clips == 0 or len(rejected) > limit * n_clips:
        reasons = rejected["reason"].value_counts().head(5)
        raise CorpusError(
            f"{len(rejected)} of {n_clips} clips were set aside, more than "
            f"max_rejected = {limit:g} allows; see {record}. Most often: "
            + "; ".join(f"{reason} ({count})" for reason, count in reasons.items())
        )


def _check_splits(clips: pd.DataFrame, source: Path | str) -> None:
    strange = clips[~clips["split"].isin(SPLITS)]
    if len(strange):
        raise CorpusError(
            f"{source}: the split of {_listed(list(strange['clip_id']))} is "
            f"{_listed(sorted(set(strange['split'].astype(str))))}: expected {_listed(SPLITS)}"
        )
    absent = [split for split in ("train", "devel") if split not in set(clips["split"])]
    if absent:
        raise CorpusError(f"{source}: no clip is in {_listed(absent)}: train and devel are needed")


def _check_shares(clips: pd.DataFrame, emotions: tuple[str, ...], source: Path) -> None:
    shares = clips[list(emotions)]
    outside = (shares < 0) | (shares > 1)
    missing = shares.isna() & clips["split"].isin(["train", "devel"]).to_numpy()[:, None]
    for fault, what in ((outside, "outside [0, 1]"), (missing, "missing in train or devel")):
        if fault.to_numpy().any():
            columns = list(shares.columns[fault.any()])
            rows = clips["clip_id"][fault.any(axis=1)]
            raise CorpusError(
                f"{source}: shares {what} in {_listed(columns)}, {len(rows)} clips: "
                f"{_listed(list(rows))}. A share is the fraction of listeners, from 0 to 1 "
                "(in your own table, name the share columns with shares)"
            )


def _duplicates(clips: pd.DataFrame, audio: set[str]) -> pd.DataFrame:
    """The later rows of a clip that stands more than once."""
    return clips[clips.duplicated("clip_id") | clips.duplicated("path")]


def _shared_speakers(clips: pd.DataFrame, audio: set[str]) -> pd.DataFrame:
    """The clips of a speaker outside the split that holds most of that speaker's clips."""
    known = clips[clips["speaker"].notna()]
    counts = known.groupby(["speaker", "split"]).size().unstack(fill_value=0)
    home = known["speaker"].map(counts.idxmax(axis=1)) if len(known) else known["split"]
    return known[known["split"] != home]


def _without_audio(clips: pd.DataFrame, audio: set[str]) -> pd.DataFrame:
    return clips[~clips["path"].isin(audio)]


def _without_label(clips: pd.DataFrame, audio: set[str]) -> pd.DataFrame:
    paths = sorted(audio - set(clips["path"]))
    index = range(-len(paths), 0)  # no row of the table has these
    ids = [PurePosixPath(path).stem for path in paths]
    return pd.DataFrame({"clip_id": ids, "path": paths}, index=index)


_FAULTS = {  # in this order: what one drops is no fault of the next
    "label without audio": _without_audio,
    "audio without label": _without_label,
    "duplicate clip": _duplicates,
    "speaker in two splits": _shared_speakers,
}


def _listed(values: list, most: int = 5) -> str:
    """The first few values and how many more there are."""
    values = [str(value) for value in values]
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(values[:most]) + more
