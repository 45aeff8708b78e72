"""One emotion's network while it learns, and the step that all emotions take together."""

import copy
import math
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import reduce

import torch
from torch import Tensor, nn

from emoshare_utils.loader import Piece

GROUPS = 4  # of the pieces of a batch, each one worker's task: enough that all cores end together


class Learner:
    """The training of one emotion's network: its optimiser, and its best weights on devel."""

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        self.network = network
        self.parameters = list(network.parameters())
        self.optimiser = torch.optim.Adam(self.parameters, lr=learning_rate, fused=True)
        self.best_rho = -math.inf
        self.best_epoch = 0
        self.best_weights = copy.deepcopy(network.state_dict())
        self.squared_error = 0.0

    def gradients(self, pieces: Sequence[Piece], shares: Tensor) -> tuple[list[Tensor], float]:
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

    def update(self, parts: Sequence[tuple[list[Tensor], float]]) -> None:
        """One step of the optimiser along the sum of the parts of a gradient."""
        gradients, squared_errors = zip(*parts)
        for parameter, gradient in zip(self.parameters, reduce(_sum, gradients)):
            parameter.grad = gradient.contiguous()  # fused Adam reads memory as it lies
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.squared_error += sum(squared_errors)

    def judge(self, rho: float, epoch: int) -> None:
        """Keep the weights if rho is the best so far.

        A constant prediction never is; but where nothing better ever came it is kept, so that
        the results report it.
        """
        if rho > self.best_rho:
            self.best_rho, self.best_epoch = rho, epoch
        if rho == self.best_rho or self.best_rho == -math.inf:
            self.best_weights = copy.deepcopy(self.network.state_dict())

    def tensors(self) -> dict[str, Tensor]:
        """All that a checkpoint must hold besides `best_rho` and `best_epoch`."""
        adam = self.optimiser.state_dict()["state"]
        return {
            **{f"weights/{name}": tensor for name, tensor in self.network.state_dict().items()},
            **{f"best/{name}": tensor for name, tensor in self.best_weights.items()},
            **{f"adam/{i}/{name}": x for i, of_one in adam.items() for name, x in of_one.items()},
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `tensors` gave."""
        parts: dict[str, dict] = {"weights": {}, "best": {}, "adam": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = tensor
        self.network.load_state_dict(parts["weights"])
        self.best_weights = parts["best"]
        state: dict[int, dict] = {}
        for name, tensor in parts["adam"].items():
            number, _, rest = name.partition("/")
            state.setdefault(int(number), {})[rest] = tensor
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": state})


def _sum(one: list[Tensor], other: Sequence[Tensor]) -> list[Tensor]:
    """`one`, to which `other` has been added."""
    torch._foreach_add_(one, list(other))
    return one


def step(
    pool: Executor, learners: Sequence[Learner], pieces: Sequence[Piece], shares: Tensor
) -> None:
    """One optimiser step of every learner on the pieces of one batch; shares (N, learners).

    The gradients of the pieces sum to the gradient of the batch. They are summed in the same
    order whatever worker is quicker, so that the same run gives the same weights.
    """
    groups = [pieces[first::GROUPS] for first in range(min(GROUPS, len(pieces)))]
    parts = [
        [pool.submit(learner.gradients, group, of_one) for group in groups]
        for learner, of_one in zip(learners, shares.T)
    ]
    updates = [
        pool.submit(learner.update, [part.result() for part in of_one])
        for learner, of_one in zip(learners, parts)
    ]
    for update in updates:
        update.result()
