"""One emotion's network while it learns."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from emoshare_utils.models.regressor import Regressor
from emoshare_utils.training.batches import MicroBatch
from emoshare_utils.training.early_stopping import EarlyStopping
from emoshare_utils.training.feature_smoothing import FeatureSmoothing
from emoshare_utils.training.losses import Loss, mse

KEPT = "weights/"  # in a checkpoint: the weights that are judged and kept
LEARNING = "learning/"  # and those that learn, where others are kept
Part = tuple[list[Tensor], float]  # of a batch's gradient, and of its sum of squared errors


class Learner:
    """The training of one emotion's network.

    Args:
        average: the decay of the exponential moving average of the weights; 0: none.
        warmup: steps over which the learning rate rises to `learning_rate`.
        smoothing: calibrates what the FFNN reads while it learns, where the loss is `mse`; None:
            nothing does.

    Attributes:
        judged: the network that is judged on devel and kept: that of the averaged weights or,
            without averaging, the one that learns.
        squared_error: the sum over the clips since `means` was asked for.
        loss_sum: the loss, each batch's as often as it has clips; 0 where the loss is `mse`.
    """

    def __init__(
        self,
        network: Regressor,
        learning_rate: float,
        average: float = 0.0,
        loss: Loss = mse,
        warmup: int = 0,
        smoothing: FeatureSmoothing | None = None,
    ) -> None:
        if smoothing is not None and loss is not mse:
            raise ValueError("smoothed features are trained by the mean squared error alone")
        self.network, self.average, self.loss = network, average, loss
        self.smoothing = smoothing
        self.learning_rate, self.warmup = learning_rate, warmup
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
            if self.smoothing is None:
                predictions = self.network.regress(features, lengths)
            else:
                vectors = self.network.vector(*self.network.frames(features, lengths))
                predictions = self.head(vectors, shares[rows])
            of_one = self.derive(predictions, rows, shares, slopes, self.parameters)
            part = plus(part, of_one)
        return part

    def head(self, vectors: Tensor, shares: Tensor) -> Tensor:
        """Pooled vectors (N, W_l + metadata) of clips with these shares -> predicted ones (N,)."""
        if self.smoothing is not None:
            vectors = self.smoothing(vectors, shares)
        return self.network.ffnn(vectors)

    def after_cnn(self, batch: MicroBatch, shares: Tensor) -> tuple[Tensor, Tensor]:
        """What the CNN gave, the features of `batch` -> themselves as a leaf, and predictions.

        Args:
            shares: of the whole batch, (N,).

        Returns:
            Frames (n, L', W_c), and (n,).
        """
        frames = batch.features.detach().requires_grad_()
        if self.smoothing is None:
            return frames, self.network.share(frames, batch.lengths)
        vectors = self.network.vector(frames, batch.lengths)
        return frames, self.head(vectors, shares[batch.rows])

    @property
    def after(self) -> list[Tensor]:
        """The parameters of the layers after the CNN."""
        return self.parameters[len(list(self.network.cnn.parameters())) :]

    def derive(
        self,
        predictions: Tensor,
        rows: np.ndarray,
        shares: Tensor,
        slopes: Tensor | None,
        parameters: Sequence[Tensor],
    ) -> Part:
        """The part of these rows' predictions in the gradient of a batch by `parameters`."""
        errors = (predictions - shares[rows].to(predictions.device)).square().sum()
        if slopes is None:
            gradients = torch.autograd.grad(errors / len(shares), parameters)
        else:
            gradients = torch.autograd.grad(
                predictions, parameters, slopes[rows].to(predictions.device)
            )
        return list(gradients), float(errors.detach())

    def update(self, part: Part) -> None:
        """Take one step of the optimiser along a batch's gradient."""
        gradients, squared_error = part
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.grad = gradient.contiguous()  # fused Adam reads memory as it lies
        if self.warmup:
            risen = min(1.0, (1 + self.steps) / self.warmup)
            self.optimiser.param_groups[0]["lr"] = self.learning_rate * risen
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.squared_error += squared_error
        if self.average:
            self._average()

    @property
    def steps(self) -> int:
        """How many the optimiser has taken."""
        return int(self.optimiser.state.get(self.parameters[0], {}).get("step", 0))

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights towards those of this step; the first steps move them more."""
        steps = self.steps  # read once: on a GPU reading waits for it
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
        smoothing = self.smoothing.tensors() if self.smoothing else {}
        return {
            **smoothing,
            **{f"{KEPT}{name}": x for name, x in self.judged.state_dict().items()},
            **{f"{LEARNING}{name}": x for name, x in learning.items()},
            **{f"adam/{i}/{name}": x for i, of_one in adam.items() for name, x in of_one.items()},
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `tensors` gave."""
        self.take_weights(tensors)
        if self.average:
            self.network.load_state_dict(_below(LEARNING, tensors))
        if self.smoothing:
            self.smoothing.restore(tensors)
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


def plus(one: Part | None, other: Part) -> Part:
    """The sum of two parts, in the memory of the first."""
    if one is None:
        return other
    torch._foreach_add_(one[0], other[0])
    return one[0], one[1] + other[1]
