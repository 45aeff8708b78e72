"""Clip table x encoder -> feature store, clip by clip; an interrupted run goes on where it was."""

import fcntl
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from emoshare_utils.audio import AudioError, checksum, decode
from emoshare_utils.corpus import Corpus, CorpusError
from emoshare_utils.device import one_worker_a_core
from emoshare_utils.encoders import Encoder
from emoshare_utils.progress import track
from emoshare_utils.store import SHARD_CLIPS, FeatureStore, StoreError, atomic


def extract(corpus: Corpus, encoder: Encoder, features: Path) -> FeatureStore:
    """Encode every clip of `corpus` that the store does not hold yet.

    Args:
        features: the folder of stores; `features/stores.json` then says which one belongs to
            `encoder.name`.

    Raises:
        CorpusError: a clip has changed or can no longer be read; finished shards are kept.
        StoreError: another run is writing this store.
    """
    store = FeatureStore.create(features, encoder.name, encoder.width, encoder.settings)
    with _locked(store.folder), one_worker_a_core() as pool:
        store.remove_leftovers()
        todo = store.missing(corpus.clips)
        steps = _fill(store, todo, pool, partial(_encode, corpus, encoder))
        for _ in track(steps, f"extracting {encoder.name}", total=len(todo)):
            pass
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


def _fill(
    store: FeatureStore,
    todo: pd.DataFrame,
    pool: Executor,
    encode: Callable[[str, str], np.ndarray],
) -> Iterator[None]:
    """Encode clip by clip and write shard by shard; yields after each clip."""
    for start in range(0, len(todo), SHARD_CLIPS):
        clips, frames = todo[start : start + SHARD_CLIPS], []
        for clip_frames in pool.map(encode, clips["path"], clips["audio_checksum"]):
            frames.append(clip_frames)
            if len(frames) == len(clips):
                store.write_shard(clips, frames)
            yield


def _encode(corpus: Corpus, encoder: Encoder, path: str, expected: str) -> np.ndarray:
    try:
        content = corpus.path(path).read_bytes()
        if checksum(content) != expected:
            raise AudioError("its bytes have changed")
        return encoder.frames(decode(content))
    except (AudioError, OSError) as error:
        raise CorpusError(
            f"{corpus.path(path)} was usable when notebooks/01_data_preparation.ipynb checked it, "
            f"but now: {error}. Finished shards are kept; run that notebook again"
        ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the store's lock, which the system releases even when this process is killed."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(f"{folder} is being written by another run: let it finish") from error
        yield


def stored(features: Path) -> dict[str, str]:
    """The store of each encoder that has been extracted: encoder -> folder name."""
    file = features / "stores.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def _remember(features: Path, encoder: str, store: FeatureStore) -> None:
    stores = stored(features) | {encoder: store.folder.name}
    with atomic(features / "stores.json") as file:
        file.write((json.dumps(stores, indent=2, sort_keys=True) + "\n").encode())
