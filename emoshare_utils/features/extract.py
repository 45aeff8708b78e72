"""Clip table x encoder -> feature store; an interrupted run resumes where it was."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

from emoshare_utils.corpora.audio import SAMPLE_RATE
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.encoder import Encoder, EncoderError
from emoshare_utils.features.fill import fill
from emoshare_utils.features.remote import fill_over_cluster
from emoshare_utils.features.store import FeatureStore, Shard, StoreError, stored
from emoshare_utils.files import locked, remove_leftovers, size, write_json
from emoshare_utils.progress import track


def extract(
    corpus: Corpus, encoder: Encoder, features: str | Path, scheduler: str | None = None
) -> FeatureStore:
    """Encode every clip of `corpus` that the store does not hold yet.

    Stored frames are compared with their checksums first; a damaged shard is named and made again.

    Args:
        features: the folder of stores; `features/stores.json` then says which one belongs to
            `encoder.name`.
        scheduler: the address of a Dask scheduler whose workers see the same folders, or
            "local:N" for N worker processes here. None: this process alone.

    Raises:
        EncoderError: clips are too short for the encoder; nothing is written.
        CorpusError: a clip has changed or can no longer be read.
        StoreError: the frames are not finite or would not fit on the disk.
        FolderError: another run is writing this store, or it cannot be written.
        ClusterError: the scheduler or a worker cannot do it.
        KeyboardInterrupt: stopped by hand. Whatever is raised, finished shards are kept.
    """
    features = Path(features)
    expected_frames(corpus.clips, encoder)
    about = features, encoder.name, encoder.width, encoder.settings
    folder = FeatureStore.place(*about)
    with locked(folder):
        remove_leftovers(folder)
        store = FeatureStore.create(*about)
        for name in store.verify():
            print(f"{store.folder / name} is damaged and will be made again", flush=True)
            store.discard(name)
        shards = store.plan(corpus.clips)
        _refuse_full_disk(store, encoder, shards)
        if scheduler:
            steps = fill_over_cluster(corpus, encoder, store, shards, scheduler)
        else:
            steps = fill(corpus, encoder, store, shards)
        with closing(steps):
            _run(steps, encoder.name, shards, store)
        store.forget()
        store.lengths(corpus.clips["clip_id"])  # StoreError if one is missing all the same
    _remember(features, encoder.name, store)
    return store


def expected_frames(clips: pd.DataFrame, encoder: Encoder) -> np.ndarray:
    """The number of frames that each clip of a checked clip table will have, (N,) int64.

    Raises:
        EncoderError: the encoder makes no frame of some of them.
    """
    n_samples = (clips["duration_s"] * SAMPLE_RATE).round().astype(int)
    frames = n_samples.map(encoder.n_frames).to_numpy(np.int64)
    if (frames < 1).any():
        least = encoder.shortest() / SAMPLE_RATE
        shortest = clips.loc[n_samples.idxmin()]
        raise EncoderError(
            f"{(frames < 1).sum()} of {len(clips)} clips are too short for {encoder.name}, which "
            f"needs {least:.4f} s: the shortest, {shortest['clip_id']}, has "
            f"{shortest['duration_s']:.4f} s. Take clips under that out of the corpus, then run "
            "notebooks/01_data_preparation.ipynb again; or choose another encoder"
        )
    return frames


def _run(steps: Iterator[float], encoder: str, shards: list[Shard], store: FeatureStore) -> None:
    clips = sum(len(shard.clips) for shard in shards)
    audio_s = sum(shard.clips["duration_s"].sum() for shard in shards)
    label = f"extracting {encoder}, {clips} clips"
    try:
        for _ in track(steps, label, audio_s, "s of audio", amount=float):
            pass
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"extracting {encoder} was stopped by hand: finished shards are kept in "
            f"{store.folder}, and the same command resumes from there"
        ) from None


def _refuse_full_disk(store: FeatureStore, encoder: Encoder, shards: list[Shard]) -> None:
    """Raise StoreError now rather than after hours, if the frames to come cannot fit."""
    frames = sum(expected_frames(shard.clips, encoder).sum() for shard in shards)
    needed = 2 * store.width * frames
    free = shutil.disk_usage(store.folder).free
    if needed > free:
        raise StoreError(
            f"{store.folder} needs {size(needed)} for frames from {encoder.name}, but "
            f"{size(free)} are free: make room, then run the same again"
        )


def _remember(features: Path, encoder: str, store: FeatureStore) -> None:
    with locked(features, wait=True):  # other encoders' runs write it too
        remove_leftovers(features)
        try:
            stores = stored(features)
        except StoreError as error:
            print(f"{error}, for every other encoder", flush=True)
            stores = {}
        stores |= {encoder: store.folder.name}
        write_json(features / "stores.json", dict(sorted(stores.items())))
