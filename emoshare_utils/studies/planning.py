"""How many clips, speakers and listeners a corpus needs (notebook 14).

Each is made fewer in train, all else as it is; the networks take the same number of steps, so that
fewer clips are heard more often. A corpus of fewer listeners has fewer in devel as well, where they
choose the epoch; every prediction is scored against the shares of all listeners.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.corpora.panels import votes_behind_shares
from emoshare_utils.results.enough import too_few
from emoshare_utils.results.listeners import draw_answers
from emoshare_utils.results.metrics import constant_shares, mean_over_emotions, rhos
from emoshare_utils.results.scores import score
from emoshare_utils.results.shared_clips import SharedClips, group_by_clips
from emoshare_utils.training.settings import Training

KINDS = ("clips", "speakers", "listeners")


def fewer(corpus: Corpus, kind: str, number: int, seed: int) -> Corpus:
    """The corpus with so many random train clips, train speakers, or listeners of each clip.

    Listeners are drawn without replacement. Where a clip's votes add up to its listeners each
    chose one emotion, and so do those drawn; else each emotion's answers are drawn by themselves,
    since who chose several is not known.

    Raises:
        ValueError: an unknown kind, or shares that are not known votes.
    """
    rng, clips = np.random.default_rng([seed, number]), corpus.clips
    train = clips["split"] == "train"
    if kind == "clips":
        kept = rng.permutation(np.flatnonzero(train))[:number]
        return corpus.with_clips(clips[~train | clips.index.isin(clips.index[kept])])
    if kind == "speakers":
        speakers = rng.permutation(clips.loc[train, "speaker"].unique())[:number]
        return corpus.with_clips(clips[~train | clips["speaker"].isin(speakers)])
    if kind != "listeners":
        raise ValueError(f"kind = {kind!r}: expected one of {', '.join(KINDS)}")
    votes = votes_behind_shares(corpus)
    if votes.empty:
        raise ValueError("the shares are not known to be votes of n_raters: drop 'listeners'")
    emotions = list(corpus.emotions)
    enough = votes[votes["n_raters"] >= number]
    counts, raters = enough[emotions].to_numpy(int), enough["n_raters"].to_numpy(int)
    drawn = draw_answers(counts, raters, number, rng).mean(axis=0)  # (n, E)
    for place in np.flatnonzero(counts.sum(axis=1) == raters):
        drawn[place] = rng.multivariate_hypergeometric(counts[place], number) / number
    changed = clips.set_index("clip_id").copy()
    changed[emotions] = changed[emotions].astype(float)
    changed.loc[enough["clip_id"], emotions] = drawn
    changed.loc[enough["clip_id"], "n_raters"] = number
    return corpus.with_clips(changed.reset_index()[clips.columns])


def as_many_steps(training: Training, whole: int, clips: int) -> Training:
    """The training for so many of the `whole` train clips, with as many steps, to half an epoch.

    It gives up after as many steps without a better value on devel, too.
    """
    batches = [math.ceil(n / training.batch_size) for n in (whole, clips)]
    times = batches[0] / batches[1]
    epochs = {name: round(getattr(training, name) * times) for name in ("epochs", "patience")}
    return replace(training, **epochs)


def smaller_ones(
    corpus: Corpus, parts: Sequence[float], listeners: Sequence[int]
) -> list[tuple[str, int]]:
    """What to train on: (kind, number), the whole corpus first, as all of its clips.

    Args:
        parts: of the train clips and speakers; two that come to the same number count once.
        listeners: of each clip; as many as there are, or more, are left out.
    """
    total = totals(corpus)
    wanted = [("clips", total["clips"])]
    for part in parts:
        wanted += [(kind, max(2, round(part * total[kind]))) for kind in ("clips", "speakers")]
    wanted += [("listeners", number) for number in listeners if "listeners" in total]
    whole, *others = dict.fromkeys(wanted)
    return [whole, *((kind, number) for kind, number in others if number < total[kind])]


def totals(corpus: Corpus) -> dict[str, int]:
    """How many train clips and train speakers there are, and listeners of the median clip."""
    train = corpus.split("train")
    found = {"clips": len(train), "speakers": train["speaker"].nunique()}
    raters = train["n_raters"].dropna()
    return found | ({"listeners": int(raters.median())} if len(raters) else {})


def curve(
    predictions: pd.DataFrame,
    emotions: Sequence[str],
    speakers: Mapping[str, str],
    resamples: int = 1000,
) -> pd.DataFrame:
    """Mean devel rho by how many there were of what.

    Args:
        predictions: with the columns kind and number beside those of a prediction table; `share`
            is of all listeners.

    Returns:
        kind, number, seeds, mean_rho (over seeds), lowest and highest (of the seeds), low and high
        (95 % over devel speakers, of the first seed).
    """
    rows = []
    for (kind, number), found in predictions.groupby(["kind", "number"], sort=False):
        _, summary = score(found, emotions, resamples, speakers)
        first = summary.sort_values("seed").iloc[0]
        about = {"kind": kind, "number": number, "seeds": len(summary)}
        about |= {"mean_rho": summary["mean_rho"].mean()}
        about |= {"lowest": summary["mean_rho"].min(), "highest": summary["mean_rho"].max()}
        rows.append(about | {"low": first["ci_speakers_low"], "high": first["ci_speakers_high"]})
    return pd.DataFrame(rows)


def interval_width(
    predictions: pd.DataFrame,
    emotions: Sequence[str],
    speakers: Mapping[str, str],
    numbers: Sequence[int],
    resamples: int = 300,
) -> pd.DataFrame:
    """How wide the interval of one system's mean rho is when so many speakers judge it.

    So many speakers are drawn with replacement from those there are, as if a devel split had been
    collected of that many.

    Returns:
        speakers, width (of the 95 % interval); empty where there are too few to draw from.
    """
    (group,) = group_by_clips(predictions, emotions, speakers)
    if group.speakers is None or too_few(len(group.shares), group.n_speakers):
        return pd.DataFrame(columns=["speakers", "width"])
    rng, rows = np.random.default_rng(0), []
    for number in numbers:
        drawn = np.array([_rho_of(group, rng, number) for _ in range(resamples)])
        drawn = drawn[np.isfinite(drawn)]  # a rare emotion may be missing among few speakers
        # of all of them, `n_speakers`, so many were drawn; and t where few would tell the spread
        wider = np.sqrt(group.n_speakers / (group.n_speakers - 1)) * stats.t.ppf(0.975, number - 1)
        tail = stats.norm.cdf(-wider)
        known = 2 * len(drawn) >= resamples
        low, high = np.quantile(drawn, [tail, 1 - tail]) if known else (np.nan, np.nan)
        rows.append({"speakers": number, "width": high - low})
    return pd.DataFrame(rows)


def _rho_of(group: SharedClips, rng: np.random.Generator, number: int) -> float:
    """The mean rho among so many speakers drawn at random, over the emotions of all speakers."""
    people, unit = np.unique(group.speakers, return_inverse=True)
    places = [np.flatnonzero(unit == one) for one in rng.integers(0, len(people), number)]
    clips = np.concatenate(places)
    found = rhos(group.shares[clips], group.predictions[0][clips])
    return float(mean_over_emotions(found, constant_shares(group.shares)))
