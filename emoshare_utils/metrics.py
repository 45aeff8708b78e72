"""Spearman's rho, how sure it is, and the tables of results."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import stats

CONFIDENCE = 0.95
CONSTANT = "constant prediction"
_CHUNK = 80_000  # resampled values at once: more would leave a processor's own cache


def spearman(share: np.ndarray, prediction: np.ndarray) -> float:
    """Spearman's rho, ties by mean rank; NaN where either side is constant or n < 2."""
    if len(share) < 2 or np.ptp(share) == 0 or np.ptp(prediction) == 0:
        return float("nan")
    return float(stats.spearmanr(share, prediction).statistic)


def bootstrap(
    shares: np.ndarray,
    predictions: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
    speakers: Sequence[str] | None = None,
) -> np.ndarray:
    """rho in bootstrap resamples of the clips, or of the speakers with all their clips.

    All systems and emotions meet the same resamples, so that their differences are paired. A
    resample is a count c_i for each clip, and nothing is sorted again. With C_i the clips up to
    and including clip i in the order of the values, the rank of clip i is C_i - (c_i - 1) / 2;
    with r_i its rank by share, m the mean rank, and c_g the counts summed over clips with equal
    values,

        rho = sum_i c_i (r_i - m) (C_i - c_i / 2) / sqrt(V_share V_prediction),
        V = (n^3 - sum_g c_g^3) / 12.

    Args:
        shares: (n, E), of E emotions.
        predictions: (S, n, E), of S systems.
        resamples: how many.
        seed: resample i is drawn from `default_rng([seed, i])`, whatever was drawn before.
        speakers: (n,); None: the clips are resampled.

    Returns:
        (resamples, S, E); NaN where either side of a resample is constant.
    """
    units = np.arange(len(shares))
    if speakers is not None:
        units = np.unique(speakers, return_inverse=True)[1]
    ordered = [_ordered(share) for share in shares.T]
    predicted = [[_ordered(values) for values in system.T] for system in predictions]

    def rhos(chunk: range) -> np.ndarray:
        counts = np.stack([_count(units.max() + 1, seed, number) for number in chunk])[:, units]
        columns = [_rhos(counts, *column) for column in zip(ordered, zip(*predicted))]
        return np.stack(columns, axis=2)

    step = max(1, _CHUNK // len(units))
    chunks = [range(i, min(i + step, resamples)) for i in range(0, resamples, step)]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        found = np.concatenate(list(pool.map(rhos, chunks)))
    found[:, ~np.isfinite(predictions).all(axis=1)] = np.nan
    return found


def interval(
    values: np.ndarray, units: int | None = None, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The central interval that holds `confidence` of the resampled `values`.

    Few units (clips, speakers) vary less in resamples than in truth. Given their number, the
    interval is widened as Student's t is against the normal distribution (the expanded percentile
    interval of Hesterberg 2015, doi:10.1080/00031305.2015.1089789): by 29 % with 8, 2 % with 100.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    if units is not None and units > 1:
        tail = stats.norm.cdf(np.sqrt(units / (units - 1)) * stats.t.ppf(tail, units - 1))
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def ccc(share: np.ndarray, prediction: np.ndarray) -> float:
    """Lin's concordance correlation coefficient; NaN where both are the same constant.

    Unlike rho it falls when predictions are too low, too high or too close together.
    """
    offset = share.mean() - prediction.mean()
    spread = share.var() + prediction.var() + offset**2
    covariance = ((share - share.mean()) * (prediction - prediction.mean())).mean()
    return float(2 * covariance / spread) if spread else float("nan")


def rho_per_clip(shares: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Spearman's rho across the emotions of each clip, (n, E) and (n, E) -> (n,).

    Another quantity than rho per emotion across clips: it asks which emotions a clip has most of,
    and does well by knowing which are common everywhere. NaN where either side is constant.
    """
    x, y = (stats.rankdata(values, axis=1) for values in (shares, predictions))
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (x, y))
    spread = (x**2).sum(axis=1) * (y**2).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(spread > 0, (x * y).sum(axis=1) / np.sqrt(spread), np.nan)


SYSTEM = ["encoder", "architecture", "seed", "split"]
MEASURES = ("rho", "mae", "ccc")
BOUNDS = ("ci_low", "ci_high", "ci_speakers_low", "ci_speakers_high")
COMPARED = ["contrast", "split", "n", "n_speakers", "seeds", "difference", *BOUNDS, "sign"]


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


def compare(
    predictions: pd.DataFrame,
    emotions: Sequence[str],
    contrasts: Mapping[str, Mapping[tuple[str, int], float]],
    split: str = "devel",
    resamples: int = 1000,
    speakers: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Paired differences of systems in mean rho, the mean over seeds.

    All systems meet the same resamples, so that what makes some clips hard for every system does
    not count: intervals of two systems may overlap where that of their difference leaves out 0.
    The intervals hold for other clips or speakers, not for networks trained anew.

    Args:
        predictions, emotions, resamples, speakers: as in `results`.
        contrasts: a name -> the weight of each (encoder, architecture) in it: a minus b is
            {a: 1, b: -1}, and a difference between two differences has four weights.
        split: the split to compare on.

    Returns:
        One row a contrast: contrast, split, n, n_speakers, seeds (the fewest of its systems),
        difference, ci_low, ci_high, ci_speakers_low, ci_speakers_high, and sign: 1 where
        the intervals lie above 0, -1 where they lie below, 0 where the data leave it open.

    Raises:
        ValueError: a contrast names a system without predictions, or systems do not predict the
            same clips.
    """
    rows = predictions[predictions["split"] == split]
    found = set(zip(rows["encoder"], rows["architecture"]))
    needed = {system: contrast for contrast, weights in contrasts.items() for system in weights}
    if missing := sorted(needed.keys() - found):
        raise ValueError(
            f"contrast {needed[missing[0]]!r}: no {split} predictions of {missing[0]}: expected "
            f"some of {', '.join(map(str, sorted(found)))}"
        )
    if not contrasts:
        return pd.DataFrame(columns=COMPARED).astype(dict.fromkeys(COMPARED[4:], float))
    used = [system in needed for system in zip(rows["encoder"], rows["architecture"])]
    alike = list(_alike(rows[used], emotions, speakers))
    if len(alike) != 1:
        raise ValueError(
            f"{split}: {len(alike)} sets of clips with a share: expected one that all systems "
            "predict; run notebooks/03_training.ipynb anew for the systems that differ"
        )
    return _compare(alike[0], contrasts, split, resamples)


def _compare(
    alike: "_Alike",
    contrasts: Mapping[str, Mapping[tuple[str, int], float]],
    split: str,
    resamples: int,
) -> pd.DataFrame:
    mean_rho = np.array(
        [np.mean(list(map(spearman, alike.shares.T, one.T))) for one in alike.predictions]
    )
    samples = [sample.mean(axis=2) for sample in alike.resampled(resamples)]
    names = [system[:2] for system in alike.systems]
    table = []
    for contrast, weights in contrasts.items():
        weight = np.array([weights.get(name, 0) / names.count(name) for name in names])
        used = weight != 0  # a system without rho leaves the others theirs
        row = {"contrast": contrast, "split": split, "n": len(alike.shares)}
        row |= {"n_speakers": alike.n_speakers, "seeds": min(map(names.count, weights))}
        row |= {"difference": mean_rho[used] @ weight[used]}
        row |= alike.intervals([sample[:, used] @ weight[used] for sample in samples])
        low = np.fmin(row["ci_low"], row["ci_speakers_low"])  # the wider end of those known
        high = np.fmax(row["ci_high"], row["ci_speakers_high"])
        table.append(row | {"sign": int(low > 0) - int(high < 0)})
    return pd.DataFrame(table, columns=COMPARED)


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


class _Ordered(NamedTuple):
    order: np.ndarray  # (n,), the clips by ascending value
    tied: np.ndarray  # (T,), the places among them whose value is not alone
    starts: np.ndarray  # (G,), where each such value begins among `tied`


def _ordered(values: np.ndarray) -> _Ordered:
    order = np.argsort(values, kind="stable")
    as_before = np.diff(values[order], prepend=np.nan) == 0
    tied = np.flatnonzero(as_before | np.append(as_before[1:], False))
    return _Ordered(order, tied, np.flatnonzero(~as_before[tied]))


def _count(units: int, seed: int, number: int) -> np.ndarray:
    """How often each unit is in this resample, (units,)."""
    drawn = np.random.default_rng([seed, number]).integers(0, units, units)
    return np.bincount(drawn, minlength=units).astype(float)


def _rhos(counts: np.ndarray, share: _Ordered, predictions: Sequence[_Ordered]) -> np.ndarray:
    """rho of each resample and system: counts (B, n) -> (B, S), as `bootstrap` derives it."""
    size = counts.sum(axis=1, keepdims=True)
    untied = size[:, 0] ** 3 - _cubes(counts)
    ranks, spread_share = _ranks(counts, share, untied)
    weights = np.empty_like(counts)
    weights[:, share.order] = ranks - size / 2
    weights *= counts
    rhos = np.empty((len(counts), len(predictions)))
    for place, prediction in enumerate(predictions):
        ranks, spread = _ranks(counts, prediction, untied)
        covariance = np.vecdot(np.take(weights, prediction.order, axis=1), ranks)
        with np.errstate(invalid="ignore"):
            rhos[:, place] = 12 * covariance / np.sqrt(spread_share * spread)  # 0 / 0 is NaN
    return rhos


def _ranks(counts: np.ndarray, by: _Ordered, untied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each clip's rank less one half, (B, n) by ascending value; and 12 V, (B,).

    `untied` is 12 V of values that are all distinct.
    """
    counts = np.take(counts, by.order, axis=1)
    # NumPy's cumulative sum takes about five times as long.
    ranks = torch.from_numpy(counts).cumsum(1).numpy()
    before = ranks[:, by.tied[by.starts]] - counts[:, by.tied[by.starts]]
    ranks -= 0.5 * counts
    if not len(by.tied):
        return ranks, untied
    alone = counts[:, by.tied]
    together = np.add.reduceat(alone, by.starts, axis=1)
    members = np.diff(by.starts, append=len(by.tied))
    ranks[:, by.tied] = np.repeat(before + together / 2, members, axis=1)
    return ranks, untied + _cubes(alone) - _cubes(together)


def _cubes(counts: np.ndarray) -> np.ndarray:
    return np.vecdot(counts * counts, counts)
