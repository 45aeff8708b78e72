"""Which layer of an encoder to take, by linear probes of train shares."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from emoshare_utils.features.store import FeatureStore
from emoshare_utils.results.metrics import spearman
from emoshare_utils.studies.probes import _folds, _own_speakers, _regression


def pooled_frames(store: FeatureStore, clip_ids: Sequence[str]) -> np.ndarray:
    """The mean frame of every layer, (n, layers, W) float32, from the store of an "@pooled"."""
    return np.stack([store.frames(clip) for clip in clip_ids]).astype(np.float32)


def layers_for_shares(
    features: np.ndarray, shares: np.ndarray, speakers: Sequence[str]
) -> np.ndarray:
    """Mean rho of a probe of the shares on each layer, no speaker both fitted on and scored.

    Args:
        features: (n, layers, W), the mean frames of the train clips.
        shares: (n, E).
        speakers: (n,); a clip whose speaker is not known (NaN) is taken for its own.

    Returns:
        (layers,); the highest is the best layer, chosen without the devel split.
    """
    folds = list(_folds(_own_speakers(pd.DataFrame({"speaker": speakers}))))

    def of_layer(x: np.ndarray) -> float:
        predicted = np.empty_like(shares, dtype=float)
        for fitted, scored in folds:
            found = _regression().fit(x[fitted], shares[fitted]).predict(x[scored])
            predicted[scored] = found.reshape(len(scored), -1)  # one emotion: a flat array
        return float(np.mean([spearman(*pair) for pair in zip(shares.T, predicted.T)]))

    return np.array([of_layer(features[:, layer]) for layer in range(features.shape[1])])
