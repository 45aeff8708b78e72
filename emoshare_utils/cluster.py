"""Extraction and training over a Dask cluster: one task a shard, and one a system.

Workers are the user's own (`dask worker`, dask-jobqueue, dask-kubernetes, dask-cuda) or N local
processes. They read and write by the same paths as this process, so the folders must be on a file
system that all of them share. A worker makes as many shards at a time as it has threads: one a
core of a CPU, one for a GPU. It trains one system at a time, on as many cores as it has threads.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import torch

from emoshare_utils.corpus import Corpus
from emoshare_utils.encoders import Encoder, load_encoder
from emoshare_utils.fill import fill
from emoshare_utils.store import FeatureStore, Shard
from emoshare_utils.training import train_system

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_S = 30  # to wait for a scheduler, for its first worker, and for one to come back
CORES = len(os.sched_getaffinity(0))  # Dask tells torch to use one
Result = TypeVar("Result")
_loading, _training = Lock(), Lock()


class ClusterError(RuntimeError):
    """A scheduler that cannot be reached, or workers that cannot do the work."""


@contextmanager
def connected(scheduler: str) -> Iterator["Client"]:
    """A client of `scheduler`: an address such as tcp://10.0.0.1:8786, or local:N.

    Raises:
        ClusterError: Dask is not installed, the scheduler is not there, or it has no workers.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ClusterError(
            f"scheduler = {scheduler!r} needs Dask: pip install 'emoshare-utils[cluster]'"
        ) from error
    name, _, number = scheduler.partition(":")
    if name == "local":
        if not number.isdecimal() or not int(number):
            raise ClusterError(f"scheduler = {scheduler!r}: expected local:N, as local:4")
        workers = {"n_workers": int(number), "threads_per_worker": 1}
        with LocalCluster(**workers, dashboard_address=None) as cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"scheduler = {scheduler!r} cannot be reached ({error}): expected an address as "
            "tcp://10.0.0.1:8786, or local:N"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_S)
        except TimeoutError as error:
            raise ClusterError(f"scheduler {scheduler} has no workers: start some first") from error
        yield client


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


def train_over_cluster(tasks: Sequence[dict], scheduler: str) -> Iterator[Path]:
    """Train systems on the workers of `scheduler`; yields the folder of each when it is finished.

    Another worker goes on with the system of one that died, from its last epoch.

    Args:
        tasks: the arguments of `training.train_system`, with the store as its folder.

    Raises:
        ClusterError: the scheduler or its workers cannot do it.
        StoreError: as a worker met it.
    """
    local = int(scheduler.partition(":")[2]) if re.fullmatch(r"local:\d+", scheduler) else 0
    return over_cluster(scheduler, _train, [(task, local) for task in tasks], one_a_worker=True)


def over_cluster(
    scheduler: str,
    call: Callable[..., Result],
    tasks: Sequence[tuple],
    one_a_worker: bool = False,
) -> Iterator[Result]:
    """call(*task) of every task on the workers of `scheduler`, as they are done.

    A worker that dies costs the task it was at, which another one then does.

    Args:
        one_a_worker: hand out no more tasks at once than there are workers.
    """
    if not tasks:
        return
    with connected(scheduler) as client:
        from distributed import KilledWorker

        submitted = (client.submit(call, *task, pure=False) for task in tasks)
        at_once = len(client.ncores()) if one_a_worker else len(tasks)
        pending = set(islice(submitted, at_once))
        try:
            while pending:
                done = _wait_for_some(client, pending)
                pending -= done
                pending |= set(islice(submitted, len(done)))
                for future in done:
                    yield future.result()
        except CancelledError as error:
            raise ClusterError(
                f"scheduler {scheduler} is gone: start it again, then run the same again. "
                "What is finished is kept"
            ) from error
        except KilledWorker as error:
            raise ClusterError(
                f"workers of {scheduler} died one after the other at the same task ({error}): "
                "look at their logs (out of memory?). What is finished is kept"
            ) from error
        finally:
            client.cancel(list(pending))


def _wait_for_some(client: "Client", pending: set["Future"]) -> set["Future"]:
    """Those of `pending` that are done, one or more; ClusterError where no worker is left."""
    from distributed import wait

    while True:
        try:
            return wait(pending, timeout=CONNECT_S, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            if not client.ncores():
                raise ClusterError(
                    "all workers have left: start some, then run the same again. What is "
                    "finished is kept"
                ) from None


def _make(
    corpus: Corpus, name: str, request: dict, settings: dict, folder: Path, local: bool
) -> tuple[int, float]:
    """One shard, on a worker: encode its clips and write it."""
    from distributed import get_worker

    worker = get_worker()
    if local:
        request = request | {"device": _device(request["device"], worker.name)}
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
    _see(folder)
    store, shard = FeatureStore(folder), Shard(name, corpus.clips)
    made = list(fill(corpus, encoder, store, [shard], workers=1))
    return sum(clips for clips, _ in made), sum(seconds for _, seconds in made)


def _train(task: dict, local: int) -> Path:
    """One system, on a worker: train it, or go on with it. `local`: workers on this machine."""
    from distributed import get_worker

    _see(task["store"])
    if local:
        task = task | {"device": _device(task["device"], get_worker().name)}
        torch.set_num_threads(max(1, CORES // local))
    else:
        torch.set_num_threads(get_worker().state.nthreads)
    with _training:
        return train_system(**task | {"store": FeatureStore(task["store"])}).folder


def _see(folder: Path) -> None:
    from distributed import get_worker

    if not folder.is_dir():
        raise ClusterError(
            f"worker {get_worker().address} does not see {folder}: runs/ and the corpus must be on "
            "a file system that all workers share"
        )


def _device(device: str, worker: int) -> str:
    """Which GPU the local worker of this number takes; other workers are given theirs."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{worker % gpus}" if gpus and device in ("auto", "cuda") else device


@lru_cache(maxsize=2)
def _loaded(**request) -> Encoder:
    return load_encoder(**request)
