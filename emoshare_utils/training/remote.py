"""Training over a Dask cluster: one task per system."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock

import torch

from emoshare_utils.cluster import CORES, local_device, over_cluster, require_folder
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.training.systems import train_system

_training = Lock()


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
        torch.set_num_threads(max(1, CORES // local))
    else:
        torch.set_num_threads(get_worker().state.nthreads)
    with _training:
        return train_system(**task | {"store": FeatureStore(task["store"])}).folder
