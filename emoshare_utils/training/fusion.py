"""Late fusion: several feature sets, each with networks of its own, whose shares are averaged."""

from collections.abc import Sequence

import pandas as pd

from emoshare_utils.names import members
from emoshare_utils.training.predictions import PREDICTION_COLUMNS


def with_fusions(predictions: pd.DataFrame, encoders: Sequence[str]) -> pd.DataFrame:
    """Add the systems of those of `encoders` that name several feature sets, "fbank + mfcc".

    Each averages the shares that its members' networks predict, of one architecture and seed: where
    one of them has no such networks, there is no such system.

    Args:
        predictions: of all systems, with PREDICTION_COLUMNS.
    """
    tables = [predictions]
    for name in encoders:
        if len(parts := members(name)) < 2:
            continue
        is_member = predictions["encoder"].isin(parts) & (predictions["architecture"] > 0)
        key = [column for column in PREDICTION_COLUMNS if column not in ("encoder", "prediction")]
        rows = predictions[is_member].groupby(key, sort=False, dropna=False)["prediction"]
        fused = rows.agg(["mean", "size"]).reset_index()
        fused = fused[fused["size"] == len(set(parts))].rename(columns={"mean": "prediction"})
        tables.append(fused.assign(encoder=name)[PREDICTION_COLUMNS])
    return pd.concat(tables, ignore_index=True)
