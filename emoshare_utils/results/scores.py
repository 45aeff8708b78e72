"""Predictions -> results: every metric of every system and emotion."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from emoshare_utils.results.bootstrap import bootstrap, interval
from emoshare_utils.results.metrics import CONSTANT, ccc, spearman

SYSTEM = ["encoder", "architecture", "seed", "split"]
MEASURES = ("rho", "mae", "ccc")
BOUNDS = ("ci_low", "ci_high", "ci_speakers_low", "ci_speakers_high")


def results(
    predictions: pd.DataFrame,
    emotions: Sequence[str],
    resamples: int = 1000,
    speakers: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """rho with its 95 % bootstrap intervals, MAE and CCC, from a table of predictions.

    Clips without a share (a masked test split) do not count. The clips of one speaker are alike:
    the interval over clips is for other clips of these speakers, the one over speakers for other
    speakers.

    Args:
        predictions: encoder, architecture, emotion, seed, split, clip_id, share, prediction.
        emotions: the corpus's emotions, in its order.
        resamples: of the clips, and of the speakers.
        speakers: clip_id -> speaker. Where a clip's is not given, or only one is there, there is
            no interval over speakers.

    Returns:
        One row an emotion: encoder, architecture, emotion, seed, split, n, rho, ci_low and
        ci_high over clips, ci_speakers_low and ci_speakers_high over speakers, mae, ccc, note; a
        constant prediction has no rho and says so in its note.
        One row a system: encoder, architecture, seed, split, n, n_speakers (0: not known), and
        the means over emotions mean_rho with its intervals from the same resamples, mean_mae and
        mean_ccc; missing if any emotion's is.
    """
    per_emotion, per_system = [], []
    for alike in _alike(predictions, emotions, speakers):
        samples = alike.resampled(resamples)
        for place, system in enumerate(alike.systems):
            about = dict(zip(SYSTEM, system)) | {"n": len(alike.shares)}
            rows = []
            for column, emotion in enumerate(alike.emotions):
                share, prediction = alike.shares[:, column], alike.predictions[place][:, column]
                row = about | {"emotion": emotion, "rho": spearman(share, prediction)}
                row |= alike.intervals([sample[:, place, column] for sample in samples])
                row |= {"mae": np.abs(share - prediction).mean(), "ccc": ccc(share, prediction)}
                row["note"] = "" if np.isfinite(row["rho"]) else _why_undefined(prediction)
                rows.append(row)
            means = {f"mean_{key}": np.mean([row[key] for row in rows]) for key in MEASURES}
            means |= alike.intervals([sample[:, place].mean(axis=1) for sample in samples])
            per_emotion += rows
            per_system.append(about | {"n_speakers": alike.n_speakers} | means)
    order = ["encoder", "architecture", "emotion", "seed", "split", "n"]
    means = ["mean_rho", *BOUNDS, "mean_mae", "mean_ccc"]
    return (
        pd.DataFrame(per_emotion, columns=[*order, "rho", *BOUNDS, "mae", "ccc", "note"]),
        pd.DataFrame(per_system, columns=[*SYSTEM, "n", "n_speakers", *means]),
    )


class _Alike(NamedTuple):
    """Systems that predict the same clips and emotions."""

    systems: list[tuple]  # (encoder, architecture, seed, split) of each
    emotions: tuple[str, ...]
    shares: np.ndarray  # (n, E)
    predictions: np.ndarray  # (S, n, E)
    speakers: np.ndarray | None  # (n,)

    @property
    def n_speakers(self) -> int:
        return 0 if self.speakers is None else len(set(self.speakers))

    def resampled(self, resamples: int) -> list[np.ndarray]:
        """rho over clips and, where there are several, over speakers: (resamples, S, E) each."""
        samples = [bootstrap(self.shares, self.predictions, resamples)]
        if self.n_speakers > 1:
            over = {"speakers": self.speakers}
            samples.append(bootstrap(self.shares, self.predictions, resamples, **over))
        return samples

    def intervals(self, samples: Sequence[np.ndarray]) -> dict[str, float]:
        """The bounds over clips, then those over speakers; NaN for what was not resampled."""
        units = (len(self.shares), self.n_speakers)
        bounds = [bound for pair in zip(samples, units) for bound in interval(*pair)]
        return dict(zip(BOUNDS, [*bounds, float("nan"), float("nan")]))


def _alike(
    predictions: pd.DataFrame, emotions: Sequence[str], speakers: Mapping[str, str] | None
) -> Iterator[_Alike]:
    groups: dict[tuple, list] = {}
    known = predictions[predictions["share"].notna()]
    for system, rows in known.groupby(SYSTEM, sort=False):
        wide = rows.pivot(index="clip_id", columns="emotion", values=["share", "prediction"])
        wide = wide[wide["share"].notna().all(axis=1)]
        present = [emotion for emotion in emotions if emotion in wide["share"].columns]
        shares = wide["share"][present].to_numpy(float)
        key = (system[-1], tuple(present), tuple(wide.index), shares.tobytes())
        groups.setdefault(key, []).append((system, wide["prediction"][present].to_numpy(float)))
    for (_, present, clips, shares), members in groups.items():
        systems, predicted = zip(*members)
        spoken = pd.Series(clips).map(dict(speakers)) if speakers is not None else None
        spoken = None if spoken is None or spoken.isna().any() else spoken.to_numpy()
        shares = np.frombuffer(shares).reshape(len(clips), len(present))
        yield _Alike(list(systems), present, shares, np.stack(predicted), spoken)


def _why_undefined(prediction: np.ndarray) -> str:
    if not np.isfinite(prediction).all():
        return "prediction is not finite"
    return CONSTANT if np.ptp(prediction) == 0 else "constant share"
