"""The paper's two claims, and whether the data at hand can support them.

HuBERT's embeddings are better than wav2vec2.0's (Table 1), and attention, Architecture 2 against
Architecture 1, helps where the embedding is good and hurts where it is not (section 3 and Fig. 3).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from emoshare_utils.features.acoustic import ACOUSTIC
from emoshare_utils.names import ARCHITECTURES, UNTRAINED, label, members, split_layer
from emoshare_utils.results.comparisons import compare
from emoshare_utils.results.enough import FEWEST_CLIPS, FLAT, UNRANKED, are_unranked, too_few
from emoshare_utils.results.scores import score

HUBERT = "HuBERT over wav2vec2.0"
ATTENTION = "attention helps where the embedding is good"
MEAN, ATTENDS = CLAIMED = 1, 2  # the claims are about these architectures: Eq. 1 and Eq. 2
PAIRS = {
    "hubert-base": "wav2vec2-base",
    "hubert-large": "wav2vec2-large",
    "hubert-mini": "wav2vec2-mini",
}
YES, NO, OPEN, SILENT = "yes", "no, the opposite", "open", "the data cannot speak to it"
UNDEFINED = "not defined"
TOO_FEW_CLIPS, TOO_FEW_SPEAKERS = f"{OPEN}: too few clips", f"{OPEN}: too few speakers"
OPEN_AS_FLAT = f"{OPEN}: {FLAT}"
Weights = dict[tuple[str, int], float]


def claims(
    predictions: pd.DataFrame,
    emotions: Sequence[str],
    split: str = "devel",
    resamples: int = 1000,
    speakers: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """What the predictions say about each part of the claims; arguments as in `compare`.

    The good embedding is the pretrained encoder with the highest mean rho over both
    architectures; the poor features are those with the lowest of all. Only encoders trained with
    both architectures count, and only those with a mean rho (`metrics.mean_over_emotions`) that
    are ranked (`enough.unranked`). Every encoder counts as pretrained but the
    package's acoustic features and its untrained control, so acoustic features registered from
    elsewhere do too.

    Returns:
        One row per part: claim, holds ("yes", "no, the opposite", "open", "open: too few clips",
        "open: too few speakers", "open: predictions hardly vary", "not defined", "the data cannot
        speak to it"), then the columns of `compare`. Where the data cannot speak, `contrast`
        says what is missing, and there are no numbers; where a difference or its interval is not
        defined, `note` says why.
    """
    rows = predictions[predictions["split"] == split]
    trained = rows.groupby("encoder")["architecture"].agg(set)
    encoders = [name for name, found in trained.items() if found >= set(CLAIMED)]
    _, summary = score(rows, emotions, resamples=1)
    claimed = summary[summary["architecture"].isin(CLAIMED)]
    claimed = claimed.assign(mean_rho=claimed["mean_rho"].mask(are_unranked(claimed["note"])))
    means = claimed.groupby("encoder")["mean_rho"].mean(skipna=False).dropna()
    parts = _hubert(encoders) | _attention(encoders, means)
    contrasts = {name: weights for (_, name), weights in parts.items() if weights}
    compared = compare(predictions, emotions, contrasts, split, resamples, speakers)
    table = pd.DataFrame(list(parts), columns=["claim", "contrast"])
    table = table.merge(compared, how="left", on="contrast")
    table = table.fillna({"note": ""})
    table.insert(1, "holds", [_verdict(row) for row in table.itertuples()])
    return table


def _verdict(row: NamedTuple) -> str:
    """What a row of `compare` says about its part; a part that was not compared has no sign."""
    if pd.isna(row.sign):
        return SILENT
    if pd.isna(row.difference):
        return UNDEFINED
    if too_few(row.n, row.n_speakers):
        return TOO_FEW_CLIPS if row.n < FEWEST_CLIPS else TOO_FEW_SPEAKERS
    if UNRANKED in row.note:
        return OPEN_AS_FLAT
    return UNDEFINED if pd.isna(row.ci_low) else {1: YES, 0: OPEN, -1: NO}[row.sign]


def encoder_contrast(
    encoder: str, other: str, architectures: Sequence[int] = CLAIMED
) -> tuple[str, Weights]:
    """A contrast's name and weights: one encoder less another, mean over the architectures."""
    weights = {(encoder, number): 1 / len(architectures) for number in architectures}
    weights |= {(other, number): -1 / len(architectures) for number in architectures}
    return f"{label(encoder)} − {label(other)}, mean of {_short(architectures)}", weights


def _hubert(encoders: Sequence[str]) -> dict[tuple[str, str], Weights]:
    parts = {}
    for hubert, wav2vec2 in PAIRS.items():
        name, weights = encoder_contrast(hubert, wav2vec2)
        missing = [label(encoder) for encoder in (hubert, wav2vec2) if encoder not in encoders]
        if missing:
            name, weights = f"needs {' and '.join(missing)} with {_short(CLAIMED)}", {}
        parts[HUBERT, name] = weights
    return parts


def _attention(encoders: Sequence[str], means: pd.Series) -> dict[tuple[str, str], Weights]:
    not_pretrained = {*ACOUSTIC, UNTRAINED}
    encoders = [name for name in encoders if name in means and len(members(name)) == 1]
    pretrained = [name for name in encoders if split_layer(name)[0] not in not_pretrained]
    good = means[pretrained].idxmax() if pretrained else None
    poor = means[encoders].idxmin() if encoders else None
    if good in (None, poor):
        needs = (
            f"needs a pretrained encoder, and poorer features, with a mean ρ of {_short(CLAIMED)}"
        )
        return {(ATTENTION, needs): {}}
    mean, attends = (ARCHITECTURES[number].short for number in CLAIMED)
    gain, loss = {(good, ATTENDS): 1, (good, MEAN): -1}, {(poor, MEAN): 1, (poor, ATTENDS): -1}
    difference = f"{attends} − {mean} on the good embedding"
    return {
        (ATTENTION, f"{difference}, {label(good)}"): gain,
        (ATTENTION, f"{mean} − {attends} on the poor features, {label(poor)}"): loss,
        (ATTENTION, f"{difference}, less that on the poor features"): gain | loss,
    }


def _short(architectures: Sequence[int]) -> str:
    *others, last = (ARCHITECTURES[number].short for number in architectures)
    return f"{', '.join(others)} and {last}" if others else last
