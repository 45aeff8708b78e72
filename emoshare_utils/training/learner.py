"""One emotion's network while it learns, and the step that all emotions take together."""

import copy
from collections.abc import Sequence
from concurrent.futures import Executor, Future

import torch
from torch import Tensor

from emoshare_utils.models.regressor import Regressor
from emoshare_utils.training.batches import MicroBatch
from emoshare_utils.training.early_stopping import EarlyStopping
from emoshare_utils.training.losses import Loss, derivative, mse
from emoshare_utils.training.predictions import predict_batch

KEPT = "weights/"  # in a checkpoint: the weights that are judged and kept
LEARNING = "learning/"  # and those that learn, where others are kept
GROUPS = 4  # of micro-batches, one task each: enough that all cores end together
Part = tuple[list[Tensor], float]  # of a batch's gradient, and of its sum of squared errors


class Learner:
    """The training of one emotion's network.

    Args:
        average: the decay of the exponential moving average of the weights; 0: none.

    Attributes:
        judged: the network that is judged on devel and kept: that of the averaged weights or,
            without averaging, the one that learns.
        squared_error: the sum over the clips since `means` was asked for.
        loss_sum: the loss, each batch's as often as it has clips; 0 where the loss is `mse`.
    """

    def __init__(
        self, network: Regressor, learning_rate: float, average: float = 0.0, loss: Loss = mse
    ) -> None:
        self.network, self.average, self.loss = network, average, loss
        self.judged = copy.deepcopy(network).requires_grad_(False) if average else network
        self.parameters = list(network.parameters())
        self.optimiser = torch.optim.Adam(self.parameters, lr=learning_rate, fused=True)
        self.stopping = EarlyStopping()
        self.squared_error = self.loss_sum = 0.0

    def gradients(
        self,
        micro_batches: Sequence[MicroBatch],
        shares: Tensor,
        slopes: Tensor | None = None,
    ) -> Part:
        """These micro-batches' part of the gradient of a batch; all parts sum to the whole.

        Args:
            shares: of the whole batch, (N,).
            slopes: the derivative of the loss by each prediction of the batch, (N,); None for the
                mean squared error.
        """
        part = None
        for rows, features, lengths in micro_batches:
            predictions = self.network.regress(features, lengths)
            errors = (predictions - shares[rows].to(features.device)).square().sum()
            if slopes is None:
                gradients = torch.autograd.grad(errors / len(shares), self.parameters)
            else:
                slope = slopes[rows].to(features.device)
                gradients = torch.autograd.grad(predictions, self.parameters, slope)
            part = _plus(part, (list(gradients), float(errors.detach())))
        return part

    def update(self, part: Part) -> None:
        """Take one step of the optimiser along a batch's gradient."""
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
        decay = min(self.average, (1 + steps) / (10 + steps))
        torch._foreach_lerp_(list(self.judged.parameters()), self.parameters, 1 - decay)

    def means(self, n_clips: int) -> dict[str, float]:
        """The training errors of an epoch of `n_clips`, for the history; then start from 0."""
        means = {"train_mse": self.squared_error / n_clips}
        if self.loss is not mse:
            means["train_loss"] = self.loss_sum / n_clips
        self.squared_error = self.loss_sum = 0.0
        return means

    def tensors(self) -> dict[str, Tensor]:
        """Weights and optimiser: all that training resumes from."""
        adam = self.optimiser.state_dict()["state"]
        learning = self.network.state_dict() if self.average else {}
        return {
            **{f"{KEPT}{name}": x for name, x in self.judged.state_dict().items()},
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
        """Take over only the judged weights of what `tensors` gave."""
        self.judged.load_state_dict(_below(KEPT, tensors))


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): x for key, x in tensors.items() if key.startswith(prefix)}


def step(
    pool: Executor,
    learners: Sequence[Learner],
    micro_batches: Sequence[MicroBatch],
    shares: Tensor,
) -> None:
    """One optimiser step of every learner on one batch; shares (N, learners)."""
    groups = [micro_batches[first::GROUPS] for first in range(min(GROUPS, len(micro_batches)))]

    def add(learner: Learner, before: Future | None, group: list, *of_one: Tensor) -> Part | None:
        part = learner.gradients(group, *of_one)
        # in their order, so that the same run gives the same weights
        total = _plus(before.result(), part) if before else part
        return learner.update(total) if group is groups[-1] else total

    tasks = []
    slopes = _slopes(pool, learners, micro_batches, shares)
    for learner, *of_one in zip(learners, shares.T, slopes):
        task = None
        for group in groups:
            task = pool.submit(add, learner, task, group, *of_one)
        tasks.append(task)
    for task in tasks:
        task.result()


def _plus(one: Part | None, other: Part) -> Part:
    """The sum of two parts, in the memory of the first."""
    if one is None:
        return other
    torch._foreach_add_(one[0], other[0])
    return one[0], one[1] + other[1]


def _slopes(
    pool: Executor,
    learners: Sequence[Learner],
    micro_batches: Sequence[MicroBatch],
    shares: Tensor,
) -> list[Tensor | None]:
    """For each learner the derivative of its loss by its predictions, (N,); None for `mse`."""
    if all(learner.loss is mse for learner in learners):
        return [None] * len(learners)
    predictions = predict_batch(pool, [each.network for each in learners], micro_batches)
    slopes = []
    for learner, *of_one in zip(learners, predictions.T, shares.T):
        loss, slope = derivative(learner.loss, *of_one)
        learner.loss_sum += loss * len(shares)
        slopes.append(slope)
    return slopes
