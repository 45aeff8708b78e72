"""Made-up numbers that the tests of figures draw."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from emoshare_utils.corpora.clip_table import PAPER_EMOTIONS
from emoshare_utils.names import ARCHITECTURES, Look
from emoshare_utils.results.figures import (
    bars,
    durations,
    forest,
    learning_curves,
    matrix,
    padded_batch,
    scatter,
    share_distributions,
    worth,
)
from emoshare_utils.results.listeners import WORTH

NINE = list(PAPER_EMOTIONS)
SIX = ["Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad"]
SIMULATED = "simulated listeners"
SYSTEMS = ["HuBERT-mini L2 (A2)", "Mel filterbank (A1)", "untrained (A2)"]


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


def system(emotions, n=60, encoder="untrained", architecture=2):
    rng = np.random.default_rng(0)
    predictions, results = [], []
    about = {"encoder": encoder, "architecture": architecture, "seed": 0, "split": "devel"}
    for place, emotion in enumerate(emotions):
        share = np.round(rng.beta(0.6, 3, n) * 16) / 16
        predicted = np.clip(0.4 * share + rng.normal(0.1, 0.05, n), 0, 1)
        rows = {"emotion": emotion, "clip_id": [f"c{i}" for i in range(n)]}
        predictions.append(pd.DataFrame(about | rows | {"share": share, "prediction": predicted}))
        rho = {"rho": 0.5 + place / 100, "ci_low": 0.4, "ci_high": 0.6, "note": ""}
        results.append(about | {"emotion": emotion, "n": n} | rho)
    return pd.concat(predictions, ignore_index=True), pd.DataFrame(results)


def summary(encoders=("fbank", "untrained"), seeds=(0,), architectures=(1, 2)):
    rows = [
        {"encoder": encoder, "architecture": architecture, "seed": seed, "split": "devel"}
        | {"n": 240, "mean_rho": 0.3 + architecture / 10 + seed / 100}
        for encoder in encoders
        for architecture in architectures
        for seed in seeds
    ]
    table = pd.DataFrame(rows)
    return table.assign(ci_low=table["mean_rho"] - 0.05, ci_high=table["mean_rho"] + 0.05)


def differences(by_speaker=True):
    table = pd.DataFrame({"contrast": ["MFCC: A2 − A1", "MFCC A1 − Spectrogram A2"]})
    table = table.assign(split="devel", n=240, n_speakers=8 * by_speaker, seeds=1)
    table = table.assign(difference=[0.03, -0.2], ci_low=[-0.01, -0.3], ci_high=[0.07, -0.1])
    speakers = {"ci_speakers_low": [-0.02, -0.4], "ci_speakers_high": [0.09, -0.05]}
    table = (
        table.assign(**speakers) if by_speaker else table.assign(**dict.fromkeys(speakers, np.nan))
    )
    return table.assign(sign=[0, -1])


def pairs(systems=SYSTEMS):
    """Every two of the systems compared, the first of them ahead by .02 per place."""
    rows = [
        {"contrast": f"{a} − {b}", "difference": 0.02 * (j - i), "sign": int(j - i > 1)}
        for i, a in enumerate(systems)
        for j, b in enumerate(systems)
        if i < j
    ]
    table = pd.DataFrame(rows).assign(split="devel", n=240, n_speakers=8, seeds=1, note="")
    for over, reach in (("ci", 0.01), ("ci_speakers", 0.03)):
        table[f"{over}_low"] = table["difference"] - reach
        table[f"{over}_high"] = table["difference"] + reach
    return table


def clips(emotions, n=90):
    rng = np.random.default_rng(0)
    shares = {emotion: np.maximum(0, rng.normal(0.05, 0.1, n)) for emotion in emotions}
    split = np.repeat(["train", "devel", "test"], n // 3)
    return pd.DataFrame(shares | {"split": split, "duration_s": rng.uniform(1, 8, n)})


def batch():
    lengths = np.array([3, 10, 7])
    features = np.random.default_rng(0).normal(size=(3, 12, 4))
    features[np.arange(12) >= lengths[:, None]] = 0
    return features, lengths


def history(architectures=(1, 2)):
    rows = [
        {"encoder": "fbank", "architecture": architecture, "emotion": emotion, "seed": 0}
        | {"epoch": epoch, "train_mse": 1 / epoch, "devel_rho": 0.1 * min(epoch, 6 - epoch)}
        for architecture in architectures
        for emotion, last in (("Anger", 3), ("Sadness", 5))
        for epoch in range(1, last + 1)
    ]
    return pd.DataFrame(rows)


def compared(system=0.49, at=(3.2, 2.4, np.inf), speakers=15):
    who = [f"{k} other listeners" for k in range(1, 5)]
    who += ["face panel", "audio-visual panel", "HuBERT-mini L2 (A2)"]
    rho = np.array([0.36, 0.44, 0.48, 0.51, 0.362, 0.488, system])
    table = pd.DataFrame({"who": who, "listeners": [1, 2, 3, 4] + [np.nan] * 3, "n": 1166})
    table = table.assign(n_speakers=speakers, rho=rho, worth=[1, 2, 3, 4, 1.0, 3.2, at[0]])
    around = 0.04 if speakers else np.nan
    table = table.assign(ci_speakers_low=rho - around, ci_speakers_high=rho + around)
    bounds = np.full((7, 2), np.nan)
    bounds[-1] = at[1:] if speakers else np.nan
    return table.assign(**dict(zip(WORTH[1:], bounds.T)))


def every_figure():
    predictions, results = system(NINE)
    return {
        "scatter": scatter(predictions, results, NINE),
        "bars": bars(summary(), expected=0.8, paper=True),
        "forest": forest(differences()),
        "matrix": matrix(pairs(), SYSTEMS),
        "share_distributions": share_distributions(clips(NINE), NINE),
        "durations": durations(clips(NINE)),
        "padded_batch": padded_batch(*batch()),
        "learning_curves": learning_curves(history()),
        "worth": worth(compared(), 2),
    }


def boxes(figure) -> dict[str, mpl.transforms.Bbox]:
    """Where each text of a figure stands."""
    FigureCanvasAgg(figure).draw()
    drawn = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    return {text.get_text(): text.get_window_extent() for text in drawn}


@contextmanager
def third() -> Iterator[int]:
    """A third architecture, number 9."""
    ARCHITECTURES.register(9, Look("Toy", "T9", "#661100"))
    try:
        yield 9
    finally:
        del ARCHITECTURES.entries[9]
