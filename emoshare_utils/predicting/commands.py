"""`python -m emoshare_utils predict` and `export`."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from emoshare_utils.corpora.audio import SAMPLE_RATE, read_audio
from emoshare_utils.files import slug, writing
from emoshare_utils.predicting import export as exporting
from emoshare_utils.predicting import picture as pictures
from emoshare_utils.predicting.listing import recordings
from emoshare_utils.predicting.table import predict_files
from emoshare_utils.predicting.trained import TrainedSystem, load_system

MOST_PICTURES = 20
MOST_SHOWN = 30  # rows of the table on the screen


def predict(
    paths: Sequence[str],
    system: str | None = None,
    csv: str | None = None,
    picture: bool = False,
) -> bool:
    """Predict the shares of recordings; print them, and write what is asked for.

    Args:
        paths: audio files, and folders that are searched with all below.
        system: a folder that `export` wrote; None: the one that ships.
        csv: the table's file; interrupted, the same command resumes.
        picture: draw the first `MOST_PICTURES` recordings, as PNG.

    Returns:
        Whether any recording could be read.
    """
    trained = load_system(system)
    files = recordings(paths)
    table = predict_files(files, trained, Path(csv) if csv else None)
    good, bad = table[table["problem"] == ""], table[table["problem"] != ""]
    for path, problem in zip(bad["path"], bad["problem"]):
        print(f"set aside: {path}: {problem}")
    _show(good, trained)
    if csv:
        print(f"{csv}: {len(table):,} rows")
    if picture and len(good):
        first = good.head(MOST_PICTURES)
        _draw([files[place] for place in first.index], first, trained, Path(csv or "predicted"))
    return len(good) > 0


def _show(good: pd.DataFrame, system: TrainedSystem) -> None:
    emotions, cut = list(system.emotions), good["windows"] > 1
    if cut.any():
        seconds = system.longest / SAMPLE_RATE
        print(
            f"longer than any clip of training ({seconds:.1f} s), so read in windows of that "
            f"length whose shares are averaged: {cut.sum():,} of {len(good):,}"
        )
    if len(good) == 1:
        print(_of_one(good.iloc[0], emotions).round(2).to_string(index=False))
    elif len(good):
        print(good.head(MOST_SHOWN)[["path", *emotions]].round(2).to_string(index=False))
        if len(good) > MOST_SHOWN:
            print(f"… and {len(good) - MOST_SHOWN:,} more; --csv FILE writes all")
    if len(good) and not system.interval.quantiles:
        print("no intervals: the system had too few clips or speakers to calibrate them")


def _of_one(row: pd.Series, emotions: Sequence[str]) -> pd.DataFrame:
    """A row of the table as `emoshare_utils.predict` returns it."""
    ends = {"share": "", "low": "_low", "high": "_high"}
    bounds = {name: [row[f"{emotion}{end}"] for emotion in emotions] for name, end in ends.items()}
    return pd.DataFrame({"emotion": emotions, **bounds})


def _draw(files: Sequence[Path], rows: pd.DataFrame, system: TrainedSystem, beside: Path) -> None:
    folder = beside.with_name(f"{beside.stem}_pictures")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for number, (file, (_, row)) in enumerate(zip(files, rows.iterrows()), 1):
        figure = pictures.draw(
            read_audio(file), _of_one(row, system.emotions), Path(row["path"]).name
        )
        pictures.save(figure, folder / f"{number:02d}-{slug(Path(row['path']).stem)}.png")
    print(f"{folder}: {len(files)} pictures")


def export(run: str, encoder: str, architecture: int, seed: int, to: str) -> None:
    """Write a trained system of a run as a folder that works on another machine."""
    trained = exporting.export(run, to, encoder, architecture, seed)
    print(trained.card)
    print(f"{to}: use it with `python -m emoshare_utils predict PATH --system {to}`")
