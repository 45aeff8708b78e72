"""Kernels forked from one process that has imported what notebooks import, which takes seconds.

Each has a process, an environment and names of its own, as any kernel has.
"""

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FORKED = multiprocessing.get_context("forkserver")
IMPORTED = [
    "distributed",
    "ipykernel.kernelapp",
    "emoshare_utils.features.remote",
    "emoshare_utils.pretraining.pretrain",
    "emoshare_utils.results.figures",
    "emoshare_utils.training.sweep",
]


class Kernel:
    """What jupyter_client asks of a Popen."""

    stdin = stdout = stderr = None

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path | None = None, **_: Any
    ) -> None:
        FORKED.set_forkserver_preload(IMPORTED)
        alone = FORKED.Event()
        arguments = (
            list(command[3:]),
            dict(env),
            str(cwd or Path.cwd()),
            alone,
        )  # after python -m ipykernel_...
        self.process = FORKED.Process(target=serve, args=arguments)
        self.process.start()
        alone.wait()  # a signal to its group is not for the tests'
        self.pid = self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> int | None:
        self.process.join()
        return self.poll()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def serve(arguments: list[str], env: dict[str, str], cwd: str, alone: Any) -> None:
    """Be the kernel that `python -m ipykernel_launcher` with these arguments is."""
    from ipykernel.kernelapp import launch_new_instance

    os.setsid()
    alone.set()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    launch_new_instance(argv=arguments)
