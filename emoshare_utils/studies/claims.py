"""The paper's two claims, and whether the data at hand can carry them.

HuBERT's embeddings are better than wav2vec2.0's (Table 1), and attention, Architecture 2 against
Architecture 1, helps where the embedding is good and hurts where it is not (section 3 and Fig. 3).
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from emoshare_utils.features.acoustic import ACOUSTIC
from emoshare_utils.names import UNTRAINED, label, split_layer
from emoshare_utils.results.comparisons import compare
from emoshare_utils.results.scores import score

HUBERT = "HuBERT over wav2vec2.0"
ATTENTION = "attention helps where the embedding is good"
ARCHITECTURES = (1, 2)
SIZES = {
    "hubert-base": "wav2vec2-base",
    "hubert-large": "wav2vec2-large",
    "hubert-mini": "wav2vec2-mini",
}
YES, NO, OPEN, SILENT = "yes", "no, the opposite", "open", "the data cannot speak to it"
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
    architectures, the poor features are those with the lowest of all. Only systems trained with
    both architectures count, and pretrained are encoders other than the workbook's untrained one.

    Returns:
        One row a part: claim, holds ("yes", "no, the opposite", "open", "the data cannot speak to
        it"), then the columns of `compare`. Where the data cannot speak, `contrast` says
        what is missing, and there are no numbers.
    """
    rows = predictions[predictions["split"] == split]
    trained = rows.groupby("encoder")["architecture"].agg(set)
    encoders = [name for name, found in trained.items() if found >= set(ARCHITECTURES)]
    scores, _ = score(rows, emotions, resamples=1)
    levels = scores[scores["architecture"].isin(ARCHITECTURES)].groupby("encoder")["rho"].mean()
    parts = _hubert(encoders) | _attention(encoders, levels)
    contrasts = {name: weights for (_, name), weights in parts.items() if weights}
    compared = compare(predictions, emotions, contrasts, split, resamples, speakers)
    table = pd.DataFrame(list(parts), columns=["claim", "contrast"])
    table = table.merge(compared, how="left", on="contrast")
    verdicts = table["sign"].map({1: YES, 0: OPEN, -1: NO}).fillna(SILENT)
    table.insert(1, "holds", verdicts)
    return table


def _hubert(encoders: Sequence[str]) -> dict[tuple[str, str], Weights]:
    parts = {}
    for hubert, wav2vec2 in SIZES.items():
        missing = [label(encoder) for encoder in (hubert, wav2vec2) if encoder not in encoders]
        if missing:
            parts[HUBERT, f"needs {' and '.join(missing)} with A1 and A2"] = {}
            continue
        mean = {(hubert, architecture): 0.5 for architecture in ARCHITECTURES}
        mean |= {(wav2vec2, architecture): -0.5 for architecture in ARCHITECTURES}
        parts[HUBERT, f"{label(hubert)} − {label(wav2vec2)}, mean of A1 and A2"] = mean
    return parts


def _attention(encoders: Sequence[str], levels: pd.Series) -> dict[tuple[str, str], Weights]:
    untaught = {*ACOUSTIC, UNTRAINED}
    pretrained = [name for name in encoders if split_layer(name)[0] not in untaught]
    good = levels[pretrained].idxmax() if pretrained else None
    poor = levels[encoders].idxmin() if encoders else None
    if good in (None, poor):
        needs = "needs a pretrained encoder, and poorer features, both with A1 and A2"
        return {(ATTENTION, needs): {}}
    gain, loss = {(good, 2): 1, (good, 1): -1}, {(poor, 1): 1, (poor, 2): -1}
    return {
        (ATTENTION, f"A2 − A1 on the good embedding, {label(good)}"): gain,
        (ATTENTION, f"A1 − A2 on the poor features, {label(poor)}"): loss,
        (ATTENTION, "A2 − A1 on the good embedding, less that on the poor features"): gain | loss,
    }
