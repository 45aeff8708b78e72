"""How fast nine networks train at the paper's sizes, against the released recipe, and how lean.

    python -m benchmarks.training            the tables and runs/bench/training.json: `make bench`
    python -m benchmarks.training --memory   one epoch's beginning over a store of the paper's size
    python -m benchmarks.training --epoch    one whole epoch over it, for a GPU

The recipe and ours take turns on the same batches in one process; a figure is the median of its
turns. Weights, frames and shares are random: speed does not depend on them.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks.extraction import (
    BENCH,
    durations,
    finished,
    matrix_peak,
    peak_memory_gb,
    precisions,
    timed,
)
from emoshare_utils.corpora.clip_table import PAPER_EMOTIONS, Corpus
from emoshare_utils.device import choose_device, one_worker_per_core
from emoshare_utils.features.store import SHARD_CLIPS, FeatureStore
from emoshare_utils.models.regressor import Sizes, build
from emoshare_utils.training.batches import frame_statistics, loader_for
from emoshare_utils.training.learner import Learner
from emoshare_utils.training.predictions import EVALUATION_BATCH
from emoshare_utils.training.settings import Training
from emoshare_utils.training.steps import step
from emoshare_utils.training.systems import train_system

ROUNDS = 3
WIDTH, PAPER_FRAMES, BATCH = 1024, 398, 128
STEP_CLIPS = 2048  # in the store that the steps read
PAPER_CLIPS = {"train": 31_745, "devel": 9_925}
MEMORY_STEPS = 16
SIZES = Sizes()  # the paper's


class Recipe(nn.Module):
    """The released code's arithmetic: padded to 398 frames, torch's own layers, a packed LSTM."""

    def __init__(self, architecture: int) -> None:
        super().__init__()
        widths = [WIDTH, *SIZES.cnn]
        layers = []
        for n_in, n_out in zip(widths, widths[1:]):
            layers += [nn.Conv1d(n_in, n_out, 3, padding=1), nn.ReLU()]
        self.cnn = nn.Sequential(*layers, nn.MaxPool1d(SIZES.pool))
        self.lstm = nn.LSTM(SIZES.cnn[-1], SIZES.lstm, SIZES.lstm_layers, batch_first=True)
        pooled = PAPER_FRAMES // SIZES.pool
        self.attends = architecture == 2
        self.frame_norm = nn.LayerNorm((pooled, SIZES.cnn[-1]))
        self.weight_norm = nn.LayerNorm(pooled)
        self.query = nn.Linear(2 * SIZES.lstm, SIZES.lstm)
        hidden = SIZES.ffnn_2 if self.attends else SIZES.ffnn_1
        layers = []
        for n_in, n_out in zip([SIZES.lstm, *hidden], hidden):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
            layers += [nn.LayerNorm(n_out)] if self.attends else []
        self.ffnn = nn.Sequential(*layers, nn.Linear(hidden[-1], 1), nn.ReLU())

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features (N, 398, W), lengths (N,) -> shares (N,)."""
        frames = self.cnn(features.transpose(1, 2)).transpose(1, 2)
        frames = self.frame_norm(frames) if self.attends else frames
        lengths = lengths // SIZES.pool
        packed = nn.utils.rnn.pack_padded_sequence(frames, lengths.cpu(), True, False)
        states, (final, _) = self.lstm(packed)
        states, _ = nn.utils.rnn.pad_packed_sequence(
            states, batch_first=True, total_length=frames.shape[1]
        )
        if self.attends:
            query = self.query(final.transpose(0, 1).flatten(1))
            scores = torch.einsum("nw,nlw->nl", query, states) / SIZES.lstm**0.5
            pooled = torch.einsum("nl,nlw->nw", self.weight_norm(scores.softmax(1)), states)
        else:
            pooled = states.sum(dim=1) / lengths[:, None]
        return self.ffnn(pooled).squeeze(1)


