"""Runs the numbered notebooks with papermill, each with its parameters, if it is out of date."""

import ast
import difflib
import fcntl
import json
import logging
import os
import re
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from emoshare_utils.ledger import Ledger
from emoshare_utils.paths import Run, home, shown
from emoshare_utils.screen import Screen, Step, plain, say, summarise

ERROR_LINES = 15


class WorkbookError(ValueError):
    """A run that cannot start; the message names the value and what to do."""


class NotebookFailed(RuntimeError):
    """A notebook that stopped; the message shows the error and names the executed copy."""


@dataclass(frozen=True)
class Notebook:
    """A numbered notebook: its code cells and the parameters it declares, with their defaults."""

    path: Path
    cells: tuple[str, ...]
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Such as "03_training"."""
        return self.path.stem


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


def read_notebooks() -> list[Notebook]:
    """The notebooks `notebooks/NN_*.ipynb`, in order.

    Raises WorkbookError where there is none, where one cannot be read, and where a parameters
    cell computes: papermill sets its values below that cell, so a derived one would be stale.
    """
    folder = home() / "notebooks"
    found = [_read_notebook(path) for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]
    if not found:
        raise WorkbookError(
            f"{folder} holds no numbered notebook such as 01_data_preparation.ipynb"
        )
    return found


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`name=value` strings as a dict, the values read as YAML; WorkbookError if one is not."""
    values = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise WorkbookError(f"--set {setting}: expected name=value, such as --set run=mine")
        values[name] = _parse_yaml(text, f"--set {setting}")
    return values


def read_parameters(
    profile: str, overrides: Mapping[str, Any], notebooks: Iterable[Notebook]
) -> dict[str, Any]:
    """The profile's values with `overrides` in their place; one value for a list is a list of one.

    Raises WorkbookError where the profile is unknown or lacks `run` or `root` (which a simulated
    corpus can do without), and where either has a name that no notebook declares, or a value of
    another kind than its default.
    """
    path = _profile_path(profile)
    values = _parse_yaml(path.read_text("utf-8"), shown(path))
    if not isinstance(values, dict):
        raise WorkbookError(f"{shown(path)}: expected lines of `name: value`")
    for name in ("run", "root"):
        if name not in values and (name, values.get("corpus")) != ("root", "simulated"):
            raise WorkbookError(f"{shown(path)} lacks {name}, which every profile has")
    known = {name: value for notebook in notebooks for name, value in notebook.parameters.items()}
    fitted = {}
    for source, given in ((shown(path), values), ("--set", overrides)):
        for name, value in given.items():
            if name not in known:
                hint = _nearest(str(name), sorted(known))
                raise WorkbookError(f"{source}: no notebook has a parameter {name!r}; {hint}")
            fitted[name] = _fit(name, value, known[name], source)
    return fitted


def _fit(name: str, value: Any, default: Any, source: str) -> Any:
    """The value, in a list where the default is one; a word for a number or a truth is refused."""
    if isinstance(default, list) and not isinstance(value, list | None):
        return [value]
    if isinstance(default, bool):
        expected, fits = "true or false", isinstance(value, bool | None)
    else:
        expected = "a number"
        fits = not isinstance(default, int | float) or not isinstance(value, str | bool)
    if not fits:
        raise WorkbookError(
            f"{source}: {name} = {value!r}: expected {expected}, as its default {default!r}"
        )
    return value


def _profile_path(profile: str) -> Path:
    path = Path(profile).expanduser()
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path.resolve()
    shelf = {path.stem: path for path in (home() / "profiles").glob("*.yaml")}
    if profile not in shelf:
        hint = _nearest(profile, sorted(shelf))
        raise WorkbookError(f"no profile {profile!r} in {home() / 'profiles'}; {hint}")
    return shelf[profile]


def _choose(only: str, notebooks: list[Notebook]) -> Notebook:
    for notebook in notebooks:
        if notebook.name.startswith(only.zfill(2)):
            return notebook
    names = ", ".join(notebook.name for notebook in notebooks)
    raise WorkbookError(f"--only {only}: expected the number or name of one of {names}")


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}"


