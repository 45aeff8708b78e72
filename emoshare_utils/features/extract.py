"""Clip table x encoder -> feature store; an interrupted run resumes where it was."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from emoshare_utils.corpora.audio import SAMPLE_RATE
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.errors import Stopped
from emoshare_utils.features.encoder import Encoder, EncoderError
from emoshare_utils.features.fill import Target, by_clips, fill
from emoshare_utils.features.remote import fill_over_cluster
from emoshare_utils.features.store import FeatureStore, StoreError, stored
from emoshare_utils.files import locked, remove_leftovers, size, write_json
from emoshare_utils.progress import track

LAYERS_PER_PASS = 3  # of each, two shards are held in memory: .3 GB at width 1,024


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
    (store,) = extract_layers(corpus, [encoder], features, scheduler)
    return store


def extract_layers(
    corpus: Corpus,
    layers: Sequence[Encoder],
    features: str | Path,
    scheduler: str | None = None,
) -> list[FeatureStore]:
    """Encode every clip that a store of `layers` lacks, once for all of them: a store for each.

    Each store is the one that `extract` makes of that layer by itself. A pass goes as deep as the
    deepest layer that lacks its clips, and gives `LAYERS_PER_PASS` layers at most.

    Args:
        layers: one of the lists of `load_encoders`: encoders of one model.
        features, scheduler: as `extract`, whose errors are raised.
    """
    features = Path(features)
    for encoder in layers:
        expected_frames(corpus.clips, encoder)
    stores = []
    for start in range(0, len(layers), LAYERS_PER_PASS):
        stores += _one_pass(corpus, layers[start : start + LAYERS_PER_PASS], features, scheduler)
    return stores


def _one_pass(
    corpus: Corpus, layers: Sequence[Encoder], features: Path, scheduler: str | None
) -> list[FeatureStore]:
    with ExitStack() as locks:
        stores = [locks.enter_context(_checked(features, encoder)) for encoder in layers]
        targets = [
            Target(encoder, store, shard)
            for encoder, store in zip(layers, stores, strict=True)
            for shard in store.plan(corpus.clips)
        ]
        _refuse_full_disk(targets)
        groups = by_clips(targets)
        if scheduler:
            steps = fill_over_cluster(corpus, layers, groups, scheduler)
        else:
            steps = fill(corpus, groups)
        with closing(steps):
            _run(steps, layers, stores, groups)
        for store in stores:
            store.forget()
            store.lengths(corpus.clips["clip_id"])  # StoreError if one is missing all the same
    for encoder, store in zip(layers, stores, strict=True):
        _remember(features, encoder.name, store)
    return stores


@contextmanager
def _checked(features: Path, encoder: Encoder) -> Iterator[FeatureStore]:
    """The encoder's store, locked, without shards that are damaged."""
    about = features, encoder.name, encoder.width, encoder.settings
    folder = FeatureStore.place(*about)
    with locked(folder):
        remove_leftovers(folder)
        store = FeatureStore.create(*about)
        for name in store.verify():
            print(f"{store.folder / name} is damaged and will be made again", flush=True)
            store.discard(name)
        yield store


def expected_frames(clips: pd.DataFrame, encoder: Encoder) -> np.ndarray:
    """The number of frames that each clip of a checked clip table will have, (N,) int64.

    Raises:
        EncoderError: the encoder makes no frame of some of them.
    """
    frames = encoder.lengths(clips)
    if (frames < 1).any():
        least = encoder.shortest() / SAMPLE_RATE
        shortest = clips.loc[clips["duration_s"].idxmin()]
        raise EncoderError(
            f"{(frames < 1).sum()} of {len(clips)} clips are too short for {encoder.name}, which "
            f"needs {least:.4f} s: the shortest, {shortest['clip_id']}, has "
            f"{shortest['duration_s']:.4f} s. Take clips under that out of the corpus, then run "
            "notebooks/01_data_preparation.ipynb again; or choose another encoder"
        )
    return frames


def _run(
    steps: Iterator[float],
    layers: Sequence[Encoder],
    stores: Sequence[FeatureStore],
    groups: list[list[Target]],
) -> None:
    lacking = {target.encoder.name for targets in groups for target in targets}
    names = " + ".join(each.name for each in layers if not lacking or each.name in lacking)
    once = [targets[0].shard.clips for targets in groups]
    audio_s = sum(clips["duration_s"].sum() for clips in once)
    label = f"extracting {names}, {sum(map(len, once))} clips"
    try:
        for _ in track(steps, label, audio_s, "s of audio", amount=float):
            pass
    except KeyboardInterrupt:
        folders = " and ".join(str(store.folder) for store in stores)
        raise Stopped(
            f"extracting {names} was stopped by hand: finished shards are kept in {folders}, and "
            "running it again resumes from there"
        ) from None


def _refuse_full_disk(targets: list[Target]) -> None:
    """Raise StoreError now rather than after hours, if the frames to come cannot fit."""
    if not targets:
        return
    needed = sum(
        2 * encoder.width * int(expected_frames(shard.clips, encoder).sum())
        for encoder, _, shard in targets
    )
    folder = targets[0].store.folder
    free = shutil.disk_usage(folder).free
    if needed > free:
        names = ", ".join(dict.fromkeys(target.encoder.name for target in targets))
        raise StoreError(
            f"{folder} needs {size(needed)} for frames from {names}, but "
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
