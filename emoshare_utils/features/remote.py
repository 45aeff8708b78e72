"""Extraction over a Dask cluster: one task per shard, or per shards of the same clips."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from emoshare_utils.cluster import ClusterError, local_device, over_cluster, require_folder
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.encoder import Encoder
from emoshare_utils.features.encoders import load_encoders
from emoshare_utils.features.fill import Target, fill
from emoshare_utils.features.store import FeatureStore, Shard

_loading = Lock()


class Wanted(NamedTuple):
    """A `Target` as it travels: the encoder's name and settings, the store's folder, the shard."""

    encoder: str
    settings: dict
    folder: Path
    shard: str


def fill_over_cluster(
    corpus: Corpus, encoders: Sequence[Encoder], groups: Sequence[list[Target]], scheduler: str
) -> Iterator[float]:
    """Make the shards of `groups` on the workers of `scheduler`; yields the seconds of each group.

    Args:
        encoders: all of which groups have some; a worker loads their model once.

    Raises:
        ClusterError: the scheduler or its workers cannot do it.
        CorpusError, StoreError: as a worker met them.
    """
    names = tuple(encoder.name for encoder in encoders)
    about = names, encoders[0].request, scheduler.startswith("local:")
    tasks = []
    for targets in groups:
        wanted = [
            Wanted(encoder.name, encoder.settings, store.folder, shard.name)
            for encoder, store, shard in targets
        ]
        tasks.append((corpus.with_clips(targets[0].shard.clips), wanted, *about))
    return over_cluster(scheduler, _make, tasks)


def _make(
    corpus: Corpus, wanted: list[Wanted], names: tuple[str, ...], request: dict, local: bool
) -> float:
    """Shards of the same clips, on a worker: encode the clips and write them."""
    from distributed import get_worker

    worker = get_worker()
    request = {key: value for key, value in request.items() if key != "name"}
    if local:
        request["device"] = local_device(request["device"], worker.name)
    with _loading:  # threads of one worker share what the first one loads
        encoders = _loaded(names, **request)
    targets = []
    for name, settings, folder, shard in wanted:
        _require_settings(encoders[name], settings, worker.address)
        require_folder(folder)
        targets.append(Target(encoders[name], FeatureStore(folder), Shard(shard, corpus.clips)))
    return sum(fill(corpus, [targets], workers=1))


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
def _loaded(names: tuple[str, ...], **request) -> dict[str, Encoder]:
    """Encoders by name."""
    return {each.name: each for layers in load_encoders(names, **request) for each in layers}
