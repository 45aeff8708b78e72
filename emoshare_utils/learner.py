"""One emotion's network while it learns, and the step that all emotions take together."""

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from threading import Lock

import torch
from torch import Tensor, nn

from emoshare_utils.loader import Piece

WEIGHTS = "weights/"
GROUPS = 4  # of the pieces of a batch, each one worker's task: enough that all cores end together

Part = tuple[list[Tensor], float]  # of a gradient, and of the sum of squared errors


class Learner:
    """The training of one emotion's network.

    Attributes:
        epoch: the last one it took part in.
        best_rho, best_epoch: its best on devel.
        kept_epoch: the one whose weights count: the best or, while no rho is defined, the last.
    """

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        self.network = network
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
        return {
            **{f"{WEIGHTS}{name}": x for name, x in self.network.state_dict().items()},
            **{f"adam/{i}/{name}": x for i, of_one in adam.items() for name, x in of_one.items()},
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `tensors` gave."""
        self.take_weights(tensors)
        state: dict[int, dict] = {}
        for key, tensor in tensors.items():
            part, _, rest = key.partition("/")
            if part == "adam":
                number, _, name = rest.partition("/")
                state.setdefault(int(number), {})[name] = tensor
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": state})

    def take_weights(self, tensors: dict[str, Tensor]) -> None:
        """Of what `tensors` gave, the weights alone."""
        self.network.load_state_dict(
            {key.removeprefix(WEIGHTS): x for key, x in tensors.items() if key.startswith(WEIGHTS)}
        )


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
