"""The step that the networks of all emotions take together."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from emoshare_utils.models.joined import JoinedCNNs, can_join
from emoshare_utils.models.regressor import Regressor
from emoshare_utils.training.batches import MicroBatch, after_cnns
from emoshare_utils.training.learner import Learner, Part, plus
from emoshare_utils.training.losses import derivative, mse
from emoshare_utils.training.predictions import predict_after_cnns, predict_batch

GROUPS = 4  # of micro-batches, one task each: enough that all cores end together
KEPT_BYTES = 500_000_000  # of graphs, at most, in place of another forward pass
BYTES_PER_STATE = 130  # of the graph of two LSTM layers, for each feature of each frame; measured


def step(
    pool: Executor,
    learners: Sequence[Learner],
    micro_batches: Sequence[MicroBatch],
    shares: Tensor,
    shared_trunk: bool = False,
) -> None:
    """One optimiser step of every learner on one batch; shares (N, learners).

    Args:
        shared_trunk: the networks' trunks are one: equal, and they take the same step, along the
            sum of all learners' gradients.
    """
    if shared_trunk:
        _shared_step(pool, learners, micro_batches, shares)
    elif can_join([learner.network for learner in learners], micro_batches[0].features):
        _joined_step(pool, learners, micro_batches, shares)
    else:
        _step(pool, learners, micro_batches, shares)


def _step(
    pool: Executor,
    learners: Sequence[Learner],
    micro_batches: Sequence[MicroBatch],
    shares: Tensor,
) -> None:
    """Each network by itself, in groups of micro-batches."""
    groups = _groups(micro_batches)

    def add(learner: Learner, before: Future | None, group: list, *of_one: Tensor) -> Part | None:
        part = learner.gradients(group, *of_one)
        # in their order, so that the same run gives the same weights
        total = plus(before.result(), part) if before else part
        return learner.update(total) if group is groups[-1] else total

    tasks = []
    slopes = _slopes(learners, lambda nets: predict_batch(pool, nets, micro_batches), shares)
    for learner, *of_one in zip(learners, shares.T, slopes):
        task = None
        for group in groups:
            task = pool.submit(add, learner, task, group, *of_one)
        tasks.append(task)
    for task in tasks:
        task.result()


def _groups(items: Sequence) -> list[Sequence]:
    """Micro-batches, or their places: long and short ones in each group."""
    return [items[first::GROUPS] for first in range(min(GROUPS, len(items)))]


def _shared_step(
    pool: Executor,
    learners: Sequence[Learner],
    micro_batches: Sequence[MicroBatch],
    shares: Tensor,
) -> None:
    """`step` on one trunk, computed once; every learner updates its own copy of it alike."""
    networks = [learner.network for learner in learners]
    trunk, heads = networks[0].trunk, [list(network.ffnn.parameters()) for network in networks]
    parameters = [*trunk, *itertools.chain(*heads)]

    def predict(batch: MicroBatch) -> Tensor:
        vectors = networks[0].vector(*networks[0].frames(batch.features, batch.lengths))
        pairs = zip(learners, shares[batch.rows].T)
        return torch.stack([learner.head(vectors, of_one) for learner, of_one in pairs], dim=1)

    frames = sum(features.shape[0] * features.shape[1] for _, features, _ in micro_batches)
    keep = _keep_graphs(learners, frames // networks[0].cnn.pool)
    kept = list(pool.map(predict, micro_batches)) if keep else None
    slopes = _slopes(
        learners,
        lambda nets: (
            _in_rows(micro_batches, kept)
            if kept
            else predict_batch(pool, nets, micro_batches, shared_trunk=True)
        ),
        shares,
    )

    def of_group(places: Sequence[int]) -> tuple[list[Tensor], Tensor]:
        part = None
        for place in places:
            rows = micro_batches[place].rows
            predictions = kept[place] if kept else predict(micro_batches[place])
            errors = (predictions - shares[rows].to(predictions.device)).square().sum(0)
            loss = _linear(errors / len(shares), predictions, slopes, rows)
            gradients = torch.autograd.grad(loss, parameters)
            part = plus(part, (list(gradients), errors.detach().cpu()))
        return part

    groups = _groups(range(len(micro_batches)))
    gradients, errors = reduce(plus, pool.map(of_group, groups))  # in their order
    found = dict(zip(parameters, gradients))
    for learner, head, squared_error in zip(learners, heads, errors.tolist()):
        own = dict(zip(learner.network.trunk, (found[x] for x in trunk)))
        own |= {x: found[x] for x in head}
        learner.update(([own[x] for x in learner.parameters], squared_error))


def _linear(
    means: Tensor, predictions: Tensor, slopes: Sequence[Tensor | None], rows: np.ndarray
) -> Tensor:
    """What has the gradient of the sum of all learners' losses.

    Args:
        means: these rows' part of each learner's mean squared error, (learners,).
        predictions: (n, learners).
        slopes: as `_slopes` gives them.
    """
    parts = [
        mean if slope is None else (prediction * slope[rows].to(prediction.device)).sum()
        for mean, prediction, slope in zip(means, predictions.T, slopes)
    ]
    return torch.stack(parts).sum()


def _joined_step(
    pool: Executor,
    learners: Sequence[Learner],
    micro_batches: Sequence[MicroBatch],
    shares: Tensor,
) -> None:
    """`step` whose CNNs are computed together: all forwards, then each network, then backwards."""
    joined = JoinedCNNs([learner.network for learner in learners])
    # the longest clips first, so that all cores end together
    longest_first = pool.map(lambda batch: joined(*batch[1:]), micro_batches[::-1])
    frames = list(longest_first)[::-1]
    groups = after_cnns(micro_batches, frames)
    parts, gradients = zip(*_after_cnns(pool, learners, groups, shares))

    def of_cnns(features: Tensor, gradient: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(features, joined.kernels, gradient))

    outputs = [features for features, _ in frames]
    apart = list(_apart(gradients, outputs))
    found = pool.map(of_cnns, outputs[::-1], apart[::-1])
    total = next(found)
    for other in found:  # in their order, so that the same run gives the same weights
        torch._foreach_add_(total, other)
    of_cnn = joined.gradients(total)
    each = len(of_cnn) // len(learners)
    updates = [
        pool.submit(learner.update, (of_cnn[i * each : (i + 1) * each] + part[0], part[1]))
        for i, (learner, part) in enumerate(zip(learners, parts))
    ]
    for update in updates:
        update.result()


def _after_cnns(
    pool: Executor,
    learners: Sequence[Learner],
    groups: Sequence[MicroBatch],
    shares: Tensor,
) -> Iterator[tuple[Part, list[Tensor]]]:
    """For each learner its part of the layers after the CNN, and the gradients of the frames.

    `groups` are what `batches.after_cnns` gave.
    """

    def forward(place: int) -> list[tuple[Tensor, Tensor]]:
        return [of_group(place, batch) for batch in groups]

    def of_group(place: int, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        own = batch._replace(features=batch.features[place])
        return learners[place].after_cnn(own, shares.T[place])

    frames = sum(features.shape[1] * features.shape[2] for _, features, _ in groups)
    keep = _keep_graphs(learners, len(learners) * frames)
    kept = list(pool.map(forward, range(len(learners)))) if keep else None

    def predicted(networks: list[Regressor]) -> Tensor:
        if kept is None:
            return predict_after_cnns(pool, networks, groups)
        of_networks = ([predictions for _, predictions in of_one] for of_one in kept)
        return torch.stack([_in_rows(groups, of_one) for of_one in of_networks], dim=1)

    slopes = _slopes(learners, predicted, shares)

    def after_cnn(place: int) -> tuple[Part, list[Tensor]]:
        total, gradients, learner = None, [], learners[place]
        for number, batch in enumerate(groups):
            leaf, predictions = kept[place][number] if kept else of_group(place, batch)
            by = [*learner.after, leaf]
            part = learner.derive(predictions, batch.rows, shares.T[place], slopes[place], by)
            gradients.append(part[0].pop())
            total = plus(total, part)
        return total, gradients

    return pool.map(after_cnn, range(len(learners)))


def _apart(gradients: Sequence[Sequence[Tensor]], outputs: Sequence[Tensor]) -> Iterator[Tensor]:
    """The gradients of each network's groups -> of what the CNNs gave for each micro-batch."""
    of_groups = (torch.stack(of_one) for of_one in zip(*gradients))  # (E, N, L', W_c) each
    rest = next(of_groups)
    for output in outputs:
        if not rest.shape[1]:
            rest = next(of_groups)
        _, clips, length, _ = output.shape
        yield rest[:, :clips, :length]
        rest = rest[:, clips:]


