"""What Architecture 2 attends to, and what its weights are worth (notebook 11).

The weights are those of Eq. 2b, one per state of the LSTM. They are compared with the voice at the
same time, and replaced by others, over the same states and under the same FFNN.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emoshare_utils.corpora.audio import SAMPLE_RATE, read_audio
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.small_network import HOP
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.models.padding import mask, pad
from emoshare_utils.models.regressor import Regressor
from emoshare_utils.pretraining.targets import voice
from emoshare_utils.progress import track
from emoshare_utils.results.bootstrap import interval, times_drawn
from emoshare_utils.results.enough import too_few
from emoshare_utils.results.metrics import spearman
from emoshare_utils.training.systems import load_network

LEARNED = "learned"
WEIGHTS = (LEARNED, "uniform", "loudness", "final state")
CORRELATES = ("loudness", "voicing", "position")
FEWEST_STATES = 5  # of a clip, for a correlation over them
BATCH = 64  # clips


class Attended(NamedTuple):
    """Attention of one system over clips.

    Attributes:
        weights: emotion -> clip_id -> its weights, (L',).
        predictions: clip_id, emotion, weights (one of `WEIGHTS`), prediction.
        clips: clip_id, emotion, entropy (of the weights, 1 where they are equal), and the
            weights' rho over the clip's states with each of `CORRELATES`.
        state_s: seconds per state.
    """

    weights: dict[str, dict[str, np.ndarray]]
    predictions: pd.DataFrame
    clips: pd.DataFrame
    state_s: float


def attend(folder: Path, store: FeatureStore, corpus: Corpus, split: str = "devel") -> Attended:
    """Run the networks of an Architecture 2 over the clips of a split.

    Args:
        folder: the system's.
        store: its frames.

    Raises:
        ValueError: the networks have no attention.
    """
    networks = {emotion: load_network(folder, emotion, store.width) for emotion in corpus.emotions}
    pool = next(iter(networks.values())).cnn.pool
    state_s = pool * store.settings.get("hop", HOP) / SAMPLE_RATE
    clips = corpus.split(split)
    heard = {
        clip: voice(read_audio(corpus.path(path)))
        for clip, path in track(list(zip(clips["clip_id"], clips["path"])), "loudness and voicing")
    }
    weights, predictions, rows = {}, [], []
    for emotion, network in networks.items():
        if not hasattr(network, "attention"):
            raise ValueError(f"{folder} has no attention: name a system of Architecture 2")
        weights[emotion] = {}
        for ids, found in _weighed(network, store, clips["clip_id"].to_numpy(), heard, state_s):
            for name, (shares, of_states) in found.items():
                about = {"clip_id": ids, "emotion": emotion, "weights": name}
                predictions.append(pd.DataFrame(about | {"prediction": shares}))
                if name == LEARNED:
                    weights[emotion] |= dict(zip(ids, of_states))
        for clip, of_states in weights[emotion].items():
            row = {"clip_id": clip, "emotion": emotion, "entropy": entropy(of_states)}
            beside = _at_states(heard[clip], len(of_states), state_s)
            rows.append(row | {name: _rho(of_states, beside[name]) for name in CORRELATES})
    return Attended(weights, pd.concat(predictions, ignore_index=True), pd.DataFrame(rows), state_s)


def entropy(weights: np.ndarray) -> float:
    """The entropy of weights (L',) that add up to 1, divided by that of equal ones, log L'."""
    kept = weights[weights > 0]
    most = np.log(len(weights))
    return float(-(kept * np.log(kept)).sum() / most) if most else 1.0


def _rho(weights: np.ndarray, beside: np.ndarray) -> float:
    return spearman(weights, beside) if len(weights) >= FEWEST_STATES else np.nan


def _at_states(heard: np.ndarray, states: int, state_s: float) -> dict[str, np.ndarray]:
    """Loudness (log energy), voicing and position (s) at the middle of each state, (L',) each."""
    middle = (np.arange(states) + 0.5) * state_s
    times = (np.arange(len(heard)) + 0.5) * HOP / SAMPLE_RATE
    _, voicing, level = heard.T
    columns = {"loudness": level, "voicing": voicing}
    return {name: np.interp(middle, times, x) for name, x in columns.items()} | {"position": middle}


@torch.no_grad()
def _weighed(
    network: Regressor,
    store: FeatureStore,
    clip_ids: np.ndarray,
    heard: Mapping[str, np.ndarray],
    state_s: float,
) -> Iterator[tuple[np.ndarray, dict[str, tuple[np.ndarray, list[np.ndarray]]]]]:
    """Batches of clips: their ids, and the predicted shares and weights under each of `WEIGHTS`."""
    order = clip_ids[np.argsort(store.lengths(clip_ids), kind="stable")]
    for start in range(0, len(order), BATCH):
        ids = order[start : start + BATCH]
        features, lengths = pad([store.frames(clip) for clip in ids])
        frames, lengths = network.frames(network.standardise(features, lengths), lengths)
        states, final = network.lstm(frames, lengths)
        real = mask(lengths, states.shape[1])
        _, learned = network.attention(states, final, lengths)
        level = torch.full(real.shape, -torch.inf)
        for row, clip, n in zip(level, ids, lengths.tolist()):
            row[:n] = torch.from_numpy(_at_states(heard[clip], n, state_s)["loudness"]) / 2
        last = torch.nn.functional.one_hot(lengths - 1, states.shape[1]).float()
        given = (learned, real / real.sum(1, keepdim=True), level.softmax(1), last)
        yield (
            ids,
            {
                name: (_shares(network, states, w), [x[:n].numpy() for x, n in zip(w, lengths)])
                for name, w in zip(WEIGHTS, given)
            },
        )


def _shares(network: Regressor, states: Tensor, weights: Tensor) -> np.ndarray:
    """The shares (N,) from the weighted sum of states (N, L', W_l)."""
    return network.ffnn(torch.einsum("nl,nlw->nw", weights, states)).numpy()


def correlates(
    attended: Attended, speakers: Mapping[str, str], resamples: int = 1000
) -> pd.DataFrame:
    """The mean over clips of the weights' rho with each of `CORRELATES`, and of their entropy.

    Returns:
        emotion, what, average, low and high (95 % over speakers), n, n_speakers, note.
    """
    rows = []
    for emotion, clips in attended.clips.groupby("emotion", sort=False):
        for what in (*CORRELATES, "entropy"):
            known = clips.dropna(subset=what)
            people, unit = np.unique(known["clip_id"].map(speakers), return_inverse=True)
            about = {"emotion": emotion, "what": what, "average": known[what].mean()}
            about |= {"n": len(known), "n_speakers": len(people)}
            note, low, high = too_few(len(known), len(people)), np.nan, np.nan
            if not note:
                times = times_drawn(len(people), range(resamples))[:, unit]
                low, high = interval(times @ known[what] / times.sum(1), len(people))
            rows.append(about | {"low": low, "high": high, "note": note})
    return pd.DataFrame(rows)


def replaced(attended: Attended, predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions under each of `WEIGHTS`, as a table of systems that `compare` takes.

    Args:
        predictions: of the system itself, whose shares and seed they have; its encoder becomes
            the weights' name.
    """
    about = predictions.drop(columns=["prediction", "encoder"])
    named = attended.predictions.rename(columns={"weights": "encoder"})
    return about.merge(named, on=["clip_id", "emotion"])


def gain_by_entropy(
    attended: Attended,
    predictions: pd.DataFrame,
    other: pd.DataFrame,
    speakers: Mapping[str, str],
    resamples: int = 1000,
) -> pd.DataFrame:
    """Where attention is sharp, is it also better? Rho over clips of entropy and gain.

    The gain of a clip is the absolute error of `other` (Architecture 1) less that of
    `predictions`.

    Returns:
        emotion, rho, low and high (over speakers), n, n_speakers.
    """
    both = predictions.merge(other, on=["clip_id", "emotion"], suffixes=("", "_other"))
    both = both.merge(attended.clips, on=["clip_id", "emotion"])
    error = (both["prediction"] - both["share"]).abs()
    both["gain"] = (both["prediction_other"] - both["share"]).abs() - error
    rows = []
    for emotion, clips in both.groupby("emotion", sort=False):
        people, unit = np.unique(clips["clip_id"].map(speakers), return_inverse=True)
        x, y = clips["entropy"].to_numpy(), clips["gain"].to_numpy()
        row = {"emotion": emotion, "rho": spearman(x, y), "n": len(x), "n_speakers": len(people)}
        low = high = np.nan
        if not too_few(len(x), len(people)):
            times = times_drawn(len(people), range(resamples))[:, unit].astype(int)
            drawn = (np.repeat(np.arange(len(x)), count) for count in times)
            low, high = interval(np.array([spearman(x[i], y[i]) for i in drawn]), len(people))
        rows.append(row | {"low": low, "high": high})
    return pd.DataFrame(rows)
