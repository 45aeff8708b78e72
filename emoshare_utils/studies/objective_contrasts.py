"""What the cells of the study of objectives differ by, with intervals (notebook 09).

A cell's encoder predicts shares through networks that are trained on train speakers alone; the
devel speakers are scored once.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.results.bootstrap import bootstrap
from emoshare_utils.results.metrics import constant_shares, mean_over_emotions, rhos
from emoshare_utils.results.shared_clips import group_by_clips
from emoshare_utils.studies.objective_cells import ALL

H11, H21, H17, H27 = (f"hubert-{i}x{views}" for views in (1, ALL) for i in (1, 2))
CONTRASTS = {  # written down before any cell was scored
    "objective": {H11: 1, "wav2vec2": -1},
    "iteration": {H21: 0.5, H27: 0.5, H11: -0.5, H17: -0.5},
    "targets": {H17: 0.5, H27: 0.5, H11: -0.5, H21: -0.5},
    "iteration × targets": {H27: 1, H17: -1, H21: -1, H11: 1},
}
ENCODER = ["cell", "pretraining_seed"]


def keep_devel_for_the_end(corpus: Corpus, speakers: int, every: int = 1, seed: int = 0) -> Corpus:
    """Name devel "test", and so many random train speakers "devel", who choose the epoch.

    Clips that were "test" are left out. With `every` above 1, a random one in so many of
    train stays.

    Raises:
        ValueError: fewer than two train speakers would be left, or a speaker is not known.
    """
    clips = corpus.clips[corpus.clips["split"] != "test"].copy()
    train = clips["split"] == "train"
    known = np.sort(clips.loc[train, "speaker"].dropna().unique())
    if clips["speaker"].isna().any() or not 1 <= speakers <= len(known) - 2:
        raise ValueError(
            f"{speakers} of {len(known)} train speakers cannot choose the epoch: expected every "
            "clip's speaker in the clip table, and 1 to all but two of train"
        )
    rng = np.random.default_rng(seed)
    chosen = rng.choice(known, speakers, replace=False)
    clips.loc[~train, "split"] = "test"
    clips.loc[train & clips["speaker"].isin(chosen), "split"] = "devel"
    kept = np.ones(len(clips), bool)
    kept[train] = rng.permutation(train.sum()) % every == 0
    return corpus.with_clips(clips[kept])


def score_cells(
    predictions: pd.DataFrame,
    emotions: Sequence[str],
    speakers: Mapping[str, str],
    resamples: int = 1000,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Mean rho of every encoder on "test", averaged over its networks' seeds.

    Args:
        predictions: as `results.predictions` has them, with columns cell and pretraining_seed.
        speakers: clip_id -> speaker.

    Returns:
        cell, pretraining_seed, networks (their number), rho; and resamples of it over speakers,
        (resamples, rows).

    Raises:
        ValueError: not all networks predict the same clips.
    """
    cells = predictions.drop_duplicates("encoder").set_index("encoder")[ENCODER]
    (group,) = group_by_clips(predictions[predictions["split"] == "test"], emotions, speakers)
    constant = constant_shares(group.shares)
    scored = np.array([rhos(group.shares, one) for one in group.predictions])
    rho = mean_over_emotions(scored, constant)
    samples = bootstrap(group.shares, group.predictions, resamples, speakers=group.speakers)
    table = cells.loc[[system[0] for system in group.systems]].reset_index(drop=True)
    table = table.assign(rho=rho, place=np.arange(len(table))).groupby(ENCODER, sort=False)
    members = table["place"].apply(list)
    means = [mean_over_emotions(samples[:, i], constant).mean(axis=1) for i in members]
    scored = table.agg(networks=("rho", "size"), rho=("rho", "mean")).reset_index()
    return scored, np.stack(means, axis=1)


def contrast(
    scored: pd.DataFrame, samples: np.ndarray, n_speakers: int, confidence: float = 0.95
) -> pd.DataFrame:
    """Each of `CONTRASTS`, with an interval over speakers and pretraining seeds together.

    A contrast is sum_c w_c m_c, of the cells' means m_c over P pretraining seeds. Its variance is
    that of resamples of the speakers, times n / (n - 1), plus s^2 sum_c w_c^2 / P, where s^2 is the
    mean square of what is left of the encoders' rhos after the cells' and the seeds' means (cells
    of one seed start from the same weights and see the same clips and masks: they are paired).
    Student's t has Satterthwaite's degrees of freedom, of n - 1 and (C - 1)(P - 1).

    Args:
        scored, samples: as `score_cells` returns them, every cell with the same seeds.

    Returns:
        contrast, difference, se, df, ci_low and ci_high (each by itself), ci_all_low and
        ci_all_high (all of them hold together: Bonferroni), p (Holm's, over all contrasts).

    Resamples without a value do not count.

    Raises:
        ValueError: a cell lacks a seed, there is only one, or an encoder has no rho.
    """
    if scored["rho"].isna().any():
        raise ValueError("an encoder has no mean rho: its networks predict a constant share")
    rho = scored.pivot(index="cell", columns="pretraining_seed", values="rho")
    cells, seeds = rho.shape
    if rho.isna().any(axis=None) or seeds < 2:
        raise ValueError("expected two pretraining seeds or more, the same ones for every cell")
    values = rho.to_numpy()
    left = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    df_seeds = (cells - 1) * (seeds - 1)
    of_seeds = (left**2).sum() / df_seeds
    rows = []
    for name, weights in CONTRASTS.items():
        weight = np.array([weights.get(cell, 0) for cell in rho.index])
        each = np.array([weights.get(cell, 0) for cell in scored["cell"]]) / seeds
        over_speakers = np.nanvar(samples @ each, ddof=1) * n_speakers / (n_speakers - 1)
        over_seeds = of_seeds * (weight**2).sum() / seeds
        variance = over_speakers + over_seeds
        df = variance**2 / (over_speakers**2 / (n_speakers - 1) + over_seeds**2 / df_seeds)
        about = {"contrast": name, "difference": weight @ values.mean(1)}
        rows.append(about | {"se": np.sqrt(variance), "df": df})
    table = pd.DataFrame(rows)
    t = table["difference"].abs() / table["se"]
    for name, tail in (("ci", (1 - confidence) / 2), ("ci_all", (1 - confidence) / 2 / len(table))):
        half = stats.t.isf(tail, table["df"]) * table["se"]
        table[f"{name}_low"] = table["difference"] - half
        table[f"{name}_high"] = table["difference"] + half
    return table.assign(p=holm(2 * stats.t.sf(t, table["df"])))


def holm(p: Iterable[float]) -> np.ndarray:
    """Holm's (1979) adjusted p-values: the i-th smallest of k times k - i + 1, made monotonic."""
    p = np.asarray(p, float)
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted
