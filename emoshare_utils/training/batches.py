"""Feature store -> batches, cut by length and read ahead of the training."""

import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from emoshare_utils.device import one_worker_a_core
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.models.layers import Standardise
from emoshare_utils.models.padding import pad

FEW_LENGTHS = 16  # an octave: a CPU compiles its kernels for each length anew, and keeps them
STATISTICS_CLIPS = 256


class Piece(NamedTuple):
    """Clips of like length: their rows in the batch, features (N, L, W), lengths (N,)."""

    rows: np.ndarray
    features: Tensor
    lengths: Tensor


class Loader:
    """Reads clips of one store as zero-padded, standardised pieces.

    Attributes:
        precision: of the features, and so of the CNN and the LSTM.
        max_frames: zero-pad to this many; None: to the longest clip of the piece.
        piece_clips: at most so many clips a piece.
        waited_s: seconds for which `batches` kept its caller waiting.
    """

    def __init__(
        self,
        store: FeatureStore,
        standardise: Standardise,
        precision: torch.dtype,
        max_frames: int | None,
        piece_clips: int,
        device: torch.device,
    ) -> None:
        self.store, self.standardise = store, standardise
        self.precision, self.device = precision, device
        self.max_frames, self.piece_clips = max_frames, piece_clips
        self.waited_s = 0.0

    def pieces(self, clip_ids: np.ndarray, bands: np.ndarray | None = None) -> list[Piece]:
        """A batch, cut by length so that short clips are not padded to the longest.

        Where there are `bands` (N,), each clip is shifted by its own.
        """
        by_length = np.argsort(self.store.lengths(clip_ids), kind="stable")
        n_pieces = math.ceil(len(clip_ids) / self.piece_clips)
        return [self._piece(rows, clip_ids, bands) for rows in np.array_split(by_length, n_pieces)]

    @torch.no_grad()
    def _piece(self, rows: np.ndarray, clip_ids: np.ndarray, bands: np.ndarray | None) -> Piece:
        frames = [self.store.frames(clip) for clip in clip_ids[rows]]
        length = self.max_frames or few_lengths(max(map(len, frames)))
        features, lengths = pad(frames, length)
        features = self.standardise(features, lengths)
        if bands is not None:
            features = shift(features, torch.tensor(bands[rows], dtype=features.dtype))
        features = features.to(self.device, self.precision)
        return Piece(rows, features, lengths.to(self.device))

    def batches(
        self,
        batches: Iterable[np.ndarray],
        clip_ids: np.ndarray,
        bands: np.ndarray | None = None,
    ) -> Iterator[tuple[np.ndarray, list[Piece]]]:
        """Each batch, which are places in `clip_ids` and `bands`, and its pieces.

        One batch is read while the one before is used.
        """
        with ThreadPoolExecutor(1, "loader", torch.set_num_threads, (1,)) as thread:
            ready = None
            for batch in batches:
                of_batch = None if bands is None else bands[batch]
                ahead = batch, thread.submit(self.pieces, clip_ids[batch], of_batch)
                if ready:
                    yield self._wait(*ready)
                ready = ahead
            if ready:
                yield self._wait(*ready)

    def _wait(
        self, batch: np.ndarray, pieces: Future[list[Piece]]
    ) -> tuple[np.ndarray, list[Piece]]:
        start = time.perf_counter()
        pieces.result()
        self.waited_s += time.perf_counter() - start
        return batch, pieces.result()


def shift(features: Tensor, bands: Tensor) -> Tensor:
    """Each clip's spectrum moved down by its own number of bands, as another vocal tract would.

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
    count, total, squares = 0, np.zeros(store.width), np.zeros(store.width)
    chunks = np.array_split(clip_ids, math.ceil(len(clip_ids) / STATISTICS_CLIPS))
    with one_worker_a_core() as pool:
        for n, x, xx in pool.map(lambda clips: _sums(store, clips), chunks):
            count, total, squares = count + n, total + x, squares + xx
    mean = total / count
    variance = squares / count - mean**2
    scale = np.sqrt(np.where(variance > 1e-10, variance, 1.0))  # a constant feature stays as it is
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(scale, dtype=torch.float32)


def _sums(store: FeatureStore, clip_ids: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    count, total, squares = 0, np.zeros(store.width), np.zeros(store.width)
    for clip in clip_ids:
        frames = store.frames(clip).astype(np.float64)
        count += len(frames)
        total += frames.sum(axis=0)
        squares += np.einsum("lw,lw->w", frames, frames)
    return count, total, squares


def few_lengths(longest: int) -> int:
    """`longest` or a little more: only so many different lengths come out."""
    step = max(1, 2 ** (longest.bit_length() - 1) // FEW_LENGTHS)
    return -(-longest // step) * step
