"""Linear probes: how well a clip's mean frame predicts its shares, speaker, sentence or loudness.

A probe of a number is ridge regression, scored by Spearman's rho; a probe of a name is a ridge
classifier (one column per name, the highest wins), scored by accuracy. The penalty is chosen by
leave-one-out; features are standardised on the clips that the probe is fitted on.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from emoshare_utils.corpora import audio
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.progress import track
from emoshare_utils.results.bootstrap import interval
from emoshare_utils.results.enough import too_few
from emoshare_utils.results.metrics import spearman

PENALTIES = np.logspace(0, 5, 11)
FOLDS = 5
RESAMPLES = 1000
SPEAKER = "speaker"


def loudness(corpus: Corpus) -> np.ndarray:
    """Each clip's level, (n,), in dB relative to full scale (RMS)."""
    paths = track(corpus.clips["path"], "level")
    power = [np.mean(np.square(audio.read_audio(corpus.root / path))) for path in paths]
    return 10 * np.log10(power)


def can_be_probed(clips: pd.DataFrame, target: str) -> str:
    """Why the column `target` of the clip table cannot be probed; "" if it can."""
    if target not in clips:
        return "is no column of the clip table"
    values = clips.loc[clips["split"].isin(["train", "devel"]), target]
    if values.isna().any():
        return f"is not known for {values.isna().sum():,} of {len(values):,} clips"
    if values.groupby(clips["split"]).nunique().min() < 2:
        return "has one value in train or devel alone"
    return ""


def probe(features: np.ndarray, clips: pd.DataFrame, targets: Sequence[str]) -> pd.DataFrame:
    """Score a linear probe of each target on these features.

    It is fitted on the train clips and scored on devel, which has other speakers. A probe of the
    speaker is cross-validated within devel, over sentences where the clips have them, so that no
    sentence is both fitted on and scored.

    Args:
        features: (n, W), one row per clip.
        clips: (n,) rows with split, speaker and the targets as columns; a text column holds
            names, any other numbers.

    Returns:
        One row per target: target, measure ("accuracy" or "rho"), score, its 95 % interval over
        resamples of the devel speakers (ci_low, ci_high; of the clips where the target is the
        speaker; empty with too few, see `results.enough`), and chance (the fraction of the most
        frequent name; 0 for rho).
    """
    train, devel = (np.flatnonzero(clips["split"] == split) for split in ("train", "devel"))
    rows, speakers = [], speaker_groups(clips["speaker"].iloc[devel])
    for target in targets:
        values = clips[target].to_numpy()
        named = not pd.api.types.is_numeric_dtype(clips[target])
        folds = [(train, devel)]
        if target == SPEAKER:
            within = clips.iloc[devel]
            groups = within["sentence" if "sentence" in within else "clip_id"]
            folds = [(devel[fitted], devel[scored]) for fitted, scored in group_folds(groups)]
        predicted = np.empty(len(clips), dtype=values.dtype if named else float)
        for fitted, scored in folds:
            predicted[scored] = _predicted(features, values, named, fitted, scored)
        score = accuracy if named else spearman
        truth, found = values[devel], predicted[devel]
        units = np.arange(len(devel)) if target == SPEAKER else speakers
        few = too_few(len(devel), 0 if target == SPEAKER else len(set(speakers)))
        low, high = (np.nan, np.nan) if few else _interval(score, truth, found, units)
        chance = pd.Series(truth).value_counts(normalize=True).max() if named else 0.0
        measure = "accuracy" if named else "rho"
        rows.append((target, measure, score(truth, found), low, high, chance))
    return pd.DataFrame(rows, columns=["target", "measure", "score", "ci_low", "ci_high", "chance"])


def _predicted(
    features: np.ndarray, values: np.ndarray, named: bool, fitted: np.ndarray, scored: np.ndarray
) -> np.ndarray:
    classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(PENALTIES))
    model = classifier if named else ridge_regression()
    values = values if named else values.astype(float)
    return model.fit(features[fitted], values[fitted]).predict(features[scored])


def accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The fraction of equal values of (n,) and (n,)."""
    return float(np.mean(truth == predicted))


def _interval(
    score: Callable[[np.ndarray, np.ndarray], float],
    truth: np.ndarray,
    predicted: np.ndarray,
    units: np.ndarray,
) -> tuple[float, float]:
    """The 95 % interval of a score over resamples of the units (speakers, clips)."""
    members = [np.flatnonzero(units == unit) for unit in np.unique(units)]
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(members), size=len(members))
        clips = np.concatenate([members[unit] for unit in drawn])
        scores.append(score(truth[clips], predicted[clips]))
    return interval(np.array(scores), len(members))


def speaker_groups(speakers: pd.Series) -> np.ndarray:
    """The speaker of each clip, (n,); an unknown one counts as a speaker of its own."""
    own = [f"clip {number}" for number in range(len(speakers))]
    return np.where(speakers.notna(), speakers.astype(object), own).astype(str)


def group_folds(groups: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cross-validation: the clips to fit on and to score, no group in both."""
    count = min(FOLDS, len(set(groups)))
    return GroupKFold(count).split(np.zeros(len(groups)), groups=groups)


def ridge_regression() -> Pipeline:
    """Standardisation, then ridge regression with the penalty chosen by leave-one-out."""
    return make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