class _Yaml(yaml.SafeLoader):
    """YAML as of version 1.2: 1e-4 is a number, and `no` is Norwegian rather than False."""

    yaml_implicit_resolvers: dict = {}


for _kind, _pattern in {
    "null": r"~|null|",
    "bool": r"[Tt]rue|[Ff]alse",
    "int": r"[-+]?(0|[1-9][0-9]*)",
    "float": r"(?=.*[.eE])[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?",
}.items():
    _Yaml.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}", re.compile(f"(?:{_pattern})$"), [None]
    )


def _parse_yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, Loader=_Yaml)
    except yaml.YAMLError as error:
        raise WorkbookError(f"{source} is not YAML: {error}") from None


def _read_notebook(path: Path) -> Notebook:
    try:
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        sources = tuple("".join(cell["source"]) for cell in code)
    except (ValueError, KeyError, TypeError) as error:
        raise WorkbookError(f"{shown(path)} is not a notebook (format 4): {error!r}") from None
    for cell, source in zip(code, sources):
        if "parameters" in cell["metadata"].get("tags", []):
            return Notebook(path, sources, _defaults(source, path))
    return Notebook(path, sources, {})


def _defaults(source: str, path: Path) -> dict[str, Any]:
    """The names and values a parameters cell assigns; WorkbookError where it does more."""
    defaults, line = {}, source
    try:
        for statement in ast.parse(source).body:
            line = ast.unparse(statement)
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id=name)])
                    | ast.AnnAssign(target=ast.Name(id=name))
                ):
                    defaults[name] = ast.literal_eval(statement.value)
                case _:
                    raise ValueError("no assignment")
    except (SyntaxError, ValueError):
        raise WorkbookError(
            f"{shown(path)}: `{line}` in the parameters cell would not follow the values a run "
            "sets: assign plain values there, and compute in the next cell"
        ) from None
    return defaults


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


def _execute(notebook: Notebook, given: Mapping[str, Any], this: Run) -> None:
    """Run one notebook into its executed copy, which shows the error if there is one."""
    # papermill and what it brings take seconds to import; an up-to-date run needs none of it
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    copy = this.notebooks / f"{notebook.name}.ipynb"
    screen = Screen(notebook.name)
    try:
        execute_notebook(
            _literal(notebook.path),
            _literal(copy),
            given,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            cwd=notebook.path.parent,
            start_timeout=120,
            stdout_file=screen,
            stderr_file=screen,
            kernel_manager_class=_kernel_manager(),
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            iopub_timeout=60,
            coalesce_streams=True,
            on_notebook_start=screen.open,
            on_cell_execute=screen.start,
            on_cell_executed=screen.finish,
            on_cell_error=_show_exit,
        )
        return
    except PapermillExecutionError as error:
        trace = plain("\n".join(error.traceback))
    except (RuntimeError, TimeoutError) as error:
        trace = f"{type(error).__name__}: the kernel died, often for want of memory ({error})"
        _note(copy, screen.index, trace)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f" in {notebook.name}, {screen.where}") from None
    screen.finish()
    lines = trace.strip().splitlines()[-ERROR_LINES:]
    raise NotebookFailed(
        f"\n{notebook.name} failed in {screen.where}:\n"
        + textwrap.indent("\n".join(lines), "    ")
        + f"\n\nThe executed copy shows it: {shown(copy)}\n"
        f"Once that is mended, the same command goes on with {notebook.name}."
    )


def _literal(path: Path) -> str:
    """A path that papermill, which formats it with the parameters, leaves as it is."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _kernel_manager() -> type:
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from traitlets import default

    package = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"EMOSHARE_HOME": str(home()), "PYTHONPATH": path}

    class ThisInterpreter(AsyncKernelManager):
        """Starts this Python on this package and project, whatever kernels are installed."""

        @default("kernel_spec_manager")
        def _no_installed_kernels(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])

        def start_kernel(self, **options: Any) -> Any:
            return super().start_kernel(**options | {"env": environment})

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
    from nbformat.v4 import new_output

    if index is not None:
        executed = nbformat.read(copy, as_version=4)
        name, _, message = trace.partition(": ")
        error = new_output("error", ename=name, evalue=message, traceback=[trace])
        executed.cells[index].outputs.append(error)
        nbformat.write(executed, copy)
