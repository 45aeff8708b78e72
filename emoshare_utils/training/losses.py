"""Loss functions: what training minimises, one emotion at a time.

A loss is a function `loss(predictions (N,), shares (N,)) -> scalar` over a whole batch. To add one:
`LOSSES.register("mae", lambda predictions, shares: (predictions - shares).abs().mean())`.

A batch is computed micro-batch by micro-batch, so that memory does not grow with it. The mean
squared error is a sum over clips, and so is its gradient. Any other loss is differentiated by the
whole batch's predictions first (`derivative`), and each micro-batch passes its part
of that on to the weights: the gradient is exact, and costs one more forward pass.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from emoshare_utils.names import Registry

Loss = Callable[[Tensor, Tensor], Tensor]
SMALLEST = 1e-12  # denominator, where all predictions and shares are equal


def mse(predictions: Tensor, shares: Tensor) -> Tensor:
    """The mean squared error, the paper's loss (section 2.5)."""
    return (predictions - shares).square().mean()


def ccc(predictions: Tensor, shares: Tensor) -> Tensor:
    """1 - Lin's concordance correlation coefficient; it depends on the batch as a whole."""
    p, s = predictions - predictions.mean(), shares - shares.mean()
    offset = predictions.mean() - shares.mean()
    spread = p.square().mean() + s.square().mean() + offset.square()
    return 1 - 2 * (p * s).mean() / spread.clamp(min=SMALLEST)


LOSSES = Registry("loss", {"mse": mse, "ccc": ccc})


def derivative(loss: Loss, predictions: Tensor, shares: Tensor) -> tuple[float, Tensor]:
    """The loss of a batch, and its derivative by each prediction (N,)."""
    predictions = predictions.detach().requires_grad_()
    value = loss(predictions, shares)
    (gradient,) = torch.autograd.grad(value, predictions)
    return value.item(), gradient
