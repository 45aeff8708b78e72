"""Clip table x encoder -> feature store; an interrupted run goes on where it was.

Reading, encoding and writing overlap: while a batch is encoded, the next ones are decoded and
the last shard is written.
"""

import fcntl
import json
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch

from emoshare_utils.audio import SAMPLE_RATE, AudioError, checksum, decode
from emoshare_utils.corpus import Corpus, CorpusError
from emoshare_utils.device import one_worker_a_core
from emoshare_utils.encoders import POOLED, Encoder, n_frames
from emoshare_utils.progress import track_audio
from emoshare_utils.store import FeatureStore, Shard, StoreError, atomic, remove_leftovers, writing

BATCH_S = {"cpu": 8.0, "cuda": 240.0}  # seconds of audio that are encoded together
LAST_BATCHES = 8  # what is left of a shard makes at least so many, of `SHORTEST_S` or more
SHORTEST_S = 2.0
READERS = 8  # at most: decoding is quick beside encoding

In, Out = TypeVar("In"), TypeVar("Out")


def extract(
    corpus: Corpus, encoder: Encoder, features: Path, scheduler: str | None = None
) -> FeatureStore:
    """Encode every clip of `corpus` that the store does not hold yet.

    Stored frames are compared with their checksums first; a damaged shard is named and made anew.

    Args:
        features: the folder of stores; `features/stores.json` then says which one belongs to
            `encoder.name`.
        scheduler: the address of a Dask scheduler whose workers see the same folders, or
            "local:N" for N worker processes here. None: this process alone.

    Raises:
        CorpusError: a clip has changed or can no longer be read.
        StoreError: another run is writing this store, or it cannot be written.
        ClusterError: the scheduler or a worker cannot do it.
        KeyboardInterrupt: stopped by hand. Whatever is raised, finished shards are kept.
    """
    about = features, encoder.name, encoder.width, encoder.settings
    folder = FeatureStore.place(*about)
    with _locked(folder):
        remove_leftovers(folder)
        store = FeatureStore.create(*about)
        for name in store.verify():
            print(f"{store.folder / name} is damaged and will be made anew", flush=True)
            store.discard(name)
        shards = store.plan(corpus.clips)
        _refuse_full_disk(store, encoder.name, shards)
        with closing(_steps(corpus, encoder, store, shards, scheduler)) as steps:
            _run(steps, f"extracting {encoder.name}", shards, store)
        store.forget()
        store.lengths(corpus.clips["clip_id"])  # StoreError if one is missing all the same
    _remember(features, encoder.name, store)
    return store


def open_store(features: Path, encoder: str) -> FeatureStore:
    """The store last extracted for `encoder`; FileNotFoundError names the notebook to run first."""
    stores = stored(features)
    if encoder not in stores or not (features / stores[encoder]).is_dir():
        raise FileNotFoundError(
            f"{features} has no frames from {encoder!r}: run "
            f"notebooks/02_embedding_extraction.ipynb with encoder = {encoder!r} first"
        )
    return FeatureStore(features / stores[encoder])


def fill(
    corpus: Corpus,
    encoder: Encoder,
    store: FeatureStore,
    shards: Iterable[Shard],
    workers: int | None = None,
) -> Iterator[tuple[int, float]]:
    """Make `shards` here; yields (clips, seconds of audio) after each batch.

    Args:
        workers: how many batches a CPU encodes at a time, each with one thread; None: one a
            core. It does not change the frames.
    """
    gpu = encoder.device.type != "cpu"
    with ExitStack() as stack:
        cores = stack.enter_context(one_worker_a_core())
        # two for a GPU: while one copies its frames back, it computes for the other
        encoders = _pool(stack, 2 if gpu else workers) if gpu or workers else cores
        readers, writer = _pool(stack, READERS if gpu else 1), _pool(stack, 1)
        batches = (batch for shard in shards for batch in _batches(shard, encoder.device.type))
        read = _ahead(readers, partial(_read, corpus), batches, 2 * READERS if gpu else 4)
        ahead = 1 + encoders._max_workers
        frames, writing = [], None
        for shard, rows, encoded in _ahead(encoders, partial(_encode, encoder), read, ahead):
            frames += encoded
            if len(frames) == len(shard.clips):
                if writing:
                    writing.result()
                writing = writer.submit(store.write_shard, shard.name, shard.clips, frames)
                frames = []
            yield len(rows), rows["duration_s"].sum()
        if writing:
            writing.result()


