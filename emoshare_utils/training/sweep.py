"""Several systems, in turn or side by side on the workers of a Dask cluster, one task each."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock

import torch

from emoshare_utils.cluster import local_device, over_cluster, require_folder, usable_cores
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.progress import track
from emoshare_utils.training.systems import System, read_system, system_folder, train_system

_training = Lock()


def train_systems(
    corpus: Corpus,
    requests: Sequence[dict],
    models: Path,
    device: str = "auto",
    scheduler: str = "",
) -> list[System]:
    """Train several systems in turn, or side by side on the workers of a Dask cluster.

    Args:
        requests: for each system its store, architecture, seed, sizes and training, as
            `train_system` takes them.
        scheduler: the address of a Dask scheduler, or local:N for N processes here; empty: in
            turn. The systems are the same either way.

    Raises:
        StoreError, FolderError: see `train_system`.
        ClusterError: the scheduler cannot be reached, or its workers cannot train.
    """
    shared = {"corpus": corpus, "models": models.resolve(), "device": device}
    if scheduler and (views := [x for x in requests if type(x["store"]) is not FeatureStore]):
        raise ValueError(f"{type(views[0]['store']).__name__} cannot be sent to a scheduler")
    if not scheduler:
        return [train_system(**shared, **request) for request in requests]
    folders = [system_folder(models, **request) for request in requests]
    tasks = [
        shared | request | {"store": request["store"].folder.resolve()} for request in requests
    ]
    done = train_over_cluster(tasks, scheduler)
    for _ in track(done, f"training over {scheduler}", len(tasks), "systems", every_s=0):
        pass
    return [read_system(folder) for folder in folders]


def train_over_cluster(tasks: Sequence[dict], scheduler: str) -> Iterator[Path]:
    """Train systems on the workers of `scheduler`; yields the folder of each when it is finished.

    The system of a worker that died is resumed by another, from its last epoch.

    Args:
        tasks: the arguments of `train_system`, with the store as its folder.
    """
    local = int(scheduler.partition(":")[2]) if re.fullmatch(r"local:\d+", scheduler) else 0
    return over_cluster(scheduler, _train, [(task, local) for task in tasks], one_per_worker=True)


def _train(task: dict, local: int) -> Path:
    """Train one system, on a worker. `local`: workers on this machine, or 0."""
    from distributed import get_worker

    require_folder(task["store"])
    if local:
        task = task | {"device": local_device(task["device"], get_worker().name)}
        torch.set_num_threads(max(1, usable_cores() // local))
    else:
        torch.set_num_threads(get_worker().state.nthreads)
    with _training:
        return train_system(**task | {"store": FeatureStore(task["store"])}).folder
