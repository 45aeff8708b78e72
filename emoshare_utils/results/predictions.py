"""The predictions table: the systems of a run, the best of them, and one system's rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from emoshare_utils.errors import NotMadeYet
from emoshare_utils.results.enough import are_unranked
from emoshare_utils.results.metrics import rho_per_clip
from emoshare_utils.storage import read_parquet

KEY = ["encoder", "architecture", "seed"]


def read_predictions(
    file: Path, encoder: Sequence[str] | str, svr: Sequence[str] | str = ()
) -> pd.DataFrame:
    """The predictions of these feature sets' networks and SVRs, from a run's table.

    Args:
        encoder: feature sets whose networks to take.
        svr: feature sets whose SVR (the challenge's baseline, Architecture 0) to take.

    Raises:
        FileNotFoundError: there is no table, or it lacks one of them; the message has what to run.
    """
    predictions = _read(file)
    of_svr = predictions["architecture"] == 0
    parts = []
    for name, asked, rows in (
        ("encoder", encoder, predictions[~of_svr]),
        ("svr", svr, predictions[of_svr]),
    ):
        asked = np.atleast_1d(asked).tolist()
        if missing := sorted(set(asked) - set(rows["encoder"])):
            raise NotMadeYet(
                f"{file} has no predictions for {name} = {missing}: "
                f"run notebooks/03_training.ipynb with {name} = {missing} first"
            )
        parts.append(rows[rows["encoder"].isin(asked)])
    return pd.concat(parts, ignore_index=True)


def read_networks(file: Path) -> pd.DataFrame:
    """The predictions of all networks of a run's table; FileNotFoundError without a table."""
    predictions = _read(file)
    return predictions[predictions["architecture"] > 0]


def best_system(summary: pd.DataFrame) -> pd.Series | None:
    """The row with the highest mean rho of a table with one row per system.

    One whose predictions hardly vary (`enough.unranked`) is not the best. None if no other has a
    mean rho; a printed line then says why, from the column `note`.
    """
    if (best := highest(summary[~are_unranked(summary["note"])])) is None:
        why = " | ".join(filter(None, summary["note"].unique()))
        none = "none has a mean rho" if highest(summary) is None else "none has varied predictions"
        print(f"there is no best system, as {none} ({why or 'no predictions'})")
    return best


def highest(summary: pd.DataFrame) -> pd.Series | None:
    """The row with the highest mean rho, whether or not predictions vary; None if none has one."""
    known = summary.dropna(subset="mean_rho")
    return known.loc[known["mean_rho"].idxmax()] if len(known) else None


def of_system(predictions: pd.DataFrame, system: pd.Series, split: str) -> pd.DataFrame:
    """The predictions of one system (encoder, architecture, seed) on one split."""
    is_system = (predictions[KEY] == system[KEY]).all(axis=1)
    return predictions[is_system & (predictions["split"] == split)]


def per_clip(predictions: pd.DataFrame, usual: pd.Series) -> pd.DataFrame:
    """Mean rho per clip of each encoder and architecture, beside that of constant shares.

    Args:
        predictions: of one split, clips without a share left out.
        usual: a share per emotion, the same for every clip.

    Returns:
        "rho per clip" and "the same shares for every clip" by encoder and architecture.
    """
    wide = predictions.pivot(
        index=[*KEY, "clip_id"], columns="emotion", values=["share", "prediction"]
    ).dropna()
    shares, predicted = wide["share"].to_numpy(float), wide["prediction"].to_numpy(float)
    constant = np.tile(usual[wide["share"].columns].to_numpy(), (len(shares), 1))
    scores = {
        "rho per clip": rho_per_clip(shares, predicted),
        "the same shares for every clip": rho_per_clip(shares, constant),
    }
    return pd.DataFrame(scores, wide.index).groupby(["encoder", "architecture"]).mean()


def _read(file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise NotMadeYet(
            f"{file} is not there: run notebooks/03_training.ipynb with "
            f"run = {file.parent.name!r} first"
        )
    return read_parquet(file)
