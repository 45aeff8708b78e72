"""Scores of predicted shares as distributions, and losses compared by them (notebook 12).

Beside rho per emotion, what neighbouring work reports: the negative log-likelihood of votes that no
network saw, the Jensen-Shannon divergence and the cosine between the clip's predicted and observed
shares, and macro-F1 at EMO-SUPERB's threshold (arXiv 2402.13018).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from sklearn.metrics import f1_score

from emoshare_utils.results.bootstrap import bootstrap, joint_interval, times_drawn
from emoshare_utils.results.enough import too_few
from emoshare_utils.results.metrics import constant_shares, mean_over_emotions, rhos
from emoshare_utils.results.shared_clips import SharedClips, group_by_clips

CERTAIN = 1e-3  # a predicted share is taken as at least this far from 0 and 1
THIRDS = ("agreed", "between", "divided")  # of the clips, by how much their listeners agree
EDGES = (0, 0.001, 0.2, 0.4, 0.6, 1)  # of bins of the share; the first holds those of exactly 0
HIGHER_IS_BETTER = {"rho": True, "MAE": False, "NLL": False, "JSD": False, "cosine": True}


def of_clips(shares: np.ndarray, predictions: np.ndarray) -> dict[str, np.ndarray]:
    """Each clip's scores, (n,) each, of shares and predictions (n, E).

    Returns:
        MAE: mean over emotions of the absolute error; NLL: of the votes' negative log-likelihood
        per vote, each emotion chosen or not (nats); JSD: the Jensen-Shannon divergence of both
        divided by their sums (bits); cosine. JSD and cosine are NaN where nobody heard anything.
    """
    p = predictions.clip(CERTAIN, 1 - CERTAIN)
    likelihood = shares * np.log(p) + (1 - shares) * np.log1p(-p)
    total = shares.sum(1) > 0
    divergence, cosine = np.full((2, len(shares)), np.nan)
    divergence[total] = jensenshannon(shares[total], p[total], base=2, axis=1) ** 2
    norms = np.linalg.norm(shares[total], axis=1) * np.linalg.norm(p[total], axis=1)
    cosine[total] = (shares[total] * p[total]).sum(1) / norms
    error = np.abs(shares - predictions).mean(1)
    return {"MAE": error, "NLL": -likelihood.mean(1), "JSD": divergence, "cosine": cosine}


def macro_f1(shares: np.ndarray, predictions: np.ndarray, emotions: int = 0) -> float:
    """Macro-F1 of emotions that more than one in `emotions` listeners perceive, (n, E) each.

    Args:
        emotions: as many as the corpus has; 0: E.
    """
    threshold = 1 / (emotions or shares.shape[1])
    about = {"average": "macro", "zero_division": 0}
    return float(f1_score(shares > threshold, predictions > threshold, **about))


def compare_losses(
    predictions: pd.DataFrame,
    reference: str,
    emotions: Sequence[str],
    speakers: Mapping[str, str],
    resamples: int = 1000,
) -> pd.DataFrame:
    """Every system's scores, and their differences to `reference`, paired, over speakers.

    Args:
        predictions: of one split; systems differ in the column encoder (the loss's name) and
            seed, over which scores are averaged.
        reference: the system that the others are compared with.

    Returns:
        loss, metric, score, difference, low and high: the interval of all losses together
        (Bonferroni), n, n_speakers; better: 1, -1, or 0 where the interval holds 0.
    """
    (group,) = group_by_clips(predictions, emotions, speakers)
    names = [system[0] for system in group.systems]
    losses = list(dict.fromkeys(names))
    values, samples = _scores(group, resamples)
    members = {name: [i for i, each in enumerate(names) if each == name] for name in losses}
    rows, about = [], {"n": len(group.shares), "n_speakers": group.n_speakers}
    for metric in values:
        mean = {name: values[metric][i].mean() for name, i in members.items()}
        drawn = {name: samples[metric][:, i].mean(1) for name, i in members.items()}
        for name in losses:
            row = {"loss": name, "metric": metric, "score": mean[name]}
            low = high = np.nan
            difference = mean[name] - mean[reference]
            if name != reference and not too_few(len(group.shares), group.n_speakers):
                resampled = drawn[name] - drawn[reference]
                units, others = group.n_speakers, len(losses) - 1
                low, high = joint_interval(difference, resampled, units, others)
            better = (int(low > 0) - int(high < 0)) * (1 if HIGHER_IS_BETTER[metric] else -1)
            row |= {"difference": difference, "low": low, "high": high}
            rows.append(row | {"better": better} | about)
    return pd.DataFrame(rows)


def _scores(group: SharedClips, resamples: int) -> tuple[dict, dict]:
    """metric -> its value of every system, (S,), and its resamples over speakers, (B, S)."""
    constant = constant_shares(group.shares)
    scored = np.array([rhos(group.shares, one) for one in group.predictions])
    values = {"rho": mean_over_emotions(scored, constant)}
    drawn = bootstrap(group.shares, group.predictions, resamples, speakers=group.speakers)
    samples = {"rho": mean_over_emotions(drawn, constant)}
    people, unit = np.unique(group.speakers, return_inverse=True)
    times = times_drawn(len(people), range(resamples))[:, unit]
    each = [of_clips(group.shares, one) for one in group.predictions]
    for metric in each[0]:
        scores = np.stack([of[metric] for of in each], axis=1)  # (n, S)
        known = np.isfinite(scores).all(1)
        values[metric] = scores[known].mean(0)
        counts = times[:, known]
        samples[metric] = counts @ scores[known] / counts.sum(1, keepdims=True)
    return values, samples


def by_bin(predictions: pd.DataFrame, edges: Sequence[float] = EDGES) -> pd.DataFrame:
    """Mean error (predicted less observed) and absolute error by bin of the observed share.

    Args:
        predictions: encoder (the loss's name), share, prediction.
        edges: of the bins; the first one holds the shares that are exactly 0.

    Returns:
        loss, bin, n, error, absolute.
    """
    names = ["0"] + [f"to {edge:g}" for edge in edges[2:]]
    bins = pd.cut(predictions["share"], edges, labels=names, include_lowest=True, right=True)
    error = predictions["prediction"] - predictions["share"]
    table = predictions.assign(bin=bins, error=error, absolute=error.abs())
    found = table.groupby(["encoder", "bin"], sort=False, observed=True)
    scores = found.agg(n=("error", "size"), error=("error", "mean"), absolute=("absolute", "mean"))
    return scores.reset_index().rename(columns={"encoder": "loss"}).sort_values(["loss", "bin"])


def by_entropy(predictions: pd.DataFrame, thirds: Sequence[str] = THIRDS) -> pd.DataFrame:
    """The scores of `of_clips` where listeners agree about a clip and where they do not.

    Clips are cut into thirds by the entropy of their observed shares, divided by their sum. Those
    in which nobody heard anything are left out.

    Args:
        predictions: encoder (the loss's name), seed, clip_id, emotion, share, prediction.
        thirds: their names, the one of the lowest entropy first.

    Returns:
        loss, third, n (clips), entropy (the mean, in bits), MAE, NLL, JSD, cosine.
    """
    keys = ["encoder", "seed", "clip_id"]
    wide = predictions.pivot(index=keys, columns="emotion", values=["share", "prediction"])
    shares = wide["share"].to_numpy()
    scores = pd.DataFrame(of_clips(shares, wide["prediction"].to_numpy()), wide.index)
    total = shares.sum(axis=1, keepdims=True)
    scores["entropy"] = entropy(shares / np.where(total > 0, total, 1), base=2, axis=1)
    scores = scores[total > 0].reset_index()
    of_clip = scores.groupby("clip_id")["entropy"].first().rank(method="first")
    third = pd.qcut(of_clip, len(thirds), labels=list(thirds))
    scores["third"] = scores["clip_id"].map(third)
    found = scores.groupby(["encoder", "third"], sort=False, observed=True)
    columns = ["entropy", "MAE", "NLL", "JSD", "cosine"]
    table = found[columns].mean().join(found["clip_id"].nunique().rename("n")).reset_index()
    table = table.rename(columns={"encoder": "loss"})[["loss", "third", "n", *columns]]
    return table.sort_values(["third", "loss"], kind="stable", ignore_index=True)