def _needs_all(learners: Sequence[Learner]) -> bool:
    """Whether a loss is derived by the predictions of the whole batch."""
    return any(learner.loss is not mse for learner in learners)


def _keep_graphs(learners: Sequence[Learner], frames: int) -> bool:
    """Whether to keep what the forward pass of a whole batch leaves, in place of a second one.

    Args:
        frames: of the batch, after pooling, as many times as there are LSTMs that read them.
    """
    if not _needs_all(learners):
        return False
    width = learners[0].network.ffnn.share.in_features
    if learners[0].network.ffnn.hidden:
        width = learners[0].network.ffnn.hidden[0].in_features
    return frames * width * BYTES_PER_STATE <= KEPT_BYTES


def _in_rows(micro_batches: Sequence[MicroBatch], found: Sequence[Tensor]) -> Tensor:
    """What was found for each micro-batch, (n, ...), in the rows of the batch."""
    whole = torch.cat([x.detach().cpu() for x in found])
    order = np.concatenate([rows for rows, *_ in micro_batches])
    return whole[torch.from_numpy(np.argsort(order))]


def _slopes(
    learners: Sequence[Learner],
    predict: Callable[[list[Regressor]], Tensor],
    shares: Tensor,
) -> list[Tensor | None]:
    """For each learner the derivative of its loss by its predictions, (N,); None for `mse`.

    `predict` gives the shares that networks predict for the batch, (N, networks).
    """
    if not _needs_all(learners):
        return [None] * len(learners)
    predictions = predict([learner.network for learner in learners])
    slopes = []
    for learner, *of_one in zip(learners, predictions.T, shares.T):
        loss, slope = derivative(learner.loss, *of_one)
        learner.loss_sum += loss * len(shares)
        slopes.append(slope)
    return slopes
