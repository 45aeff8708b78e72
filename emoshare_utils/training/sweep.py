"""Several systems: side by side in processes here, in turn, or on the workers of a Dask cluster."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from threading import Lock

import pandas as pd
import torch

from emoshare_utils.cluster import local_device, over_cluster, require_folder, usable_cores
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.device import choose_device
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.files import slug
from emoshare_utils.progress import track
from emoshare_utils.training.settings import Job
from emoshare_utils.training.side_by_side import can_go_apart, train_side_by_side
from emoshare_utils.training.systems import System, read_system, system_folder, train_system

_training = Lock()


def train_systems(
    corpus: Corpus,
    requests: Sequence[dict],
    models: Path,
    device: str = "auto",
    scheduler: str = "",
) -> list[System]:
    """Train several systems, each as `train_system` does.

    On a CPU several systems of small networks are trained side by side, as many as torch has
    threads; large ones, those with code from outside the package, and all on a GPU, in turn.

    Args:
        requests: for each system its store, architecture, seed, sizes and training, as
            `train_system` takes them; its corpus and models too where they are its own.
        scheduler: the address of a Dask scheduler, or local:N for N processes here, whose workers
            train one system each. The systems are the same either way.

    Raises:
        StoreError, FolderError, Stopped: see `train_system`.
        ClusterError: the scheduler cannot be reached, or its workers cannot train.
    """
    tasks = [{"corpus": corpus, "models": models, **request} for request in requests]
    tasks = [task | {"models": task["models"].resolve()} for task in tasks]
    if not scheduler:
        waiting = [task for task in tasks if not (system_folder(**task) / "system.json").is_file()]
        if waiting and _side_by_side(tasks, device):
            train_side_by_side(waiting)
        return [train_system(**task, device=device) for task in tasks]
    if views := [task for task in tasks if type(task["store"]) is not FeatureStore]:
        raise ValueError(f"{type(views[0]['store']).__name__} cannot be sent to a scheduler")
    about = [{"device": device, "store": task["store"].folder.resolve()} for task in tasks]
    done = train_over_cluster([task | own for task, own in zip(tasks, about)], scheduler)
    for _ in track(done, f"training over {scheduler}", len(tasks), "systems", every_s=0):
        pass
    return [read_system(system_folder(**task)) for task in tasks]


def train_variants(
    corpus: Corpus,
    variants: Mapping[str, dict],
    seeds: Sequence[int],
    models: Path,
    device: str = "auto",
) -> pd.DataFrame:
    """Train every variant of a study with every seed, all in one sweep.

    Args:
        variants: name -> its store, architecture, sizes and training.
        models: holds a folder for each variant.

    Returns:
        The predictions of all; their column encoder is the variant's name.
    """
    asked = list(product(variants, seeds))
    requests = [{**variants[x], "seed": seed, "models": models / slug(x)} for x, seed in asked]
    made = train_systems(corpus, requests, models, device)
    found = [system.predictions.assign(encoder=x) for (x, _), system in zip(asked, made)]
    return pd.concat(found, ignore_index=True)


def _side_by_side(tasks: Sequence[dict], device: str) -> bool:
    """Whether these systems finish sooner side by side, and can."""
    if min(len(tasks), torch.get_num_threads()) < 2 or choose_device(device).type != "cpu":
        return False
    jobs = [Job(**{x: y for x, y in task.items() if x != "models"}) for task in tasks]
    return all(map(can_go_apart, jobs))


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
