"""Feature store -> batches, each cut into micro-batches by length and read ahead of training."""

import copy
import itertools
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emoshare_utils.device import one_worker_per_core
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.models.kernels import is_large
from emoshare_utils.models.layers import Standardise
from emoshare_utils.models.padding import pad, round_length
from emoshare_utils.models.regressor import Regressor
from emoshare_utils.training.settings import Training

LSTM_CLIPS = 32  # at most in one call of an LSTM: larger ones leave a core's cache
STATISTICS_CLIPS = 256  # whose frames one worker sums up


class MicroBatch(NamedTuple):
    """Clips of similar length, computed together."""

    rows: np.ndarray  # (n,): their places in the batch
    features: Tensor  # (n, L, W), standardised
    lengths: Tensor  # (n,)


class Loader:
    """Reads clips of one store as zero-padded, standardised micro-batches.

    Attributes:
        precision: of the features, and so of the CNN and the LSTM.
        max_frames: zero-pad to this many; None: to the longest clip of the micro-batch.
        micro_batch_clips: the most clips per micro-batch.
        waited_s: seconds for which `batches` kept its caller waiting.
    """

    def __init__(
        self,
        store: FeatureStore,
        standardise: Standardise,
        precision: torch.dtype,
        max_frames: int | None,
        micro_batch_clips: int,
        device: torch.device,
    ) -> None:
        self.store, self.standardise = store, standardise
        self.precision, self.device = precision, device
        self.max_frames, self.micro_batch_clips = max_frames, micro_batch_clips
        self.waited_s = 0.0

    def micro_batches(
        self, clip_ids: np.ndarray, shifts: np.ndarray | None = None
    ) -> list[MicroBatch]:
        """A batch, cut by length so that short clips are not padded to the longest.

        `shifts` (N,) moves the spectrum of each clip by its own number of mel bands.
        """
        by_length = np.argsort(self.store.lengths(clip_ids), kind="stable")
        parts = np.array_split(by_length, math.ceil(len(clip_ids) / self.micro_batch_clips))
        return [self._read(rows, clip_ids, shifts) for rows in parts]

    @torch.no_grad()
    def _read(
        self, rows: np.ndarray, clip_ids: np.ndarray, shifts: np.ndarray | None
    ) -> MicroBatch:
        frames = [self.store.frames(clip) for clip in clip_ids[rows]]
        features, lengths = pad(frames, self.max_frames or round_length(max(map(len, frames))))
        features = self.standardise(features, lengths)
        if shifts is not None:
            bands, of_clips = self.store.width - self.store.metadata, torch.tensor(shifts[rows])
            features[..., :bands] = shift(features[..., :bands], of_clips.to(features.dtype))
        features = features.to(self.device, self.precision)
        return MicroBatch(rows, features, lengths.to(self.device))

    def batches(
        self,
        batches: Iterable[np.ndarray],
        clip_ids: np.ndarray,
        shifts: np.ndarray | None = None,
    ) -> Iterator[tuple[np.ndarray, list[MicroBatch]]]:
        """Each batch, as places in `clip_ids` and `shifts`, and its micro-batches.

        While one batch is used, the next one is read.
        """
        whole = [clip_ids] if shifts is None else [clip_ids, shifts]
        with ThreadPoolExecutor(1, "loader", torch.set_num_threads, (1,)) as thread:
            reading = (
                (batch, thread.submit(self.micro_batches, *(column[batch] for column in whole)))
                for batch in batches
            )
            ahead = next(reading, None)
            while ahead:
                (batch, task), ahead = ahead, next(reading, None)
                start = time.perf_counter()
                micro_batches = task.result()
                self.waited_s += time.perf_counter() - start
                yield batch, micro_batches


def after_cnns(
    micro_batches: Sequence[MicroBatch], outputs: Sequence[tuple[Tensor, Tensor]]
) -> list[MicroBatch]:
    """What `JoinedCNNs` gave for micro-batches, in as many clips as suit an LSTM.

    The features are frames of each network, (networks, n, L', W_c).
    """
    ends = np.cumsum([len(rows) for rows, _, _ in micro_batches])
    joined = []
    for _, members in itertools.groupby(range(len(ends)), lambda i: (ends[i] - 1) // LSTM_CLIPS):
        places = list(members)
        longest = max(outputs[i][0].shape[2] for i in places)
        frames = [F.pad(outputs[i][0], (0, 0, 0, longest - outputs[i][0].shape[2])) for i in places]
        rows = np.concatenate([micro_batches[i].rows for i in places])
        lengths = torch.cat([outputs[i][1] for i in places])
        joined.append(MicroBatch(rows, torch.cat(frames, dim=1), lengths))
    return joined


def loader_for(
    network: Regressor, store: FeatureStore, training: Training, device: torch.device
) -> Loader:
    """Batches for `network`, and for all that have the same standardisation."""
    standardise = copy.deepcopy(network.standardise).cpu()
    precision = getattr(torch, training.precision)
    # large networks and joined CNNs gain more from little padding than small micro-batches cost
    little = is_large(network, device) or (device.type == "cpu" and precision == torch.float32)
    clips = 8 if little else max(8, training.batch_size // 2)
    return Loader(store, standardise, precision, training.max_frames, clips, device)


def in_batches(order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """`order`, cut into batches; the last one may be smaller."""
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def shift(features: Tensor, bands: Tensor) -> Tensor:
    """Move each clip's spectrum down by its own number of bands, as another vocal tract would.

    Between two bands it is interpolated; the band at the edge is repeated.

    Args:
        features: (N, L, W), of W mel bands.
        bands: (N,), not necessarily whole; below 0 it moves up.

    Returns:
        features (N, L, W).
    """
    band = torch.arange(features.shape[2])
    source = (band + bands[:, None]).clamp(0, len(band) - 1)  # (N, W)
    weights = (1 - (band[:, None] - source[:, None]).abs()).clamp(min=0)  # (N, W, W)
    return features @ weights


def frame_statistics(store: FeatureStore, clip_ids: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every feature over the frames of these clips, (W,) each."""
    chunks = np.array_split(clip_ids, math.ceil(len(clip_ids) / STATISTICS_CLIPS))
    with one_worker_per_core() as pool:
        count, total, squares = sum(pool.map(lambda clips: _sums(store, clips), chunks))
    mean = total / count
    variance = squares / count - mean**2
    scale = np.sqrt(np.where(variance > 1e-10, variance, 1.0))  # a constant feature stays as it is
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(scale, dtype=torch.float32)


def _sums(store: FeatureStore, clip_ids: np.ndarray) -> np.ndarray:
    """Over the frames of these clips: their number, sum and sum of squares, (3, W)."""
    sums = np.zeros((3, store.width))
    for clip in clip_ids:
        frames = store.frames(clip).astype(np.float64)
        sums[0] += len(frames)
        sums[1] += frames.sum(axis=0)
        sums[2] += np.einsum("lw,lw->w", frames, frames)
    return sums
