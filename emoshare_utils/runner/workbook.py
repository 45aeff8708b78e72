"""Runs the numbered notebooks with papermill, each with its parameters, if it is out of date."""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from emoshare_utils.paths import Run
from emoshare_utils.runner.execute import _execute
from emoshare_utils.runner.notebooks import Notebook, WorkbookError, read_notebooks
from emoshare_utils.runner.profiles import read_parameters
from emoshare_utils.runner.screen import Step, say, summarise
from emoshare_utils.runner.stamps import Ledger


def run(
    profile: str,
    overrides: Mapping[str, Any] | None = None,
    only: str | None = None,
    force: bool = False,
) -> list[Step]:
    """Run the numbered notebooks that are not up to date, in order.

    `profile` is a name in `profiles/` or a path to a .yaml file, `overrides` replaces its values,
    `only` is one notebook's number or the start of its name. Raises WorkbookError before anything
    runs (unknown profile, parameter or notebook, bad run name, the same run already going on) and
    NotebookFailed at the first notebook that fails.
    """
    notebooks = read_notebooks()
    parameters = read_parameters(profile, overrides or {}, notebooks)
    chosen = notebooks if only is None else [_choose(only, notebooks)]
    try:
        this = Run(parameters["run"])
    except ValueError as error:
        raise WorkbookError(str(error)) from None

    steps = []
    with _locked(this):
        ledger = Ledger(this)
        for notebook in chosen:
            start = time.monotonic()
            given = {name: parameters[name] for name in notebook.parameters if name in parameters}
            inputs = ledger.inputs(notebook.name, notebook.cells, given)
            reason = "forced" if force else ledger.outdated(notebook.name, inputs)
            say(f"{notebook.name}  {reason or 'up to date'}")
            if reason:
                with ledger.recording(notebook.name, inputs):
                    _execute(notebook, given, this)
            steps.append(Step(notebook.name, bool(reason), time.monotonic() - start))
    summarise(steps, this.figures)
    return steps


def _choose(only: str, notebooks: list[Notebook]) -> Notebook:
    for notebook in notebooks:
        if notebook.name.startswith(only.zfill(2)):
            return notebook
    names = ", ".join(notebook.name for notebook in notebooks)
    raise WorkbookError(f"--only {only}: expected the number or name of one of {names}")


@contextmanager
def _locked(this: Run) -> Iterator[None]:
    """Hold the run for this process; the lock goes with the process, however that ends."""
    this.folder.mkdir(parents=True, exist_ok=True)
    with (this.folder / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise WorkbookError(
                f"run {this.name!r} is already going on (process {lock.read().strip()}): wait for "
                "it, or give this one another name with --set run=…"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
