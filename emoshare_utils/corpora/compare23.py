"""Emotion Share, ACM Multimedia 2023 ComParE: `wav/*.wav` and `lab/{train,devel,test}.csv`."""

import os
from pathlib import Path

import pandas as pd

from emoshare_utils.corpora.clip_table import PAPER_EMOTIONS, SPLITS, Corpus
from emoshare_utils.corpora.reading import numeric_shares, read_table, require_columns

NAME = "compare23"
LAYOUT = "wav/, lab/train.csv, lab/devel.csv and lab/test.csv"
AUDIO = "wav"


def read(root: Path) -> tuple[Corpus, Path]:
    """Read the challenge's clips.

    `root` is the folder of `wav/` and `lab/`, or the one above it. The challenge gives neither
    speakers nor the number of raters, and masks the test shares, which are null then;
    `lab/test.unmasked.csv` takes the place of `lab/test.csv` if it is there.

    Raises:
        CorpusError: a label file or a column is missing, or a share is no number in [0, 1], or
            null in train or devel.
    """
    root = (root / "data" if (root / "data" / "lab").is_dir() else root).resolve()
    clips = pd.concat([_read_split(root, split) for split in SPLITS], ignore_index=True)
    return Corpus(NAME, root, PAPER_EMOTIONS, clips), root / "lab"


def submission(predictions: pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
    """One system's predictions in the challenge's format: filename, then the emotions."""
    wide = predictions.pivot(index="clip_id", columns="emotion", values="prediction")
    clips = corpus.clips[corpus.clips["clip_id"].isin(wide.index)]
    names = clips["path"].map(lambda path: Path(path).name).rename("filename")
    shares = wide.loc[clips["clip_id"], list(corpus.emotions)].set_axis(clips.index)
    return pd.concat([names, shares], axis=1).reset_index(drop=True)


def _read_split(root: Path, split: str) -> pd.DataFrame:
    file = root / "lab" / f"{split}.csv"
    unmasked = root / "lab" / f"{split}.unmasked.csv"
    if split == "test" and unmasked.is_file():
        file = unmasked
    labels = read_table(file, ["filename"], LAYOUT)
    if file.name == "test.csv" and labels.columns.isin(PAPER_EMOTIONS).sum() == 0:
        labels = labels.assign(**dict.fromkeys(PAPER_EMOTIONS, ""))  # masked: no columns at all
    require_columns(labels, ["filename", *PAPER_EMOTIONS], file)
    clips = pd.DataFrame(
        {
            "clip_id": labels["filename"].map(lambda name: Path(name).stem),
            "path": labels["filename"].map(lambda name: os.path.normpath(f"{AUDIO}/{name}")),
            "split": split,
        }
    )
    masked = [split == "test"] * len(labels)
    return clips.join(numeric_shares(labels[list(PAPER_EMOTIONS)], masked, file))
