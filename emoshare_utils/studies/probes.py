"""Linear probes: what a clip's mean frame tells of its shares, speaker, sentence or loudness.

A probe is linear regression with a ridge penalty: of numbers, scored by Spearman's rho, or of a
name (one column a name, the highest wins), scored by the share of clips told right. The penalty
is chosen by leaving one clip out; features are standardised on the clips a probe is fitted on.
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
    """Why the column `target` of the clip table cannot be probed, or "" where it can."""
    if target not in clips:
        return "is no column of the clip table"
    heard = clips.loc[clips["split"].isin(["train", "devel"]), target]
    if heard.isna().any():
        return f"is not known for {heard.isna().sum():,} of {len(heard):,} clips"
    if heard.groupby(clips["split"]).nunique().min() < 2:
        return "has one value in train or devel alone"
    return ""


def probe(features: np.ndarray, clips: pd.DataFrame, targets: Sequence[str]) -> pd.DataFrame:
    """What a linear map of the features tells of each target.

    Fitted on the train clips and scored on devel, whose speakers are others. The speakers
    themselves are told apart within devel, by sentence where the clips have one: a probe never
    meets the sentence that it is scored on.

    Args:
        features: (n, W), one row a clip.
        clips: (n,) rows with split, speaker and the targets as columns; a text is a name, all
            else is a number.

    Returns:
        One row a target: target, measure ("accuracy" or "rho"), score, its 95 % interval over
        resamples of the devel speakers (ci_low, ci_high; of the clips where it is the speaker
        that is asked for), and chance (the share of the most frequent name; 0 for rho).
    """
    train, devel = (np.flatnonzero(clips["split"] == split) for split in ("train", "devel"))
    rows = []
    for target in targets:
        values = clips[target].to_numpy()
        named = not pd.api.types.is_numeric_dtype(clips[target])
        folds = [(train, devel)]
        if target == SPEAKER:
            within = clips.iloc[devel]
            groups = within["sentence" if "sentence" in within else "clip_id"]
            folds = [(devel[fitted], devel[scored]) for fitted, scored in _folds(groups)]
        predicted = np.empty(len(clips), dtype=values.dtype if named else float)
        for fitted, scored in folds:
            predicted[scored] = _predicted(features, values, named, fitted, scored)
        score = _hits if named else spearman
        truth, told = values[devel], predicted[devel]
        units = np.arange(len(devel)) if target == SPEAKER else _own_speakers(clips.iloc[devel])
        low, high = _interval(score, truth, told, units)
        chance = pd.Series(truth).value_counts(normalize=True).max() if named else 0.0
        measure = "accuracy" if named else "rho"
        rows.append((target, measure, score(truth, told), low, high, chance))
    return pd.DataFrame(rows, columns=["target", "measure", "score", "ci_low", "ci_high", "chance"])


def _predicted(
    features: np.ndarray, values: np.ndarray, named: bool, fitted: np.ndarray, scored: np.ndarray
) -> np.ndarray:
    model = _classification() if named else _regression()
    values = values if named else values.astype(float)
    return model.fit(features[fitted], values[fitted]).predict(features[scored])


def _hits(truth: np.ndarray, told: np.ndarray) -> float:
    return float(np.mean(truth == told))


def _interval(
    score: Callable[[np.ndarray, np.ndarray], float],
    truth: np.ndarray,
    told: np.ndarray,
    units: np.ndarray,
) -> tuple[float, float]:
    """The 95 % interval of a score over resamples of the units that clips belong to."""
    members = [np.flatnonzero(units == unit) for unit in np.unique(units)]
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(members), size=len(members))
        clips = np.concatenate([members[unit] for unit in drawn])
        scores.append(score(truth[clips], told[clips]))
    return interval(np.array(scores), len(members))


def _own_speakers(clips: pd.DataFrame) -> np.ndarray:
    """The speaker of each clip; one of its own where that is not known."""
    own = [f"clip {number}" for number in range(len(clips))]
    known = clips["speaker"].notna()
    return np.where(known, clips["speaker"].astype(object), own).astype(str)


def _folds(groups: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    count = min(FOLDS, len(set(groups)))
    return GroupKFold(count).split(np.zeros(len(groups)), groups=groups)


def _regression() -> Pipeline:
    return make_pipeline(StandardScaler(), RidgeCV(PENALTIES))


def _classification() -> Pipeline:
    return make_pipeline(StandardScaler(), RidgeClassifierCV(PENALTIES))
