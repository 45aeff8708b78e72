"""How fast nine small networks train, as in the demo and on CREMA-D, against plain PyTorch.

    python -m benchmarks.small_networks      the table and runs/bench/small_networks.json

Plain PyTorch is what most people write: each network in turn, a batch padded to its longest clip,
`nn.Conv1d`, a packed `nn.LSTM`, all threads. Both take turns on the same batches in one process; a
figure is the median of its turns. Weights, frames and shares are random: speed does not depend on
them.
"""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.extraction import BENCH, matrix_peak, timed
from emoshare_utils.corpora.clip_table import PAPER_EMOTIONS
from emoshare_utils.device import one_worker_per_core
from emoshare_utils.models.padding import mask, pad
from emoshare_utils.models.regressor import Regressor, Sizes, build
from emoshare_utils.training.batches import MicroBatch, in_batches
from emoshare_utils.training.learner import Learner
from emoshare_utils.training.steps import step

TURNS = 7
MICRO_BATCH = 8
CPU = torch.device("cpu")
PROFILES = {  # sizes and clips per batch in profiles/demo.yaml and profiles/crema_d.yaml
    "demo": (Sizes(cnn=(32,), pool=16, lstm=32, ffnn_1=(32,), ffnn_2=(32,)), 32),
    "crema_d": (Sizes(cnn=(64,), pool=8, lstm=64, ffnn_1=(32,), ffnn_2=(32,)), 64),
}
FRAMES = {"mini": (448, 50), "fbank": (40, 100)}  # W, and frames per second


