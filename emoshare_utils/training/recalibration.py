"""Shares from a network that has learnt to rank: two numbers per emotion, which change no rank.

A loss that asks for the order alone, as `soft_rank`, leaves open which share a prediction stands
for. A line through the network's last sum z, before the sigmoid, says it: sigmoid(a z + c) with
a > 0 (Platt 1999, fitted to shares in place of classes). It becomes part of the last layer, so that
what is stored is a network as ever.
"""

from concurrent.futures import Executor

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from emoshare_utils.models.regressor import Regressor
from emoshare_utils.training.batches import Loader
from emoshare_utils.training.predictions import predict

CERTAIN = 1e-6  # a prediction is taken as at least this far from 0 and 1
SLOPES = 0.02, 50.0  # the least and the largest a


def recalibrate(
    networks: dict[str, Regressor],
    loader: Loader,
    shares: pd.DataFrame,
    pool: Executor,
) -> None:
    """Change the last layer of each emotion's network so that its shares fit those of train.

    Args:
        networks: emotion -> its network, whose output is a sigmoid.
        loader: of the frames.
        shares: of train, a row per clip_id, a column per emotion.
    """
    clip_ids = shares.index.to_numpy()
    predicted = predict(pool, list(networks.values()), loader, clip_ids)
    for (emotion, network), predictions in zip(networks.items(), predicted.T):
        network.ffnn.rescale(*fit_line(predictions, shares[emotion].to_numpy()))


def fit_line(predictions: np.ndarray, shares: np.ndarray) -> tuple[float, float]:
    """The a > 0 and c for which sigmoid(a logit(p) + c) has the largest likelihood of the votes.

    Args:
        predictions, shares: (n,) each, in [0, 1].
    """
    z = logit(predictions.astype(float).clip(CERTAIN, 1 - CERTAIN))

    def cost(line: np.ndarray) -> tuple[float, np.ndarray]:
        a = np.exp(line[0])
        x = a * z + line[1]
        likelihood = shares * log_expit(x) + (1 - shares) * log_expit(-x)
        error = expit(x) - shares
        return -likelihood.mean(), np.array([(error * a * z).mean(), error.mean()])

    bounds = [tuple(np.log(SLOPES)), (None, None)]
    found = minimize(cost, np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds)
    return float(np.exp(found.x[0])), float(found.x[1])
