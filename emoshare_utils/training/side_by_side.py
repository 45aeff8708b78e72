"""Systems of small networks, trained side by side in processes of their own.

A small network keeps one core busy and gains little from a second one: two systems on two cores
take about the time of one. Each computes with one thread, so that its bits depend neither on how
many cores there are nor on which systems were finished before.
"""

import io
import os
import signal
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout

import torch
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from emoshare_utils.errors import Stopped
from emoshare_utils.models.kernels import is_large
from emoshare_utils.models.regressor import build
from emoshare_utils.progress import track
from emoshare_utils.training.settings import Job
from emoshare_utils.training.systems import train_system

MOST_WORKERS = 8  # each holds torch: half a GB
ORPHAN_S = 1.0  # seconds between two looks at whether the parent is there


def can_go_apart(job: Job) -> bool:
    """Whether the networks are small, and another process knows all that decides their numbers."""
    with torch.device("meta"):  # its size alone: no weight is drawn
        network = build(job.architecture, job.store.width, job.sizes)
    return not is_large(network, torch.device("cpu")) and "extensions" not in job.about


def train_side_by_side(tasks: Sequence[dict]) -> None:
    """Train systems on the CPU, as many at a time as torch has threads, and write their folders.

    Where a process is killed, a line says so, and what is left stays for the caller.

    Args:
        tasks: the arguments of `train_system`, with the models' whole path.

    Raises:
        Stopped: interrupted. Finished epochs are kept.
    """
    workers = min(len(tasks), torch.get_num_threads(), MOST_WORKERS)
    # loky by name: with one worker joblib would stay in this process
    parallel = Parallel(max(2, workers), backend="loky", return_as="generator_unordered")
    done = parallel(delayed(_train)(task, os.getpid()) for task in tasks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joblib: that tasks are given up, or a worker is renewed
        try:
            for said in track(done, f"training, {workers} at a time", len(tasks), "systems"):
                print(said, end="", flush=True)
        except KeyboardInterrupt:
            done.close()
            raise Stopped(
                "training was stopped by hand: finished systems and epochs are kept, and running "
                "it again resumes from there"
            ) from None
        except TerminatedWorkerError:
            print("a process was killed (out of memory?): the rest is trained in turn")


def _train(task: dict, parent: int) -> str:
    """Train one system; returns what it printed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        train_system(**task, device="cpu")
    return said.getvalue()


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: else a killed run would go on unseen."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_S)
    os._exit(1)
