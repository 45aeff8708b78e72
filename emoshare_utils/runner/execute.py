"""One notebook, run by papermill."""

import logging
import os
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from emoshare_utils.files import WRITTEN
from emoshare_utils.paths import Run, home, shown
from emoshare_utils.runner.notebooks import Notebook, NotebookFailed
from emoshare_utils.runner.screen import Screen, plain, say
from emoshare_utils.runner.several import Kernels
from emoshare_utils.runner.stamps import written_by

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
ERROR_LINES = 15


def execute(
    notebook: Notebook,
    given: Mapping[str, Any],
    this: Run,
    extensions: Iterable[Path] = (),
    kernels: Kernels | None = None,
) -> None:
    """Run one notebook, with its `given` parameters, into its executed copy.

    Args:
        kernels: those of the notebooks that run at the same time, from threads of this process.

    Raises NotebookFailed, whose message and executed copy show the error; a KeyboardInterrupt says
    in which cell it came.
    """
    # papermill and what it brings take seconds to import; an up-to-date run needs none of it
    from papermill.exceptions import PapermillExecutionError

    copy = this.notebooks / f"{notebook.name}.ipynb"
    screen = Screen(notebook.name)
    if kernels:
        screen = Screen(notebook.name, f"{notebook.name[:2]}  ", kernels.check)
    manager = _kernel_manager(notebook, this, extensions, kernels)
    try:
        try:
            _run_cells(notebook, given, copy, screen, manager)
        except RuntimeError as error:
            if screen.index is not None:
                raise
            # kernels that start at the same moment may choose the same port
            say(f"{notebook.name}  the kernel did not start, once more ({error})")
            _run_cells(notebook, given, copy, screen, manager)
        return
    except PapermillExecutionError as error:
        trace = plain("\n".join(error.traceback))
    except (RuntimeError, TimeoutError) as error:
        trace = f"{type(error).__name__}: the kernel died, often for want of memory ({error})"
        _note(copy, screen.index, trace)
    except KeyboardInterrupt:
        logging.getLogger("asyncio").disabled = True  # it would print the task that was stopped
        raise KeyboardInterrupt(f" in {notebook.name}, {screen.where}") from None
    finally:
        if kernels:
            kernels.ended(notebook.name)
    if kernels and kernels.stopping.is_set():
        raise KeyboardInterrupt(f" in {notebook.name}, {screen.where}")
    screen.finish()
    lines = trace.strip().splitlines()[-ERROR_LINES:]
    raise NotebookFailed(
        f"\n{notebook.name} failed in {screen.where}:\n"
        + textwrap.indent("\n".join(lines), "    ")
        + f"\n\nThe executed copy shows it: {shown(copy)}\n"
        f"Once that is fixed, the same command resumes with {notebook.name}.",
        lines[-1],
    )


def _run_cells(
    notebook: Notebook,
    given: Mapping[str, Any],
    copy: Path,
    screen: Screen,
    manager: type,
) -> None:
    from papermill import execute_notebook

    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    execute_notebook(
        _literal(notebook.path),
        _literal(copy),
        given,
        kernel_name="python3",
        language="python",
        progress_bar=False,
        start_timeout=120,
        stdout_file=screen,
        stderr_file=screen,
        kernel_manager_class=manager,
        extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        iopub_timeout=60,
        coalesce_streams=True,
        on_notebook_start=screen.open,
        on_cell_execute=screen.start,
        on_cell_executed=screen.finish,
        on_cell_error=_show_exit,
    )


def _literal(path: Path) -> str:
    """A path that papermill, which formats it with the parameters, leaves as it is."""
    return str(path).replace("{", "{{").replace("}", "}}")


def kernel_environment(extensions: Iterable[Path]) -> dict[str, str]:
    """The environment of a kernel that finds this package, this project and these extensions."""
    path = filter(None, [str(PACKAGE_PARENT), os.environ.get("PYTHONPATH")])
    return os.environ | {
        "EMOSHARE_HOME": str(home()),
        "EMOSHARE_EXTENSIONS": os.pathsep.join(map(str, extensions)),
        "PYTHONPATH": os.pathsep.join(path),
    }


def _kernel_manager(
    notebook: Notebook, this: Run, extensions: Iterable[Path], kernels: Kernels | None
) -> type:
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from traitlets import default

    own = {"env": kernel_environment(extensions), "cwd": str(notebook.path.parent)}
    if kernels:
        own["env"] |= kernels.environment | {WRITTEN: str(written_by(notebook.name, this))}

    class ThisInterpreter(AsyncKernelManager):
        """Starts this Python on this package and project, whatever kernels are installed."""

        @default("kernel_spec_manager")
        def _no_installed_kernels(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])

        async def start_kernel(self, **options: Any) -> None:
            if kernels:
                kernels.check()
            await super().start_kernel(**options | own)
            if kernels:
                kernels.started(notebook.name, self.provisioner.pid)

    return ThisInterpreter


def _show_exit(cell: Any, cell_index: int, execute_reply: Any) -> None:
    """Make `sys.exit(0)`, which papermill takes for success, an error like any other."""
    for output in cell.outputs:
        if output.get("ename") == "SystemExit":
            output.evalue = f"sys.exit({output.evalue}) in a notebook: what follows was skipped"
            output.traceback = [f"SystemExit: {output.evalue}"]


def _note(copy: Path, index: int | None, trace: str) -> None:
    """Show in the executed copy what papermill leaves out of it: the death of the kernel."""
    import nbformat

    if index is not None:
        executed = nbformat.read(copy, as_version=4)
        name, _, message = trace.partition(": ")
        error = nbformat.v4.new_output("error", ename=name, evalue=message, traceback=[trace])
        executed.cells[index].outputs.append(error)
        nbformat.write(executed, copy)
