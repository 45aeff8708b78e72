"""Loss functions: what training minimises, one emotion at a time.

A loss is a function `loss(predictions (N,), shares (N,)) -> scalar` over a whole batch. To add one:
`LOSSES.register("mae", lambda predictions, shares: (predictions - shares).abs().mean())`. One that
depends on how the shares of train are distributed has `fit(shares) -> loss` (`SmoothedLabels`);
one that depends on the number of listeners, `fit_votes(listeners) -> loss` (`BetaBinomial`).

A batch is computed micro-batch by micro-batch, so that memory does not grow with it. The mean
squared error is a sum over clips, and so is its gradient. Any other loss is differentiated by the
whole batch's predictions first (`derivative`), and each micro-batch passes its part
of that on to the weights: the gradient is exact, and costs one more forward pass, unless what a
batch's forward pass leaves behind is small (`steps.KEPT_BYTES`).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from emoshare_utils.names import Registry

Loss = Callable[[Tensor, Tensor], Tensor]
SMALLEST = 1e-12  # denominator, where all predictions and shares are equal
CERTAIN = 1e-4  # a predicted share is taken as at least this far from 0 and 1
RANK_TEMPERATURE = 0.02  # of soft ranks, in units of the share
BALANCE_NOISE = 0.1  # standard deviation of a share about its prediction
SHARE_BINS = 20
ALIKE = 1e-3  # correlation between one clip's votes, at least: below it they are binomial


def mse(predictions: Tensor, shares: Tensor) -> Tensor:
    """The mean squared error, the paper's loss (section 2.5)."""
    return (predictions - shares).square().mean()


def ccc(predictions: Tensor, shares: Tensor) -> Tensor:
    """1 - Lin's concordance correlation coefficient; it depends on the batch as a whole."""
    p, s = predictions - predictions.mean(), shares - shares.mean()
    offset = predictions.mean() - shares.mean()
    spread = p.square().mean() + s.square().mean() + offset.square()
    return 1 - 2 * (p * s).mean() / spread.clamp(min=SMALLEST)


def binomial(predictions: Tensor, shares: Tensor) -> Tensor:
    """The votes' negative log-likelihood per vote, as each clip had as many listeners.

    k of n listeners choose an emotion with probability p: -(k log p + (n - k) log(1 - p)) / n, up
    to a constant, of the share k / n.
    """
    p = predictions.clamp(CERTAIN, 1 - CERTAIN)
    p = predictions + (p - predictions).detach()  # its gradient also where it is cut
    return -(shares * p.log() + (1 - shares) * (1 - p).log()).mean()


def poisson(predictions: Tensor, shares: Tensor) -> Tensor:
    """The votes' negative log-likelihood across emotions, where each listener chooses one.

    Votes for an emotion are Poisson with mean n p, so that the loss is p - (k / n) log p, one
    emotion at a time. Summed over emotions it is the multinomial's of p / sum of p, plus a term
    that asks for a sum of 1 (Baker 1994, doi:10.2307/2348134).
    """
    p = predictions.clamp(min=CERTAIN)
    p = predictions + (p - predictions).detach()  # its gradient also where it is cut
    return (p - shares * p.log()).mean()


class BetaBinomial:
    """The votes' negative log-likelihood per vote, where a clip's votes are alike beyond its share.

    A clip's own probability is a draw from a beta distribution about the predicted share p, so that
    k of n votes are beta-binomial with a = p c, b = (1 - p) c: emotion by emotion what a
    Dirichlet-multinomial is across emotions (Minka 2000, "Estimating a Dirichlet distribution",
    section 3). The concentration is c = 1 / r - 1, where r is the correlation between votes for one
    clip by the batch's moments, as in Williams (1982, doi:10.2307/2347977) but over all clips at
    once, so that one clip that seemed certain does not decide.
    """

    def fit_votes(self, listeners: np.ndarray) -> Loss:
        """The loss where a clip has the median of so many listeners, (n,) of train.

        ValueError where no clip says how many, or they are one.
        """
        n = median_listeners(listeners)
        if n < 2:
            raise ValueError(
                f"loss = 'beta_binomial' needs the number of listeners of each clip, two or more "
                f"(n_raters in the clip table), and has {n:g}: choose another loss"
            )

        def loss(predictions: Tensor, shares: Tensor) -> Tensor:
            return self.of(predictions, shares, n)

        return loss

    @staticmethod
    def of(predictions: Tensor, shares: Tensor, n: float) -> Tensor:
        """The loss of a batch, (N,) and (N,), with n listeners for each clip."""
        cut = predictions.clamp(CERTAIN, 1 - CERTAIN)
        p = (predictions + (cut - predictions).detach()).double()  # its gradient also where cut
        k = n * shares.double()
        spread = ((k - n * p).square().sum() / (n * p * (1 - p)).sum()).detach()
        r = ((spread - 1) / (n - 1)).clamp(ALIKE, 1 - ALIKE)
        c = 1 / r - 1
        chosen = torch.lgamma(k + p * c) - torch.lgamma(p * c)
        left = torch.lgamma(n - k + (1 - p) * c) - torch.lgamma((1 - p) * c)
        whole = torch.lgamma(n + c) - torch.lgamma(c)
        return -((chosen + left - whole).mean() / n).to(predictions.dtype)


