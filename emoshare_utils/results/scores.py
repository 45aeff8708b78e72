"""Predictions -> results: every metric of every system and emotion, with intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from emoshare_utils.results.metrics import METRICS
from emoshare_utils.results.shared_clips import (
    SYSTEM,
    SharedClips,
    bound_columns,
    group_by_clips,
)

Samples = dict[str, list[np.ndarray]]  # metric -> its values over clips and over speakers


def score(
    predictions: pd.DataFrame,
    emotions: Sequence[str],
    resamples: int = 1000,
    speakers: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute every metric in METRICS, and 95 % bootstrap intervals, from predictions.

    Clips without a share (a masked test split) do not count. The interval over clips is for other
    clips of the same speakers. A speaker's clips are alike; the one over speakers is for other
    speakers.

    Args:
        predictions: encoder, architecture, emotion, seed, split, clip_id, share, prediction.
        emotions: the corpus's emotions, in its order.
        resamples: of the clips, and of the speakers.
        speakers: clip_id -> speaker. Where a clip's is not known, or there is only one speaker,
            there is no interval over speakers.

    Returns:
        One row per system and emotion: encoder, architecture, emotion, seed, split, n; rho with
        ci_low and ci_high over clips, ci_speakers_low and ci_speakers_high over speakers; mae;
        ccc; each metric added to METRICS, with <name>_ci_low, ...; and a note that says why rho is
        missing (constant prediction).
        One row per system: encoder, architecture, seed, split, n, n_speakers (0: not known), and
        the means over emotions mean_rho, mean_mae, ..., with the intervals of the mean from the
        same resamples; missing if any emotion's is.
    """
    per_emotion, per_system = [], []
    for group in group_by_clips(predictions, emotions, speakers):
        samples = {
            name: group.resampled(resamples, metric.function)
            for name, metric in METRICS.items()
            if metric.interval
        }
        for number, system in enumerate(group.systems):
            about = dict(zip(SYSTEM, system)) | {"n": len(group.shares)}
            rows = [about | row for row in _emotions(group, number, samples)]
            means = {f"mean_{name}": np.mean([row[name] for row in rows]) for name in METRICS}
            for name, values in samples.items():
                means |= _bounds(group, name, [each[:, number].mean(axis=1) for each in values])
            per_emotion += rows
            per_system.append(about | {"n_speakers": group.n_speakers} | means)
    key = ["encoder", "architecture", "emotion", "seed", "split", "n"]
    return (
        pd.DataFrame(per_emotion, columns=[*key, *_columns(), "note"]),
        pd.DataFrame(per_system, columns=[*SYSTEM, "n", "n_speakers", *_columns("mean_")]),
    )


def _emotions(group: SharedClips, number: int, samples: Samples) -> list[dict[str, object]]:
    """Return the metrics of one system, a row per emotion."""
    rows = []
    for column, emotion in enumerate(group.emotions):
        shares, predicted = group.shares[:, column], group.predictions[number][:, column]
        row = {name: metric.function(shares, predicted) for name, metric in METRICS.items()}
        for name, values in samples.items():
            row |= _bounds(group, name, [each[:, number, column] for each in values])
        note = "" if np.isfinite(row["rho"]) else _why_undefined(predicted)
        rows.append({"emotion": emotion, "note": note} | row)
    return rows


def _bounds(group: SharedClips, metric: str, values: Sequence[np.ndarray]) -> dict[str, float]:
    return dict(zip(bound_columns(metric), group.intervals(values).values()))


def _columns(prefix: str = "") -> list[str]:
    columns = []
    for name, metric in METRICS.items():
        columns += [prefix + name, *(bound_columns(name) if metric.interval else ())]
    return columns


def _why_undefined(predicted: np.ndarray) -> str:
    if not np.isfinite(predicted).all():
        return "prediction is not finite"
    return "constant prediction" if np.ptp(predicted) == 0 else "constant share"
