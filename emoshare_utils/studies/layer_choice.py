"""Which layer of an encoder is the best, by linear probes of the train split's shares.

The layer whose frames a run uses is in the encoder's name, as in `hubert-mini@2`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from emoshare_utils.features.store import FeatureStore
from emoshare_utils.results.metrics import constant_shares, mean_over_emotions, rhos
from emoshare_utils.studies.probes import group_folds, ridge_regression, speaker_groups


def pooled_frames(store: FeatureStore, clip_ids: Sequence[str]) -> np.ndarray:
    """The mean frame of every layer, (n, layers, W) float32, from the store of an "@pooled"."""
    return np.stack([store.frames(clip) for clip in clip_ids]).astype(np.float32)


def probe_layers(features: np.ndarray, shares: np.ndarray, speakers: Sequence[str]) -> np.ndarray:
    """Mean rho of a linear probe of the shares on each layer, cross-validated over speakers.

    Args:
        features: (n, layers, W), the mean frames of the train clips.
        shares: (n, E).
        speakers: (n,); an unknown one (NaN) counts as a speaker of its own.

    Returns:
        (layers,); the best layer has the highest value. The devel split takes no part. An emotion
        whose share is constant in train is left out (`metrics.mean_over_emotions`).
    """
    folds = list(group_folds(speaker_groups(pd.Series(speakers))))

    def mean_rho(frames: np.ndarray) -> float:
        predicted = np.empty_like(shares, dtype=float)
        for fitted, scored in folds:
            found = ridge_regression().fit(frames[fitted], shares[fitted]).predict(frames[scored])
            predicted[scored] = found.reshape(len(scored), -1)  # one emotion: a flat array
        return float(mean_over_emotions(rhos(shares, predicted), constant_shares(shares)))

    return np.array([mean_rho(features[:, layer]) for layer in range(features.shape[1])])
