"""How much `benchmarks.gpu` does, in which time, and against which goals."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
import transformers

from benchmarks.extraction import MATRICES
from benchmarks.extraction import SIZES as ENCODERS
from benchmarks.training import PAPER_CLIPS
from emoshare_utils.models.regressor import Sizes

BUDGET_S = 450  # of all steps; what comes before them takes up to 20 s more
CLIPS = {**PAPER_CLIPS, "test": 10_143}
EXACT = 1e-4  # the most that a GPU's float32 may be off, relative to the CPU's
GOALS_S = {"H200": 60.0, "H100": 90.0}  # of the extraction, by a part of the GPU's name
EPOCH_GOAL_S, PAPER_GOAL_S = 15.0, 1800.0
# of profiles/compare23.yaml: each feature set, and the one measured here that costs as much
PAPER = {
    "wav2vec2-base": "base",
    "wav2vec2-large": "large",
    "hubert-base": "base",
    "hubert-large": "large",
    "fbank": "fbank",
}
SVR = "wav2vec2-large-robust-12-ft"  # half the layers of "large", whose cost it is counted at
EPOCHS = {"fewest": 11, "most": 150}  # patience + 1, if the first is the best; the profile's limit
LEFT_OUT = [
    "the SVR's 180 fits, on the processor: how long they take depends on the features",
    "the tables and figures of notebooks 04 and 05",
]


@dataclass(frozen=True)
class Scale:
    """How much is done.

    Attributes:
        clips: in the corpus. Their paths lead to `files` sound files, each read many times.
        part: clips of what is only measured in part.
        limits_s: of each step.
    """

    encoders: dict[str, transformers.HubertConfig]
    sizes: Sizes
    matrices: tuple[tuple[int, int, int], ...]
    files: int
    clips: int
    part: int
    batch: int
    limits_s: dict[str, float]


LIMITS_S = {
    "peak": 25,
    "exactness": 60,
    "extraction": 150,
    "epoch_architecture_1": 60,
    "epoch_architecture_2": 60,
    "other_encoders": 90,
}
FULL = Scale(
    encoders={size: config for size, (config, _) in ENCODERS.items()},
    sizes=Sizes(),
    matrices=(*MATRICES, (8192, 8192, 8192)),
    files=2048,
    clips=sum(CLIPS.values()),
    part=4096,
    batch=128,
    limits_s=LIMITS_S,
)
TOY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TOY |= {"intermediate_size": 64, "conv_dim": [8] * 7, "num_conv_pos_embedding_groups": 4}
SMOKE = Scale(
    encoders={
        "base": transformers.HubertConfig(**TOY),
        "large": transformers.HubertConfig(
            **TOY, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True
        ),
    },
    sizes=Sizes(cnn=(8,), lstm=8, lstm_layers=1, ffnn_1=(8,), ffnn_2=(8,)),
    matrices=((256, 256, 256),),
    files=8,
    clips=48,
    part=24,
    batch=16,
    limits_s=LIMITS_S,
)


class TimeUp(BaseException):
    """Raised where a step's time is up; no `except Exception` on the way catches it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeUp in the main thread after so many seconds."""

    def stop(*_: object) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def summary(report: dict) -> pd.DataFrame:
    """What was found, beside its goal."""
    gpu = report["machine"]["gpu"]
    goals = [goal for name, goal in GOALS_S.items() if gpu and name in gpu]
    extraction = goals[0] if goals else None
    epoch, paper = (EPOCH_GOAL_S, PAPER_GOAL_S) if gpu else (None, None)
    rows = [("extraction, HuBERT-large, all clips", "extraction", "all_clips_s", extraction)]
    for architecture in (1, 2):
        label = f"epoch of nine networks, Architecture {architecture}"
        rows.append((label, f"epoch_architecture_{architecture}", "all_clips_s", epoch))
    for which, n in EPOCHS.items():
        rows.append((f"compare23, {n} epochs", "compare23", f"{which}_epochs_s", paper))
    table = []
    for what, step, key, goal_s in rows:
        found = report[step]
        seconds = found.get(key)
        ratio = seconds / goal_s if seconds and goal_s else None
        of_peak = found.get("peak_fraction")
        table.append([what, seconds, goal_s, ratio, of_peak, found["status"]])
    columns = ["", "seconds", "goal", "measured/goal", "of peak", "status"]
    return pd.DataFrame(table, columns=columns)
