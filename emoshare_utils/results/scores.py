"""Predictions -> results: every metric of every system and emotion, with intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from emoshare_utils.results.enough import FLAT, as_reason, flat, too_few, unranked
from emoshare_utils.results.metrics import (
    CONSTANT_PREDICTION,
    CONSTANT_SHARE,
    METRICS,
    mean_note,
    mean_over_emotions,
)
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
        speakers: clip_id -> speaker. Where a clip's is not known there is no interval over
            speakers. Few speakers or clips have none either (`enough`).

    Returns:
        One row per system and emotion: encoder, architecture, emotion, seed, split, n; rho with
        ci_low and ci_high over clips, ci_speakers_low and ci_speakers_high over speakers; mae;
        ccc; each metric added to METRICS, with <name>_ci_low, ...; and a note that says why rho is
        missing ("constant share", "constant prediction", "prediction is not finite"), or that
        predictions hardly vary, and why there is no interval.
        One row per system: encoder, architecture, seed, split, n, n_speakers (0: not known); the
        means over emotions mean_rho, mean_mae, ..., by the rule of `mean_over_emotions`, with the
        intervals of the mean from the same resamples; and a note that says which emotions the
        means leave out or why there is none, whose predictions hardly vary, and why there is no
        interval.
    """
    measured = []
    for group in group_by_clips(predictions, emotions, speakers):
        samples = {
            name: group.resampled(resamples, metric.function)
            for name, metric in METRICS.items()
            if metric.interval
        }
        rows = [_emotions(group, number, samples) for number in range(len(group.systems))]
        measured.append((group, samples, rows))
    key = ["encoder", "architecture", "emotion", "seed", "split", "n"]
    per_emotion = [row for *_, systems in measured for rows in systems for row in rows]
    results = pd.DataFrame(per_emotion, columns=[*key, *_columns(), "note"])
    per_system = []
    for group, samples, systems in measured:
        kept = emotions_in_means(results[results["split"] == group.split], emotions)
        for number, rows in enumerate(systems):
            about = _about(group, number) | {"n_speakers": group.n_speakers}
            means = _means(group, number, rows, samples, kept)
            note = _note(rows, emotions, kept, np.isfinite(means["mean_rho"]))
            few = too_few(len(group.shares), group.n_speakers)
            note = "; ".join(filter(None, [note, few]))
            per_system.append(about | means | {"note": note})
    columns = [*SYSTEM, "n", "n_speakers", *_columns("mean_"), "note"]
    return results, pd.DataFrame(per_system, columns=columns)


def emotions_in_means(results: pd.DataFrame, emotions: Sequence[str]) -> list[str]:
    """The emotions that means are over in the results of one split.

    Left out are those without a result, and those whose share is constant: see
    `metrics.mean_over_emotions`.
    """
    constant = results.loc[results["note"] == CONSTANT_SHARE, "emotion"]
    found = {*results["emotion"]} - {*constant}
    return [emotion for emotion in emotions if emotion in found]


def _about(group: SharedClips, number: int) -> dict[str, object]:
    return dict(zip(SYSTEM, group.systems[number])) | {"n": len(group.shares)}


def _means(
    group: SharedClips, number: int, rows: list[dict], samples: Samples, kept: list[str]
) -> dict[str, float]:
    """Return one system's means over the emotions `kept`, and their intervals."""
    left_out = ~np.isin(group.emotions, kept)
    lacking = not set(kept) <= set(group.emotions)  # which other systems have
    means = {}
    for name in METRICS:
        mean = mean_over_emotions([row[name] for row in rows], left_out)
        means[f"mean_{name}"] = np.nan if lacking else float(mean)
        if name in samples:
            each = [mean_over_emotions(one[:, number], left_out) for one in samples[name]]
            means |= _bounds(group, name, [one * np.nan for one in each] if lacking else each)
    return means


def _note(rows: list[dict], emotions: Sequence[str], kept: list[str], mean: bool) -> str:
    """Say which emotions one system's means leave out or why it has none, and which are flat."""
    reasons = {row["emotion"]: row["reason"] for row in rows}
    why: dict[str, list[str]] = {}
    for emotion in emotions:
        if reason := reasons.get(emotion, "no result"):
            reason, name = as_reason(emotion, reason)
            why.setdefault(reason, []).append(name)
    said = mean_note(why, len(emotions) - len(kept), len(emotions), mean)
    return "; ".join(filter(None, [said, unranked(len(why.get(FLAT, ())), len(kept))]))


def _emotions(group: SharedClips, number: int, samples: Samples) -> list[dict[str, object]]:
    """Return the metrics of one system, a row per emotion."""
    rows, about = [], _about(group, number)
    few = too_few(len(group.shares), group.n_speakers)
    for column, emotion in enumerate(group.emotions):
        shares, predicted = group.shares[:, column], group.predictions[number][:, column]
        row = {name: metric.function(shares, predicted) for name, metric in METRICS.items()}
        for name, values in samples.items():
            row |= _bounds(group, name, [each[:, number, column] for each in values])
        defined = np.isfinite(row["rho"])
        reason = flat(shares, predicted) if defined else why_undefined(shares, predicted)
        note = "; ".join(filter(None, [reason, few])) if defined else reason
        rows.append(about | {"emotion": emotion, "reason": reason, "note": note} | row)
    return rows


def _bounds(group: SharedClips, metric: str, values: Sequence[np.ndarray]) -> dict[str, float]:
    return dict(zip(bound_columns(metric), group.intervals(values).values()))


def _columns(prefix: str = "") -> list[str]:
    columns = []
    for name, metric in METRICS.items():
        columns += [prefix + name, *(bound_columns(name) if metric.interval else ())]
    return columns


def why_undefined(shares: np.ndarray, predicted: np.ndarray) -> str:
    """Say why rho of shares and predictions, both (n,), is undefined."""
    if np.ptp(shares) == 0:
        return CONSTANT_SHARE
    return CONSTANT_PREDICTION if np.isfinite(predicted).all() else "prediction is not finite"
