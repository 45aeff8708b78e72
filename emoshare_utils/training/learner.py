"""One emotion's network while it learns, and the step that all emotions take together."""

import copy
import math
from collections.abc import Sequence
from concurrent.futures import Executor
from threading import Lock

import torch
from torch import Tensor, nn

from emoshare_utils.training.batches import Piece

WEIGHTS = "weights/"  # that count
LEARNING = "learning/"  # those of the network that learns, where others count
GROUPS = 4  # of the pieces of a batch, each one worker's task: enough that all cores end together
Part = tuple[list[Tensor], float]  # of a gradient, and of the sum of squared errors


class Learner:
    """The training of one emotion's network.

    Args:
        average: see `Training`.

    Attributes:
        judged: the network whose rho and weights count: that of the averaged weights, or, without
            averaging, the one that learns.
        epoch: the last one it took part in.
        best_rho, best_epoch: its best on devel.
        kept_epoch: the one whose weights count: the best or, while no rho is defined, the last.
    """

    def __init__(self, network: nn.Module, learning_rate: float, average: float = 0.0) -> None:
        self.network, self.average = network, average
        self.judged = copy.deepcopy(network).requires_grad_(False) if average else network
        self.parameters = list(network.parameters())
        self.optimiser = torch.optim.Adam(self.parameters, lr=learning_rate, fused=True)
        self.best_rho = -math.inf
        self.epoch = self.best_epoch = self.kept_epoch = 0
        self.squared_error = 0.0

    def gradients(self, pieces: Sequence[Piece], shares: Tensor) -> Part:
        """Of the mean squared error over a batch of shares (N,), what these pieces add to it.

        Returns:
            the gradient of every parameter, and the sum of squared errors.
        """
        total, squared_error = None, 0.0
        for rows, features, lengths in pieces:
            error = self.network.regress(features, lengths) - shares[rows].to(features.device)
            loss = error.square().sum()
            gradients = torch.autograd.grad(loss / len(shares), self.parameters)
            total = _sum(total, gradients) if total else list(gradients)
            squared_error += float(loss.detach())
        return total, squared_error

    def update(self, part: Part) -> None:
        """One step of the optimiser along a batch's gradient."""
        gradients, squared_error = part
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.grad = gradient.contiguous()  # fused Adam reads memory as it lies
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.squared_error += squared_error
        if self.average:
            self._average()

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights towards those of this step; the first steps move them more."""
        steps = float(self.optimiser.state[self.parameters[0]]["step"])
        kept = min(self.average, (1 + steps) / (10 + steps))
        torch._foreach_lerp_(list(self.judged.parameters()), self.parameters, 1 - kept)

    def judge(self, rho: float, epoch: int) -> None:
        """Take note of the devel rho after `epoch`.

        A constant prediction has none and is never the best; but where nothing better ever came
        the last weights are kept, so that the results report it.
        """
        self.epoch = epoch
        if rho > self.best_rho:
            self.best_rho, self.best_epoch = rho, epoch
        self.kept_epoch = self.best_epoch or epoch

    def tensors(self) -> dict[str, Tensor]:
        """Weights and optimiser: all from which training goes on."""
        adam = self.optimiser.state_dict()["state"]
        learning = self.network.state_dict() if self.average else {}
        return {
            **{f"{WEIGHTS}{name}": x for name, x in self.judged.state_dict().items()},
            **{f"{LEARNING}{name}": x for name, x in learning.items()},
            **{f"adam/{i}/{name}": x for i, of_one in adam.items() for name, x in of_one.items()},
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `tensors` gave."""
        self.take_weights(tensors)
        if self.average:
            self.network.load_state_dict(_below(LEARNING, tensors))
        state: dict[int, dict] = {}
        for key, tensor in _below("adam/", tensors).items():
            number, _, name = key.partition("/")
            state.setdefault(int(number), {})[name] = tensor
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": state})

    def take_weights(self, tensors: dict[str, Tensor]) -> None:
        """Of what `tensors` gave, the weights that count alone."""
        self.judged.load_state_dict(_below(WEIGHTS, tensors))


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): x for key, x in tensors.items() if key.startswith(prefix)}


def _sum(one: list[Tensor], other: Sequence[Tensor]) -> list[Tensor]:
    """`one`, to which `other` has been added."""
    torch._foreach_add_(one, list(other))
    return one


class _Gradient:
    """The gradient of a batch, summed part by part in their order, whoever is quicker.

    So the same run gives the same weights, and few parts are in memory at once.
    """

    def __init__(self, n_parts: int) -> None:
        self.n_parts, self.added = n_parts, 0
        self.early: dict[int, Part] = {}
        self.total: Part | None = None
        self.lock = Lock()

    def add(self, place: int, part: Part) -> Part | None:
        """Add a part; the whole gradient once all are there."""
        with self.lock:
            self.early[place] = part
            while self.added in self.early:
                gradients, squared_error = self.early.pop(self.added)
                if self.total:
                    gradients = _sum(self.total[0], gradients)
                    squared_error += self.total[1]
                self.total = gradients, squared_error
                self.added += 1
            return self.total if self.added == self.n_parts else None


def step(
    pool: Executor, learners: Sequence[Learner], pieces: Sequence[Piece], shares: Tensor
) -> None:
    """One optimiser step of every learner on the pieces of one batch; shares (N, learners).

    The gradients of the pieces sum to the gradient of the batch.
    """
    groups = [pieces[first::GROUPS] for first in range(min(GROUPS, len(pieces)))]

    def add(learner: Learner, whole: _Gradient, place: int, of_one: Tensor) -> None:
        total = whole.add(place, learner.gradients(groups[place], of_one))
        if total:
            learner.update(total)

    tasks = []
    for learner, of_one in zip(learners, shares.T):
        whole = _Gradient(len(groups))
        tasks += [pool.submit(add, learner, whole, i, of_one) for i in range(len(groups))]
    for task in tasks:
        task.result()