def _steps(
    corpus: Corpus,
    encoder: Encoder,
    store: FeatureStore,
    shards: list[Shard],
    scheduler: str | None,
) -> Iterator[tuple[int, float]]:
    if not scheduler:
        return fill(corpus, encoder, store, shards)
    from emoshare_utils.cluster import fill_over_cluster  # Dask is an extra

    return fill_over_cluster(corpus, encoder, store, shards, scheduler)


def _run(
    steps: Iterator[tuple[int, float]], label: str, shards: list[Shard], store: FeatureStore
) -> None:
    clips = sum(len(shard.clips) for shard in shards)
    audio_s = sum(shard.clips["duration_s"].sum() for shard in shards)
    try:
        track_audio(steps, label, clips, audio_s)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{label} was stopped by hand: finished shards are kept in {store.folder}, and the "
            "same command goes on from there"
        ) from None


def _batches(shard: Shard, device: str) -> Iterator[tuple[Shard, pd.DataFrame]]:
    """The clips of a shard, longest first, `BATCH_S` of audio at a time, one clip at least.

    On a GPU a clip counts as much as the batch's longest one, to which it is padded there. On a
    CPU the last batches are shorter, so that all cores finish together.
    """
    seconds = shard.clips["duration_s"].to_numpy()
    start = 0
    while start < len(seconds):
        budget_s, used_s = BATCH_S[device], seconds[start:].cumsum()
        if device == "cpu":
            budget_s = min(budget_s, max(used_s[-1] / LAST_BATCHES, SHORTEST_S))
        else:
            used_s = seconds[start] * np.arange(1, 1 + len(used_s))
        end = start + max(1, int(np.searchsorted(used_s, budget_s, side="right")))
        yield shard, shard.clips[start:end]
        start = end


def _read(
    corpus: Corpus, batch: tuple[Shard, pd.DataFrame]
) -> tuple[Shard, pd.DataFrame, list[np.ndarray]]:
    shard, rows = batch
    pairs = zip(rows["path"], rows["audio_checksum"])
    return shard, rows, [_samples(corpus, path, expected) for path, expected in pairs]


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


def _encode(
    encoder: Encoder, batch: tuple[Shard, pd.DataFrame, list[np.ndarray]]
) -> tuple[Shard, pd.DataFrame, list[np.ndarray]]:
    shard, rows, samples = batch
    with np.errstate(over="ignore"):  # the store refuses what is not finite, and names the clip
        return shard, rows, [frames.astype(np.float16) for frames in encoder.encode(samples)]


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


def _refuse_full_disk(store: FeatureStore, encoder: str, shards: list[Shard]) -> None:
    """StoreError now rather than after hours, if the frames to come cannot fit."""
    if encoder.endswith(f"@{POOLED}"):
        return  # a row a layer
    needed = sum(
        2 * store.width * n_frames(encoder, round(duration_s * SAMPLE_RATE))
        for shard in shards
        for duration_s in shard.clips["duration_s"]
    )
    free = shutil.disk_usage(store.folder).free
    if needed > free:
        raise StoreError(
            f"{store.folder} needs {needed / 1e9:.1f} GB for frames from {encoder}, but "
            f"{free / 1e9:.1f} GB are free: make room, then run the same again"
        )


@contextmanager
def _locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold the folder's lock, which the system releases even when this process is killed."""
    with writing(folder):
        lock = (folder / ".lock").open("w")
    with lock:
        try:
            with writing(folder):
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except StoreError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                raise
            raise StoreError(f"{folder} is being written by another run: let it finish") from error
        yield


def stored(features: Path) -> dict[str, str]:
    """The store of each encoder that has been extracted: encoder -> folder name."""
    file = features / "stores.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def _remember(features: Path, encoder: str, store: FeatureStore) -> None:
    with _locked(features, wait=True):  # other encoders' runs write it too
        remove_leftovers(features)
        stores = stored(features) | {encoder: store.folder.name}
        with atomic(features / "stores.json") as file:
            file.write((json.dumps(stores, indent=2, sort_keys=True) + "\n").encode())
