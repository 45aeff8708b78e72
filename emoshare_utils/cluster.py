"""Tasks over a Dask cluster.

Workers are the user's own (`dask worker`, dask-jobqueue, dask-kubernetes, dask-cuda) or N local
processes. They read and write by the same paths as this process, so the folders must be on a file
system that all of them share. Tasks are calls of module-level functions, which Dask sends by name.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from emoshare_utils.errors import UserError

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_S = 30  # seconds to wait for a scheduler, for its first worker, and for one to return
Result = TypeVar("Result")


class ClusterError(UserError, RuntimeError):
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


def over_cluster(
    scheduler: str,
    call: Callable[..., Result],
    tasks: Sequence[tuple],
    one_per_worker: bool = False,
) -> Iterator[Result]:
    """Yield call(*task) of every task, made by the workers of `scheduler`, in order of completion.

    The task of a worker that dies is done again by another one. A task's own error is raised here.

    Args:
        call: a module-level function.
        one_per_worker: hand out no more tasks at once than there are workers; otherwise each
            worker does as many at a time as it has threads.

    Raises:
        ClusterError: as `connected`, or all workers are gone.
    """
    if not tasks:
        return
    with connected(scheduler) as client:
        from distributed import KilledWorker

        submitted = (client.submit(call, *task, pure=False) for task in tasks)
        at_once = len(client.ncores()) if one_per_worker else len(tasks)
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
                f"workers of {scheduler} died one after another at the same task ({error}): "
                "look at their logs (out of memory?). What is finished is kept"
            ) from error
        finally:
            client.cancel(list(pending))


def _wait_for_some(client: "Client", pending: set["Future"]) -> set["Future"]:
    """At least one of `pending` that is done; ClusterError where no worker is left."""
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


def require_folder(folder: Path) -> None:
    """Raise ClusterError, on a worker, where it does not see `folder`."""
    from distributed import get_worker

    if not folder.is_dir():
        raise ClusterError(
            f"worker {get_worker().address} does not see {folder}: it must be on a file system "
            "that all workers share"
        )


def usable_cores() -> int:
    """The cores that this process may use; torch counts one inside a worker."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def local_device(device: str, worker: int) -> str:
    """The GPU for the local worker of this number; workers elsewhere are given theirs."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{worker % gpus}" if gpus and device in ("auto", "cuda") else device
