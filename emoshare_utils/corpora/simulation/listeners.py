"""Simulated listeners, and the shares they give (S4 to S6)."""

import numpy as np
import pandas as pd
from scipy.stats import norm

from emoshare_utils.corpora.simulation.model import APPRAISALS, PHRASES, Model, Stream, generator


def rate(clips: pd.DataFrame, seed: int, n_listeners: int, model: Model) -> pd.DataFrame:
    """Let a panel from a pool of `n_listeners` rate each clip.

    Args:
        clips: language, valence, arousal and dominance of each clip.

    Returns:
        n_raters, the share of each emotion, and expected_<emotion>, the share expected of a new
        panel; in the order of `clips`.
    """
    languages = list(PHRASES)
    rng = generator(seed, Stream.POOL)  # P = n_listeners
    bias = model.bias * rng.standard_normal((n_listeners, 1, len(APPRAISALS)))
    threshold = model.threshold * rng.standard_normal((n_listeners, 1))
    knows = rng.random((n_listeners, len(languages))) < model.second_language
    knows[np.arange(n_listeners), rng.integers(len(languages), size=n_listeners)] = True
    uncertainty = np.where(knows, model.known, model.unknown)  # (P, languages)

    centre, weight, radius = map(
        np.array, zip(*model.profiles.values())
    )  # (emotions, 3), …, (emotions,)
    rows = []
    for i, clip in enumerate(clips.itertuples()):
        heard = np.array([clip.valence, clip.arousal, clip.dominance]) + bias  # (P, 1, 3)
        distance = np.sqrt((weight * (heard - centre) ** 2).sum(axis=-1))  # (P, emotions)
        u = uncertainty[:, [languages.index(clip.language)]]  # (P, 1)
        q = norm.cdf((radius + threshold - distance) / u)

        rng = generator(seed, Stream.PANEL, i)
        n_raters = rng.integers(*model.panel, endpoint=True)
        panel = rng.choice(n_listeners, n_raters, replace=False)
        shares = (rng.random((n_raters, len(radius))) < q[panel]).mean(axis=0)
        expected = {f"expected_{k}": mean for k, mean in zip(model.profiles, q.mean(axis=0))}
        rows.append({"n_raters": n_raters, **dict(zip(model.profiles, shares)), **expected})
    return pd.DataFrame(rows)
