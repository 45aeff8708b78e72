"""Clip table x encoder -> feature store; an interrupted run resumes where it was."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from emoshare_utils.corpora.audio import SAMPLE_RATE
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.encoder import Encoder
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
        CorpusError: a clip has changed or can no longer be read.
        StoreError: the frames are not finite or would not fit on the disk.
        FolderError: another run is writing this store, or it cannot be written.
        ClusterError: the scheduler or a worker cannot do it.
        KeyboardInterrupt: stopped by hand. Whatever is raised, finished shards are kept.
    """
    features = Path(features)
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
    needed = sum(
        2 * store.width * encoder.n_frames(round(duration_s * SAMPLE_RATE))
        for shard in shards
        for duration_s in shard.clips["duration_s"]
    )
    free = shutil.disk_usage(store.folder).free
    if needed > free:
        raise StoreError(
            f"{store.folder} needs {size(needed)} for frames from {encoder.name}, but "
            f"{size(free)} are free: make room, then run the same again"
        )


def _remember(features: Path, encoder: str, store: FeatureStore) -> None:
    with locked(features, wait=True):  # other encoders' runs write it too
        remove_leftovers(features)
        stores = stored(features) | {encoder: store.folder.name}
        write_json(features / "stores.json", dict(sorted(stores.items())))