def soft_rank(predictions: Tensor, shares: Tensor) -> Tensor:
    """1 - Spearman's rho of the batch, with ranks of the predictions that can be differentiated.

    A rank is 1/2 + sum_j sigmoid((p_i - p_j) / t), which counts the predictions below (Qin, Liu and
    Li 2010, section 4.1, doi:10.1007/s10791-009-9124-x). Ranks of shares are exact, ties averaged.
    """
    soft = torch.sigmoid((predictions[:, None] - predictions) / RANK_TEMPERATURE).sum(1)
    above, below = ((op(shares[:, None], shares)).sum(1) for op in (torch.gt, torch.lt))
    x, y = soft - soft.mean(), (above - below).to(soft) / 2  # y has mean 0
    spread = (x.square().sum() * y.square().sum()).clamp(min=SMALLEST).sqrt()
    return 1 - (x * y).sum() / spread


def balanced_mse(predictions: Tensor, shares: Tensor) -> Tensor:
    """Balanced MSE, by the batch's shares (Ren et al. 2022, arXiv 2203.16427, Eq. 3.10).

    -2 s^2 log of the softmax over the batch's shares y_j of -(p_i - y_j)^2 / 2 s^2, at j = i: a
    prediction is to be nearer to its own share than to the others', of which most are common ones.
    """
    logits = -(predictions[:, None] - shares).square() / (2 * BALANCE_NOISE**2)
    own = torch.arange(len(shares), device=shares.device)
    return 2 * BALANCE_NOISE**2 * torch.nn.functional.cross_entropy(logits, own)


class SmoothedLabels:
    """Squared error, weighted by the inverse of how frequent a share is in train.

    Label-distribution smoothing (Yang et al. 2021, arXiv 2102.09554, section 3.1): shares are
    counted in bins, the counts are smoothed by a Gaussian over 5 bins with a standard deviation of
    2, and a clip weighs as the inverse of its bin's, scaled to a mean of 1 over train.
    """

    def fit(self, shares: np.ndarray) -> Loss:
        """The loss for these shares of train, (n,)."""
        bins = share_bin(shares)
        counts = np.bincount(bins, minlength=SHARE_BINS).astype(float)
        smoothed = np.convolve(counts, smoothing_kernel(), mode="same")
        weights = 1 / np.maximum(smoothed, SMALLEST)
        weights = torch.tensor(weights / weights[bins].mean(), dtype=torch.float32)

        def loss(predictions: Tensor, shares: Tensor) -> Tensor:
            of_clips = weights[share_bin(shares.cpu().numpy())].to(predictions)
            return (of_clips * (predictions - shares).square()).mean()

        return loss

    def __call__(self, predictions: Tensor, shares: Tensor) -> Tensor:
        """Fitted to the batch itself: for a look at it without a training."""
        return self.fit(shares.cpu().numpy())(predictions, shares)


def smoothed_features(predictions: Tensor, shares: Tensor) -> Tensor:
    """The mean squared error, while `feature_smoothing` calibrates what the FFNN reads."""
    return mse(predictions, shares)


def smoothing_kernel() -> np.ndarray:
    """A Gaussian over 5 bins with a standard deviation of 2, of sum 1 (Yang et al. 2021)."""
    weights = np.exp(-(np.arange(-2, 3) ** 2) / (2 * 2.0**2))
    return weights / weights.sum()


def median_listeners(listeners: np.ndarray) -> float:
    """The median of those that are known (not NaN), 0 where none is."""
    known = listeners[~np.isnan(listeners)]
    return float(np.median(known)) if len(known) else 0.0


def share_bin(shares: np.ndarray) -> np.ndarray:
    """Which of `SHARE_BINS` bins of equal width a share lies in, (n,)."""
    return np.clip((shares * SHARE_BINS).astype(int), 0, SHARE_BINS - 1)


LOSSES = Registry(
    "loss",
    {
        "mse": mse,
        "ccc": ccc,
        "binomial": binomial,
        "beta_binomial": BetaBinomial(),
        "poisson": poisson,
        "soft_rank": soft_rank,
        "balanced_mse": balanced_mse,
        "smoothed_labels": SmoothedLabels(),
        "smoothed_features": smoothed_features,
    },
)


def fitted(loss: Loss, shares: np.ndarray, listeners: np.ndarray) -> Loss:
    """The loss for these shares and numbers of listeners (NaN: not known) of train, (n,) each.

    Itself, unless it has a `fit` or a `fit_votes`.
    """
    if hasattr(loss, "fit_votes"):
        return loss.fit_votes(listeners)
    return loss.fit(shares) if hasattr(loss, "fit") else loss


def derivative(loss: Loss, predictions: Tensor, shares: Tensor) -> tuple[float, Tensor]:
    """The loss of a batch, and its derivative by each prediction (N,)."""
    predictions = predictions.detach().requires_grad_()
    value = loss(predictions, shares)
    (gradient,) = torch.autograd.grad(value, predictions)
    return value.item(), gradient
