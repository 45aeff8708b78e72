"""Several studies at a time, each on cores of its own.

A study's networks are small and its other steps keep one core busy: two studies on two cores take
about the time of one. That is safe as a study reads what the paper's notebooks made and nothing
of another study.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import suppress
from typing import Any

from emoshare_utils.runner.notebooks import Notebook, NotebookFailed

AT_ONCE = 2  # each may hold 3 GB
PATIENCE_S = 10  # for a kernel that was told to stop


class Kernels:
    """The kernels of notebooks that run at the same time, which stop together."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.stopping = threading.Event()
        self._pids: dict[str, int] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What keeps a kernel to its part of the machine where its cores cannot be named."""
        return {} if hasattr(os, "sched_setaffinity") else {"OMP_NUM_THREADS": str(self.threads)}

    def check(self) -> None:
        """Raise KeyboardInterrupt where all were told to stop."""
        if self.stopping.is_set():
            raise KeyboardInterrupt

    def started(self, name: str, pid: int) -> None:
        """The notebook's kernel runs."""
        self._pids[name] = pid

    def ended(self, name: str) -> None:
        """The notebook's kernel is gone."""
        self._pids.pop(name, None)

    def stop(self) -> None:
        """Interrupt what runs, as JupyterLab's button does; no notebook begins another cell."""
        self.stopping.set()
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End what is still there."""
        self.stopping.set()
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        for pid in list(self._pids.values()):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def how_many(parameters: Mapping[str, Any]) -> int:
    """How many studies of a run go at the same time: two, or one at a time on a GPU or a cluster,
    which they would share unasked, and on one core."""
    import torch  # takes seconds, and a run that is up to date needs none of it

    gpu = parameters.get("device") != "cpu" and torch.cuda.is_available()
    alone = gpu or parameters.get("scheduler") or len(_cores()) < AT_ONCE
    return 1 if alone else AT_ONCE


def run(
    work: Callable[[Notebook, Kernels | None], None], notebooks: Sequence[Notebook], n: int
) -> Iterator[tuple[Notebook, NotebookFailed | None]]:
    """Do the work for each notebook, `n` at the same time; yields how each of them ended.

    One by one they run in this thread, on all cores. Raises what else the work raises, and
    KeyboardInterrupt, naming where the notebooks were stopped.
    """
    cores = _cores()
    n = min(n, len(cores), len(notebooks))
    if n < 2:
        for notebook in notebooks:
            yield notebook, _failure(work, notebook, None)
        return
    shares = [cores[i * len(cores) // n : (i + 1) * len(cores) // n] for i in range(n)]
    kernels = Kernels(len(cores) // n)
    pool = ThreadPoolExecutor(n, "study", _keep_to, (shares,))
    futures = {pool.submit(work, notebook, kernels): notebook for notebook in notebooks}
    try:
        for done in as_completed(futures):
            yield futures[done], _failure(done.result)
    except KeyboardInterrupt:
        kernels.stop()
        pool.shutdown(wait=False, cancel_futures=True)
        ended, _ = wait(futures, PATIENCE_S)
        stopped = [f.exception() for f in futures if f in ended and not f.cancelled()]
        where = [str(error) for error in stopped if isinstance(error, KeyboardInterrupt)]
        raise KeyboardInterrupt(" and".join(sorted(where))) from None
    finally:
        kernels.kill()
        pool.shutdown(cancel_futures=True)


def _failure(work: Callable[..., None], *arguments: Any) -> NotebookFailed | None:
    try:
        work(*arguments)
    except NotebookFailed as failed:
        return failed
    return None


def _keep_to(shares: list[list[int]]) -> None:
    """Keep this thread, and the kernels that it starts, to the next share of the cores."""
    share = shares.pop()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share)


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
