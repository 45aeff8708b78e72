"""Shards filled with frames: clips are read, encoded and written at the same time.

While a batch is encoded, the next ones are decoded and the last shard is written.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch

from emoshare_utils.corpora.audio import AudioError, decode
from emoshare_utils.corpora.clip_table import Corpus, CorpusError
from emoshare_utils.device import one_thread
from emoshare_utils.features.encoder import Encoder, encode_together
from emoshare_utils.features.store import FeatureStore, Shard
from emoshare_utils.files import checksum

BATCH_S = {"cpu": 8.0, "cuda": 240.0}  # seconds of audio that are encoded together
LAST_BATCHES = 8  # what is left of a shard makes at least so many, of `SHORTEST_S` or more
SHORTEST_S = 2.0
READERS = 8  # at most: decoding is quick beside encoding
In, Out = TypeVar("In"), TypeVar("Out")


class Target(NamedTuple):
    """A shard that is to be made, in the store of an encoder."""

    encoder: Encoder
    store: FeatureStore
    shard: Shard


class Batch(NamedTuple):
    """Clips that are encoded together, for all targets that hold them: rows of the clip table.

    `arrays` are what the encoder reads of each clip, samples or its clip_id; or, once encoded, for
    each target the frames of each.
    """

    targets: list[Target]
    rows: pd.DataFrame
    arrays: list


def by_clips(targets: Iterable[Target]) -> list[list[Target]]:
    """Targets whose shards hold the same clips, together: these are encoded once for all."""
    groups: dict[tuple[str, ...], list[Target]] = {}
    for target in targets:
        groups.setdefault(tuple(target.shard.clips["clip_id"]), []).append(target)
    return list(groups.values())


def fill(
    corpus: Corpus, groups: Sequence[list[Target]], workers: int | None = None
) -> Iterator[float]:
    """Make shards here; yields the seconds of audio of each batch when it is encoded.

    Args:
        groups: of `by_clips`, for layers of one model: a group's clips are encoded once.
        workers: how many batches a CPU encodes at a time, each with one thread; None: one per
            core. It does not change the frames.
    """

    def read(batch: Batch) -> Batch:
        if not batch.targets[0].encoder.reads_samples:
            return batch._replace(arrays=[*batch.rows["clip_id"]])
        pairs = zip(batch.rows["path"], batch.rows["audio_checksum"])
        return batch._replace(arrays=[_samples(corpus, path, expected) for path, expected in pairs])

    def encode(batch: Batch) -> Batch:
        layers = encode_together([target.encoder for target in batch.targets], batch.arrays)
        with np.errstate(over="ignore"):  # the store refuses what is not finite, and names the clip
            frames = [[clip.astype(np.float16) for clip in layer] for layer in layers]
        return batch._replace(arrays=frames)

    if not groups:
        return
    device = groups[0][0].encoder.device.type
    gpu = device != "cpu"
    # two for a GPU: it computes for one while the other copies its frames back
    workers = 2 if gpu else workers or torch.get_num_threads()
    with ExitStack() as stack:
        stack.enter_context(one_thread())
        encoders = _pool(stack, workers)
        readers, writer = _pool(stack, READERS if gpu else 1), _pool(stack, 1)
        batches = (
            Batch(targets, rows, [])
            for targets in groups
            for rows in _batches(targets[0].shard.clips, device)
        )
        ready = _ahead(readers, read, batches, 2 * READERS if gpu else 4)
        made, writing = [], None
        for targets, rows, encoded in _ahead(encoders, encode, ready, 1 + workers):
            made.append(encoded)
            if sum(len(batch[0]) for batch in made) == len(targets[0].shard.clips):
                if writing:
                    writing.result()
                writing = writer.submit(_write, targets, made)
                made = []
            yield rows["duration_s"].sum()
        if writing:
            writing.result()


def _write(targets: list[Target], made: list[list[list[np.ndarray]]]) -> None:
    """Write every target's shard, from the frames of each batch, target and clip."""
    for (_, store, shard), batches in zip(targets, zip(*made), strict=True):
        store.write_shard(
            shard.name, shard.clips, [frames for batch in batches for frames in batch]
        )


def _batches(clips: pd.DataFrame, device: str) -> Iterator[pd.DataFrame]:
    """The clips of a shard, longest first, `BATCH_S` of audio at a time, at least one clip.

    On a GPU every clip of a batch counts as long as the longest, to which it is padded there. On a
    CPU the last batches are shorter, so that all cores finish together.
    """
    seconds = clips["duration_s"].to_numpy()
    start = 0
    while start < len(seconds):
        budget_s, used_s = BATCH_S[device], seconds[start:].cumsum()
        if device == "cpu":
            budget_s = min(budget_s, max(used_s[-1] / LAST_BATCHES, SHORTEST_S))
        else:
            used_s = seconds[start] * np.arange(1, 1 + len(used_s))
        end = start + max(1, int(np.searchsorted(used_s, budget_s, side="right")))
        yield clips[start:end]
        start = end


def _samples(corpus: Corpus, path: str, expected: str) -> np.ndarray:
    try:
        content = corpus.path(path).read_bytes()
        if checksum(content) != expected:
            raise AudioError("its bytes have changed")
        return decode(content)
    except (AudioError, OSError) as error:
        raise CorpusError(
            f"{corpus.path(path)} was usable when notebooks/01_data_preparation.ipynb checked it, "
            f"but now: {error}. Finished shards are kept; run that notebook again"
        ) from error


def _pool(stack: ExitStack, workers: int) -> ThreadPoolExecutor:
    """Threads that compute with one thread each; what waits is dropped when the stack closes."""
    pool = ThreadPoolExecutor(workers, "worker", torch.set_num_threads, (1,))
    stack.callback(pool.shutdown, cancel_futures=True)
    return pool


def _ahead(
    pool: Executor, work: Callable[[In], Out], items: Iterable[In], ahead: int
) -> Iterator[Out]:
    """The results in order, while up to `ahead` more items are being worked on."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