def make_store(clips: int, name: str) -> tuple[Corpus, FeatureStore]:
    """A store of noise with the challenge's lengths, 1,024 wide, and its corpus."""
    seconds = durations(clips)
    table = pd.DataFrame({"clip_id": [f"{i:06d}" for i in range(clips)], "audio_checksum": "0"})
    rng = np.random.default_rng(0)
    table[list(PAPER_EMOTIONS)] = rng.random((clips, len(PAPER_EMOTIONS)))
    is_devel = np.arange(clips) >= clips * PAPER_CLIPS["train"] / sum(PAPER_CLIPS.values())
    table["split"] = np.where(is_devel, "devel", "train")
    shutil.rmtree(BENCH.folder / name, ignore_errors=True)
    store = FeatureStore.create(BENCH.folder / name, "noise", WIDTH, {"encoder": "noise"})
    lengths = [(round(s * 16_000) - 400) // 320 + 1 for s in seconds]
    noise = rng.standard_normal((2 * max(lengths), WIDTH)).astype(np.float16)
    for number, start in enumerate(range(0, clips, SHARD_CLIPS)):
        rows = table.iloc[start : start + SHARD_CLIPS]
        frames = [noise[i % max(lengths) :][: lengths[i]] for i in rows.index]
        store.write_shard(f"shard-{number:05d}", rows, frames)
    return Corpus("noise", Path(), PAPER_EMOTIONS, table), store


class Contenders:
    """The ways to take one step of one architecture's networks, on batches of the same clips."""

    def __init__(
        self, architecture: int, corpus: Corpus, store: FeatureStore, device: torch.device
    ) -> None:
        self.architecture, self.store, self.device = architecture, store, device
        clips = corpus.split("train")
        self.clip_ids, self.shares = clips["clip_id"].to_numpy(), corpus.shares("train")
        self.shares = torch.tensor(self.shares, dtype=torch.float32)
        self.batches = np.random.default_rng(1).permutation(len(clips))
        self.batches = self.batches[: len(clips) // BATCH * BATCH].reshape(-1, BATCH)
        self.recipe = Recipe(architecture).to(device)
        self.adam = torch.optim.Adam(self.recipe.parameters(), lr=1e-4)
        self.learners = [
            Learner(build(architecture, WIDTH, SIZES).to(device), 1e-4) for _ in PAPER_EMOTIONS
        ]

    def recipe_step(self, turn: int) -> float:
        """Seconds of one step for all emotions: that of one, as often as there are emotions."""
        batch = self.batches[turn]
        features = torch.zeros(BATCH, PAPER_FRAMES, WIDTH)
        frames = [self.store.frames(clip) for clip in self.clip_ids[batch]]
        for row, clip in zip(features, frames):
            row[: len(clip)] = torch.from_numpy(clip.astype(np.float32))
        lengths = torch.tensor([len(clip) for clip in frames])
        features, lengths = features.to(self.device), lengths.to(self.device)
        target = self.shares[batch][:, 0].to(self.device)

        def one_emotion() -> None:
            self.adam.zero_grad()
            error = self.recipe(features, lengths) - target
            error.square().mean().backward()
            self.adam.step()

        return len(PAPER_EMOTIONS) * timed(lambda: finished(one_emotion, self.device))

    def our_steps(self, precision: str, turns: range) -> Iterator[float]:
        """Seconds of one step for all emotions, reading included, turn by turn."""
        network = self.learners[0].network
        settings = Training(precision=precision)
        loader = loader_for(network, self.store, settings, self.device)
        batches = loader.batches((self.batches[turn] for turn in turns), self.clip_ids)
        with one_worker_per_core() as pool:
            while True:
                start = time.perf_counter()
                try:
                    batch, micro_batches = next(batches)
                except StopIteration:
                    return
                given = pool, self.learners, micro_batches, self.shares[batch]
                finished(lambda given=given: step(*given), self.device)
                yield time.perf_counter() - start

    def flops(self, turn: int) -> float:
        """Multiplications and additions of a step on a batch's own frames, for all emotions."""
        return training_flops(self.store.lengths(self.clip_ids[self.batches[turn]]), WIDTH, SIZES)


def training_flops(lengths: np.ndarray, width: int, sizes: Sizes) -> float:
    """What training multiplies and adds for clips of these lengths, for all emotions.

    Forwards, and twice that backwards, but for the gradient of the features.
    """
    widths = [width, *sizes.cnn]
    convolutions = [2 * 3 * n_in * n_out for n_in, n_out in zip(widths, widths[1:])]
    inputs = [sizes.cnn[-1]] + [sizes.lstm] * (sizes.lstm_layers - 1)
    lstm = [2 * 4 * sizes.lstm * (n_in + sizes.lstm) for n_in in inputs]
    frames, pooled = lengths.sum(), (lengths // sizes.pool).sum()
    one = frames * (3 * sum(convolutions) - convolutions[0]) + 3 * pooled * sum(lstm)
    return float(len(PAPER_EMOTIONS) * one)


def measure(
    architecture: int, corpus: Corpus, store: FeatureStore, device: torch.device
) -> tuple[dict, pd.DataFrame]:
    """The figures of one architecture, and the table of the ways."""
    contenders = Contenders(architecture, corpus, store, device)
    turns = range(ROUNDS + 1)
    ours = {precision: contenders.our_steps(precision, turns) for precision in precisions(device)}
    seconds: dict[str, list[float]] = {"recipe": [], **{precision: [] for precision in ours}}
    flops, peaks = [], {precision: [] for precision in ours}
    for turn in turns:
        taken = {"recipe": contenders.recipe_step(turn)}
        taken |= {precision: next(steps) for precision, steps in ours.items()}
        if turn:  # the first one warms up
            flops.append(contenders.flops(turn))
            for way, s in taken.items():
                seconds[way].append(s)
            for precision in ours:
                peaks[precision].append(matrix_peak(precision, device))
    table = pd.DataFrame({"s per step": {way: np.median(s) for way, s in seconds.items()}})
    ratios = {
        way: np.median(np.array(seconds["recipe"]) / np.array(s)) for way, s in seconds.items()
    }
    table["ratio"] = pd.Series(ratios)
    peak = {precision: float(np.median(found)) for precision, found in peaks.items()}
    fractions = {
        p: float(np.median(np.array(flops) / np.array(seconds[p]))) / peak[p] for p in ours
    }
    table["of peak"] = pd.Series(fractions)
    best = list(ours)[-1]
    return {
        "ratio": float(ratios[best]),
        "ratio_float32": float(ratios["float32"]),
        "peak_fraction": fractions[best],
        "peak_fraction_float32": fractions["float32"],
        "precision": best,
        "peak_gflops": {p: found / 1e9 for p, found in peak.items()},
        "seconds": seconds,
    }, table


def over_the_papers_store(precision: str, steps: int | None) -> dict:
    """Train one epoch on a store of the paper's size: on clips for `steps` steps, or on all.

    The statistics of the frames are taken over the whole store in both cases.
    """
    corpus, store = make_store(sum(PAPER_CLIPS.values()), "paper")
    n_bytes = sum(file.stat().st_size for file in store.folder.glob("*.npy"))
    before_gb = peak_memory_gb()
    models = BENCH.folder / "models"
    shutil.rmtree(models, ignore_errors=True)
    settings = Training(epochs=1, precision=precision, standardise=True)
    start = time.perf_counter()
    if steps:
        frame_statistics(store, corpus.split("train")["clip_id"].to_numpy())
        clips = corpus.clips.sample(frac=1, random_state=0).groupby("split")
        wanted = {"train": steps * BATCH, "devel": steps * EVALUATION_BATCH}
        parts = [clips.get_group(split).head(n) for split, n in wanted.items()]
        corpus = corpus.with_clips(pd.concat(parts).sort_index())
    train_system(corpus, store, 2, 0, models, SIZES, settings)
    seconds = time.perf_counter() - start
    shutil.rmtree(models)
    shutil.rmtree(BENCH.folder / "paper")
    return {
        "train_clips": PAPER_CLIPS["train"],
        "width": WIDTH,
        "store_gb": n_bytes / 1e9,
        "steps": steps or "one epoch",
        "seconds": seconds,
        "before_gb": before_gb,
        "peak_gb": peak_memory_gb(),
    }


def alone(precision: str) -> dict:
    """`over_the_papers_store` in a process of its own, whose memory nothing else has filled."""
    command = [sys.executable, "-m", "benchmarks.training", "--memory", "--precision", precision]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    (waited,) = re.findall(r"([\d.]+)% of the time went into waiting", out.stdout)
    return json.loads(out.stdout.splitlines()[-1]) | {"loader_share": float(waited) / 100}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", action="store_true", help="only the memory, in this process")
    parser.add_argument("--epoch", action="store_true", help="only one whole epoch")
    parser.add_argument("--precision", default="float32")
    args = parser.parse_args()
    if args.memory or args.epoch:
        steps = None if args.epoch else MEMORY_STEPS
        print(json.dumps(over_the_papers_store(args.precision, steps)))
        return
    device = choose_device("auto")
    report = {"device": str(device), "threads": torch.get_num_threads(), "rounds": ROUNDS}
    report["processor"] = torch.cpu.get_capabilities().get("cpu_name", "")
    corpus, store = make_store(STEP_CLIPS, "step")
    for architecture in (1, 2):
        found, table = measure(architecture, corpus, store, device)
        report[f"architecture_{architecture}"] = found
        print(
            f"\nArchitecture {architecture}, {len(PAPER_EMOTIONS)} emotions, W = {WIDTH}, batch "
            f"{BATCH}, {device}, medians of {ROUNDS}\n{table.round(3).to_string()}\n",
            flush=True,
        )
    shutil.rmtree(BENCH.folder / "step")
    report["memory"] = alone(precisions(device)[-1])
    print(pd.Series(report["memory"]).to_string())
    (BENCH.folder / "training.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
