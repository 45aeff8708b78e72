"""Extraction over a Dask cluster: one task a shard."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from threading import Lock

from emoshare_utils.cluster import ClusterError, local_device, over_cluster, require_folder
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.encoders import Encoder, load_encoder
from emoshare_utils.features.fill import fill
from emoshare_utils.features.store import FeatureStore, Shard

_loading = Lock()


def fill_over_cluster(
    corpus: Corpus, encoder: Encoder, store: FeatureStore, shards: list[Shard], scheduler: str
) -> Iterator[tuple[int, float]]:
    """Make `shards` on the workers of `scheduler`; yields (clips, seconds of audio) after each.

    Raises:
        ClusterError: the scheduler or its workers cannot do it.
        CorpusError, StoreError: as a worker met them.
    """
    local = scheduler.startswith("local:")
    tasks = [
        (
            corpus.with_clips(shard.clips),
            shard.name,
            encoder.request,
            encoder.settings,
            store.folder,
            local,
        )
        for shard in shards
    ]
    return over_cluster(scheduler, _make, tasks)


def _make(
    corpus: Corpus, name: str, request: dict, settings: dict, folder: Path, local: bool
) -> tuple[int, float]:
    """One shard, on a worker: encode its clips and write it."""
    from distributed import get_worker

    worker = get_worker()
    if local:
        request = request | {"device": local_device(request["device"], worker.name)}
    with _loading:  # threads of one worker share what the first one loads
        encoder = _loaded(**request)
    if encoder.settings != settings:
        others = {key for key in settings if encoder.settings.get(key) != settings[key]}
        raise ClusterError(
            f"worker {worker.address} would make other frames than this process: its "
            + ", ".join(f"{key} is {encoder.settings.get(key)}" for key in sorted(others))
            + ", not "
            + ", ".join(str(settings[key]) for key in sorted(others))
            + ": install the same packages there and start it anew"
        )
    require_folder(folder)
    store, shard = FeatureStore(folder), Shard(name, corpus.clips)
    made = list(fill(corpus, encoder, store, [shard], workers=1))
    return sum(clips for clips, _ in made), sum(seconds for _, seconds in made)


@lru_cache(maxsize=2)
def _loaded(**request) -> Encoder:
    return load_encoder(**request)