class Plain(nn.Module):
    """The same network in torch's own layers."""

    def __init__(self, architecture: int, width: int, sizes: Sizes) -> None:
        super().__init__()
        self.sizes, self.attends = sizes, architecture == 2
        widths = [width, *sizes.cnn]
        self.cnn = nn.ModuleList(nn.Conv1d(*pair, 3, padding=1) for pair in zip(widths, widths[1:]))
        self.lstm = nn.LSTM(sizes.cnn[-1], sizes.lstm, sizes.lstm_layers, batch_first=True)
        self.query = nn.Linear(sizes.lstm_layers * sizes.lstm, sizes.lstm, bias=False)
        hidden = [sizes.lstm, *(sizes.ffnn_2 if self.attends else sizes.ffnn_1)]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in zip(hidden, hidden[1:]))
        self.output = nn.Linear(hidden[-1], 1)

    def load(self, network: Regressor) -> None:
        """Take over the weights of one of ours."""
        for own, other in zip(self.cnn, network.cnn.convolutions):
            own.load_state_dict(other.state_dict())
        for number, layer in enumerate(network.lstm.layers):
            for name, weight in layer.named_parameters():
                getattr(self.lstm, name.replace("l0", f"l{number}")).data.copy_(weight)
        if self.attends:
            self.query.load_state_dict(network.attention.w_q.state_dict())
        self.hidden.load_state_dict(network.ffnn.hidden.state_dict())
        self.output.load_state_dict(network.ffnn.share.state_dict())

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features (N, L, W), lengths (N,) -> shares (N,)."""
        real = mask(lengths, features.shape[1])[:, None]
        frames = features.transpose(1, 2)
        for convolution in self.cnn:
            frames = F.relu(convolution(frames)) * real
        frames = F.max_pool1d(frames, self.sizes.pool, ceil_mode=True).transpose(1, 2)
        lengths = (lengths // self.sizes.pool).clamp(min=1)
        packed = nn.utils.rnn.pack_padded_sequence(frames, lengths, True, False)
        states, (final, _) = self.lstm(packed)
        states, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
        real = mask(lengths, states.shape[1])
        if self.attends:
            query = self.query(final.transpose(0, 1).flatten(1))
            scores = torch.einsum("nw,nlw->nl", query, states) / self.sizes.lstm**0.5
            weights = scores.masked_fill(~real, -torch.inf).softmax(1)
            pooled = torch.einsum("nl,nlw->nw", weights, states)
        else:
            pooled = states.sum(dim=1) / lengths[:, None]
        for layer in self.hidden:
            pooled = F.relu(layer(pooled))
        return torch.sigmoid(self.output(pooled)).squeeze(1)


@dataclass(frozen=True)
class Contest:
    """One architecture's nine networks of one profile, on one batch of one kind of frames."""

    sizes: Sizes
    learners: list[Learner]
    plain: list[Plain]
    micro_batches: list[MicroBatch]
    features: Tensor
    lengths: Tensor
    shares: Tensor

    @classmethod
    def of(cls, architecture: int, profile: str, kind: str) -> "Contest":
        (sizes, n_clips), (width, rate) = PROFILES[profile], FRAMES[kind]
        rng = np.random.default_rng(0)
        lengths = np.sort((rng.uniform(1.5, 5, n_clips) * rate).astype(int))  # the demo's seconds
        frames = [rng.standard_normal((length, width)).astype(np.float32) for length in lengths]
        micro_batches = [
            MicroBatch(rows, *pad([frames[row] for row in rows]))
            for rows in in_batches(np.arange(n_clips), MICRO_BATCH)
        ]
        torch.manual_seed(0)
        networks = [build(architecture, width, sizes) for _ in PAPER_EMOTIONS]
        plain = [Plain(architecture, width, sizes) for _ in networks]
        for own, network in zip(plain, networks):
            own.load(network)
        learners = [Learner(network, 1e-3) for network in networks]
        shares = torch.rand(n_clips, len(networks))
        return cls(sizes, learners, plain, micro_batches, *pad(frames), shares)

    def plain_step(self, optimisers: list[torch.optim.Optimizer]) -> None:
        """One step of every network in turn."""
        for place, (network, optimiser) in enumerate(zip(self.plain, optimisers)):
            optimiser.zero_grad()
            error = network(self.features, self.lengths) - self.shares[:, place]
            error.square().mean().backward()
            optimiser.step()

    def flops(self) -> float:
        """Multiplications and additions of a step on the clips' own frames, done directly.

        Forwards, and twice that backwards, but for the gradient of the features.
        """
        widths = [self.features.shape[2], *self.sizes.cnn]
        convolutions = [2 * 3 * n_in * n_out for n_in, n_out in zip(widths, widths[1:])]
        units = self.sizes.lstm
        lstm = [8 * units * (n_in + units) for n_in in (widths[-1], units)]
        frames, pooled = self.lengths.sum(), (self.lengths // self.sizes.pool).sum()
        one = frames * (3 * sum(convolutions) - convolutions[0]) + 3 * pooled * sum(lstm)
        return float(len(self.plain) * one)


def measure(architecture: int, profile: str, kind: str, turns: int = TURNS) -> dict:
    """Seconds per step of both ways, their ratio, and our share of the matrix peak."""
    contest = Contest.of(architecture, profile, kind)
    optimisers = [torch.optim.Adam(network.parameters(), lr=1e-3) for network in contest.plain]
    given = contest.learners, contest.micro_batches, contest.shares
    seconds = {"plain": [], "ours": []}
    for turn in range(turns + 1):
        taken = {"plain": timed(lambda: contest.plain_step(optimisers))}
        with one_worker_per_core() as pool:
            taken["ours"] = timed(lambda pool=pool: step(pool, *given))
        if turn:  # the first one warms up
            for way, s in taken.items():
                seconds[way].append(s)
    ratio = float(np.median(np.divide(seconds["plain"], seconds["ours"])))
    medians = {f"{way}_s": float(np.median(s)) for way, s in seconds.items()}
    of_peak = contest.flops() / medians["ours_s"] / matrix_peak("float32", CPU)
    about = {"profile": profile, "frames": kind, "architecture": architecture}
    return about | medians | {"ratio": ratio, "of_peak": of_peak}


def same_first_step(architecture: int, profile: str, kind: str) -> float:
    """The largest difference between the shares that both ways predict, before any step."""
    contest = Contest.of(architecture, profile, kind)
    with torch.no_grad():
        ours = [
            learner.network.regress(contest.features, contest.lengths)
            for learner in contest.learners
        ]
        plain = [network(contest.features, contest.lengths) for network in contest.plain]
    return float((torch.stack(ours) - torch.stack(plain)).abs().max())


def main() -> None:
    rows = [
        measure(architecture, profile, kind)
        for profile in PROFILES
        for kind in FRAMES
        for architecture in (1, 2)
    ]
    report = {"threads": torch.get_num_threads(), "turns": TURNS, "steps": rows}
    report["processor"] = torch.cpu.get_capabilities().get("cpu_name", "")
    print(pd.DataFrame(rows).round(3).to_string(index=False))
    BENCH.folder.mkdir(parents=True, exist_ok=True)
    (BENCH.folder / "small_networks.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
