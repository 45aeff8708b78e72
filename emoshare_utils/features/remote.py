"""Extraction over a Dask cluster: one task per shard."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from threading import Lock

from emoshare_utils.cluster import ClusterError, local_device, over_cluster, require_folder
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.encoder import Encoder
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.fill import fill
from emoshare_utils.features.store import FeatureStore, Shard

_loading = Lock()


def fill_over_cluster(
    corpus: Corpus, encoder: Encoder, store: FeatureStore, shards: list[Shard], scheduler: str
) -> Iterator[float]:
    """Make `shards` on the workers of `scheduler`; yields the seconds of audio of each.

    Raises:
        ClusterError: the scheduler or its workers cannot do it.
        CorpusError, StoreError: as a worker met them.
    """
    about = encoder.request, encoder.settings, store.folder, scheduler.startswith("local:")
    tasks = [(corpus.with_clips(shard.clips), shard.name, *about) for shard in shards]
    return over_cluster(scheduler, _make, tasks)


def _make(
    corpus: Corpus, name: str, request: dict, settings: dict, folder: Path, local: bool
) -> float:
    """One shard, on a worker: encode its clips and write it."""
    from distributed import get_worker

    worker = get_worker()
    if local:
        request = request | {"device": local_device(request["device"], worker.name)}
    with _loading:  # threads of one worker share what the first one loads
        encoder = _loaded(**request)
    _require_settings(encoder, settings, worker.address)
    require_folder(folder)
    return sum(fill(corpus, encoder, FeatureStore(folder), [Shard(name, corpus.clips)], workers=1))


def _require_settings(encoder: Encoder, settings: dict, worker: str) -> None:
    here = encoder.settings
    others = sorted(key for key in settings | here if here.get(key) != settings.get(key))
    if others:
        raise ClusterError(
            f"worker {worker} would make other frames than this process: its "
            + ", ".join(f"{key} is {here.get(key)}" for key in others)
            + ", not "
            + ", ".join(str(settings.get(key)) for key in others)
            + ": install the same packages there and start it again"
        )


@lru_cache(maxsize=2)
def _loaded(**request) -> Encoder:
    return load_encoder(**request)
