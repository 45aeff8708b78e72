"""Runs the numbered notebooks with papermill: only what is out of date, by content."""

import ast
import difflib
import fcntl
import hashlib
import json
import logging
import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from emoshare_utils.paths import Run, home, resolve, shown

REQUIRED = ("run", "root")
LIBRARIES = (
    "espeakng-loader",
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "seaborn",
    "soundfile",
    "torch",
    "torchaudio",
    "transformers",
)
RUNNER = ("__main__.py", "workbook.py")  # part of the package, but no number depends on it
LABELS = (".csv", ".json", ".parquet", ".tsv", ".txt", ".yaml", ".yml")
SIZED = (".npy", ".wav", ".flac")  # compared by size: a store keeps its own checksums
PICTURES = (".pdf", ".png")  # no notebook reads another's pictures
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


@dataclass(frozen=True)
class Step:
    """What became of one notebook: `ran`, or else up to date, and the seconds it took."""

    notebook: str
    ran: bool
    seconds: float


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
    chosen = [_choose(only, notebooks)] if only is not None else notebooks
    try:
        this = Run(parameters["run"])
    except ValueError as error:
        raise WorkbookError(str(error)) from None

    steps = []
    with _locked(this):
        ledger = _Ledger(this, [notebook.name for notebook in notebooks], parameters["root"])
        for notebook in chosen:
            start = time.monotonic()
            given = {name: parameters[name] for name in notebook.parameters if name in parameters}
            inputs = ledger.inputs(notebook, given)
            reason = "forced" if force else ledger.outdated(notebook.name, inputs)
            _say(f"{notebook.name}  {reason or 'up to date'}")
            if reason:
                with ledger.recording(notebook.name, inputs):
                    _execute(notebook, given, this)
            steps.append(Step(notebook.name, bool(reason), time.monotonic() - start))
    _summarise(this, steps)
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
        if not equals or not name.isidentifier():
            raise WorkbookError(f"--set {setting}: expected name=value, such as --set run=mine")
        values[name] = _parse_yaml(text, f"--set {setting}")
    return values


def read_parameters(
    profile: str, overrides: Mapping[str, Any], notebooks: Iterable[Notebook]
) -> dict[str, Any]:
    """The profile's values with `overrides` in their place; one value for a list is a list of one.

    Raises WorkbookError where the profile is unknown or lacks `run` or `root`, and where either
    has a name that no notebook declares, or a value of another kind than its default.
    """
    path = _profile_path(profile)
    values = _parse_yaml(path.read_text("utf-8"), shown(path))
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise WorkbookError(f"{shown(path)}: expected lines of `name: value`")
    if missing := [name for name in REQUIRED if name not in values]:
        raise WorkbookError(f"{shown(path)} lacks {' and '.join(missing)}: every profile has both")
    known = sorted({name for notebook in notebooks for name in notebook.parameters})
    fitted = {}
    for source, given in ((shown(path), values), ("--set", overrides)):
        for name, value in given.items():
            if name not in known:
                hint = _nearest(name, known)
                raise WorkbookError(f"{source}: no notebook has a parameter {name!r}; {hint}")
            for notebook in notebooks:
                value = _fit(name, value, notebook.parameters.get(name), source)
            fitted[name] = value
    return fitted


def _fit(name: str, value: Any, default: Any, source: str) -> Any:
    """The value, in a list where the default is one; a word for a number or a truth is refused."""
    if isinstance(default, list) and not isinstance(value, list) and value is not None:
        return [value]
    expected = ""
    if isinstance(default, bool):
        expected = "" if isinstance(value, bool | None) else "true or false"
    elif isinstance(default, int | float) and isinstance(value, str | bool):
        expected = "a number"
    if expected:
        raise WorkbookError(
            f"{source}: {name} = {value!r}: expected {expected}, as its default {default!r}"
        )
    return value


def _profile_path(profile: str) -> Path:
    path = Path(profile).expanduser()
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path.resolve()
    shelf = {path.stem: path for path in sorted((home() / "profiles").glob("*.yaml"))}
    if profile not in shelf:
        hint = _nearest(profile, list(shelf)) if shelf else "the folder is empty"
        raise WorkbookError(f"no profile {profile!r} in {home() / 'profiles'}; {hint}")
    return shelf[profile]


def _choose(only: str, notebooks: list[Notebook]) -> Notebook:
    if only.isdecimal():
        fits = [notebook for notebook in notebooks if int(notebook.name[:2]) == int(only)]
    else:
        fits = [notebook for notebook in notebooks if notebook.name.startswith(only)]
        fits = [notebook for notebook in fits if notebook.name == only] or fits
    if len(fits) != 1:
        names = ", ".join(notebook.name for notebook in notebooks)
        raise WorkbookError(f"--only {only}: expected the number or name of one of {names}")
    return fits[0]


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


class _Yaml(yaml.SafeLoader):
    """YAML as of version 1.2: 1e-4 is a number, and `no` is Norwegian rather than False."""

    yaml_implicit_resolvers: dict = {}


for _tag, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false|True|False", list("tfTF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"(?=.*[.eE])[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
):
    _Yaml.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )


def _parse_yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, Loader=_Yaml)
    except yaml.YAMLError as error:
        raise WorkbookError(f"{source} is not YAML: {error}") from None


def _read_notebook(path: Path) -> Notebook:
    try:
        code = [
            ("".join(cell["source"]), cell["metadata"].get("tags", []))
            for cell in json.loads(path.read_text("utf-8"))["cells"]
            if cell["cell_type"] == "code"
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkbookError(f"{shown(path)} is not a notebook (format 4): {error!r}") from None
    declared = next((source for source, tags in code if "parameters" in tags), "")
    return Notebook(path, tuple(source for source, _ in code), _defaults(declared, path))


def _defaults(source: str, path: Path) -> dict[str, Any]:
    """The names and values a parameters cell assigns; WorkbookError where it does more."""
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise WorkbookError(f"{shown(path)}, parameters cell: {error}") from None
    defaults = {}
    for statement in statements:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                try:
                    defaults[name] = ast.literal_eval(value)
                    continue
                except ValueError:
                    pass
            case ast.Expr(value=ast.Constant()):
                continue
        raise WorkbookError(
            f"{shown(path)}: `{ast.unparse(statement)}` in the parameters cell would not follow "
            "the values a run sets: assign plain values there, and compute in the next cell"
        )
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


class _Ledger:
    """What each notebook of a run was given and made, as JSON beside its executed copy.

    A notebook is up to date if its inputs are those of its last success and everything it made is
    still there with the same content.
    """

    def __init__(self, this: Run, names: list[str], root: Any) -> None:
        self.run = this
        self.records = {name: self._read(name) for name in names}
        self.shared = {
            "package": _digest(_package_sources()),
            "libraries": {name: _version(name) for name in LIBRARIES},
            "corpus": _corpus(root, this),
        }

    def inputs(self, notebook: Notebook, given: Mapping[str, Any]) -> dict[str, Any]:
        """All that decides what the notebook makes."""
        earlier = {
            path: _checksum(home() / path)
            for name, record in self.records.items()
            if name < notebook.name
            for path in record["outputs"]
            if not path.endswith(PICTURES)
        }
        inputs = {
            "code": _digest([notebook.cells]),
            "parameters": dict(given),
            **self.shared,
            "earlier": earlier,
        }
        return json.loads(json.dumps(inputs, default=str))

    def outdated(self, name: str, inputs: Mapping[str, Any]) -> str:
        """Why the notebook has to run, or "" where it is up to date."""
        then, outputs = self.records[name]["inputs"], self.records[name]["outputs"]
        if then is None:
            return "has not run to its end yet"
        now = {**inputs, "earlier": _without(inputs["earlier"], outputs)}
        for part, words in (
            ("code", "its code changed"),
            ("package", "emoshare_utils changed"),
            ("corpus", "the corpus folder changed"),
            ("parameters", "parameters changed"),
            ("libraries", "libraries changed"),
            ("earlier", "what it starts from changed"),
        ):
            if now[part] != then.get(part):
                return f"{words}{_differing(now[part], then.get(part))}"
        copy = shown(self.run.notebooks / f"{name}.ipynb")
        for path in (copy, *outputs):
            if not (home() / path).is_file():
                return f"{path} is not there"
            if path != copy and _checksum(home() / path) != outputs[path]:
                return f"{path} changed"
        return ""

    @contextmanager
    def recording(self, name: str, inputs: Mapping[str, Any]) -> Iterator[None]:
        """Attribute the files written inside the block to the notebook, and its success.

        What a notebook made in an earlier run or in a failed attempt stays attributed to it: it
        may find that part done, and leave it.
        """
        before, made = self._stats(), self.records[name]["outputs"]
        self._write(name, None, made)
        finished = False
        try:
            yield
            finished = True
        finally:
            after = self._stats()
            written = [path for path, stat in after.items() if before.get(path) != stat]
            outputs = {
                path: _checksum(home() / path)
                for path in sorted({*written, *(path for path in made if path in after)})
            }
            if finished:
                self._adopt({path: outputs[path] for path in written}, name)
                inputs = {**inputs, "earlier": _without(inputs["earlier"], outputs)}
            self._write(name, inputs if finished else None, outputs)

    def _adopt(self, written: Mapping[str, str], name: str) -> None:
        """A file that a later notebook completes is as its first maker is to find it."""
        for earlier, record in self.records.items():
            if earlier < name and (shared := record["outputs"].keys() & written.keys()):
                outputs = {**record["outputs"], **{path: written[path] for path in shared}}
                self._write(earlier, record["inputs"], outputs)

    def _stats(self) -> dict[str, tuple[int, int, int]]:
        stats = {}
        for folder in (self.run.folder, self.run.figures):
            for path in _files(folder, skip=(self.run.notebooks,)):
                about = path.stat()
                stats[shown(path)] = (about.st_size, about.st_mtime_ns, about.st_ino)
        return stats

    def _path(self, name: str) -> Path:
        return self.run.notebooks / f".{name}.json"

    def _read(self, name: str) -> dict[str, Any]:
        try:
            record = json.loads(self._path(name).read_text())
            return {"inputs": record["inputs"], "outputs": record["outputs"]}
        except (OSError, ValueError, KeyError):
            return {"inputs": None, "outputs": {}}

    def _write(self, name: str, inputs: Mapping[str, Any] | None, outputs: dict[str, str]) -> None:
        self.records[name] = {"inputs": inputs, "outputs": outputs}
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(self.records[name], indent=1) + "\n")
        draft.replace(path)


def _without(earlier: Mapping[str, Any], own: Iterable[str]) -> dict[str, Any]:
    own = set(own)
    return {path: checksum for path, checksum in earlier.items() if path not in own}


def _differing(now: Any, then: Any) -> str:
    if not isinstance(now, dict) or not isinstance(then, dict):
        return ""
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f": {', '.join(names[:3])}{more}"


def _files(folder: Path, skip: Iterable[Path] = ()) -> Iterator[Path]:
    """The files below a folder, links followed, hidden ones left out, in order."""
    skip, seen = {str(path) for path in skip}, set()
    for here, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen or here in skip:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and (path := Path(here, name)).is_file():
                yield path


def _checksum(path: Path) -> str | None:
    if not path.is_file():
        return None
    about = path.stat()
    if path.suffix in SIZED:
        return f"{about.st_size} bytes"
    return _content(path, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


@cache
def _content(path: Path, *_stat: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _digest(items: Iterable[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for item in items:
        digest.update(json.dumps(item).encode() + b"\n")
    return digest.hexdigest()


def _package_sources() -> Iterator[tuple[str, str | None]]:
    package = Path(__file__).parent
    for path in _files(package):
        if path.parent.name != "__pycache__" and path.name not in RUNNER:
            yield str(path.relative_to(package)), _checksum(path)


def _corpus(root: Any, this: Run) -> str | None:
    """Label files by content, audio by name and size; None where the run makes its own corpus."""
    if not root:
        return None
    folder = resolve(str(root))
    if folder.is_file():
        return _checksum(folder)
    if not folder.is_dir() or folder.is_relative_to(this.folder.resolve()):
        return None
    start = len(str(folder))
    return _digest(
        (
            str(path)[start:],
            _checksum(path) if path.suffix.lower() in LABELS else path.stat().st_size,
        )
        for path in _files(folder, skip=(home() / "runs", home() / "figures"))
    )


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _execute(notebook: Notebook, given: Mapping[str, Any], this: Run) -> None:
    """Run one notebook; its executed copy appears, whole, when it ends, well or not."""
    # papermill and what it brings take seconds to import; an up-to-date run needs none of it
    import nbformat
    from papermill.exceptions import PapermillExecutionError

    copy = this.notebooks / f"{notebook.name}.ipynb"
    running = copy.with_suffix(".running.ipynb")
    screen = _Screen(notebook.name)
    try:
        try:
            executed = _papermill(notebook.path, running, given, screen)
        except (RuntimeError, TimeoutError) as error:
            if screen.index is None:
                raise NotebookFailed(f"{notebook.name}: no kernel started: {error}") from None
            executed = nbformat.read(running, as_version=4)
            _blame(executed, screen.index, type(error).__name__, _why_dead(error), running)
        if (index := _first_not_run(executed)) is not None:
            screen.index = index
            _blame(executed, index, "NotRun", "this cell was passed over", running)
    except PapermillExecutionError as error:
        screen.finish()
        lines = _plain("\n".join(error.traceback)).strip().splitlines()[-ERROR_LINES:]
        raise NotebookFailed(
            f"\n{notebook.name} failed in {screen.where} after {_spent(screen.seconds)}:\n"
            + textwrap.indent("\n".join(lines), "    ")
            + f"\n\nThe executed copy shows it: {shown(copy)}\n"
            f"Once that is mended, the same command goes on with {notebook.name}."
        ) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f" in {notebook.name}, {screen.where}") from None
    finally:
        if running.exists():
            running.replace(copy)


def _papermill(path: Path, running: Path, given: Mapping[str, Any], screen: "_Screen") -> Any:
    import papermill

    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    return papermill.execute_notebook(
        _literal(path),
        _literal(running),
        given,
        kernel_name="python3",
        language="python",
        progress_bar=False,
        cwd=path.parent,
        start_timeout=120,
        stdout_file=screen.stdout,
        stderr_file=screen.stderr,
        kernel_manager_class=_kernel_manager(),
        extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        iopub_timeout=60,
        coalesce_streams=True,
        on_notebook_start=screen.open,
        on_cell_execute=screen.start,
        on_cell_executed=screen.finish,
        on_cell_error=_show_exit,
    )


def _blame(executed: Any, index: int, name: str, message: str, running: Path) -> None:
    """Show an error in a cell of the executed copy, and raise it, as papermill does its own."""
    from nbformat.v4 import new_output
    from papermill.execute import raise_for_execution_errors

    error = new_output("error", ename=name, evalue=message, traceback=[f"{name}: {message}"])
    executed.cells[index].outputs.append(error)
    raise_for_execution_errors(executed, str(running))


def _literal(path: Path) -> str:
    """A path that papermill, which formats it with the parameters, leaves as it is."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _kernel_manager() -> type:
    """Starts this interpreter, whatever kernels are installed, with this package."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from traitlets import default

    package = str(Path(__file__).resolve().parent.parent)
    earlier = os.environ.get("PYTHONPATH")
    environment = {
        **os.environ,
        "EMOSHARE_HOME": str(home()),
        "PYTHONPATH": f"{package}{os.pathsep}{earlier}" if earlier else package,
    }

    class ThisInterpreter(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _no_installed_kernels(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])

        def start_kernel(self, **options: Any) -> Any:
            return super().start_kernel(**{**options, "env": environment})

    return ThisInterpreter


def _show_exit(cell: Any, cell_index: int, execute_reply: Any) -> None:
    """Make `sys.exit(0)`, which papermill takes for success, an error like any other."""
    for output in cell.outputs:
        if output.get("ename") == "SystemExit":
            output.evalue = f"sys.exit({output.evalue}) in a notebook: what follows was skipped"
            output.traceback = [f"SystemExit: {output.evalue}"]


def _first_not_run(executed: Any) -> int | None:
    return next(
        (
            index
            for index, cell in enumerate(executed.cells)
            if cell.cell_type == "code" and cell.source.strip() and not cell.execution_count
        ),
        None,
    )


def _why_dead(error: Exception) -> str:
    from nbclient.exceptions import DeadKernelError

    if isinstance(error, DeadKernelError):
        return "the kernel died in this cell: killed, often for want of memory, or crashed"
    return str(error)


class _Relay:
    """The file papermill writes a cell's output to: passes whole lines on."""

    def __init__(self, pass_on: Callable[[str], None]) -> None:
        self.pass_on = pass_on
        self.partial = ""

    def write(self, text: str) -> None:
        """Of a line that redraws itself, only its last state is passed on."""
        *lines, self.partial = (self.partial + text).split("\n")
        for line in lines:
            self.pass_on(_plain(line).rstrip().split("\r")[-1])

    def flush(self) -> None:
        """Whole lines have been passed on already."""

    def finish(self) -> None:
        """Pass on a last line that was not ended."""
        if self.partial:
            self.write("\n")


class _Screen:
    """Says which cell runs and what it prints, in plain lines."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.labels: dict[int, str] = {}
        self.index: int | None = None
        self.began = time.monotonic()
        self.cell_began: float | None = None
        self.stdout, self.stderr = _Relay(self.relay), _Relay(self.relay)
        self.line_open = False

    @property
    def where(self) -> str:
        """Such as "cell 7/15", which the executed copy shows as In [7]."""
        if self.index is None:
            return "its start"
        return f"cell {list(self.labels).index(self.index) + 1}/{len(self.labels)}"

    @property
    def seconds(self) -> float:
        """Since the notebook began."""
        return time.monotonic() - self.began

    def open(self, notebook: Any) -> None:
        """The kernel is ready: label each code cell by the heading above it or its first line."""
        heading = ""
        for index, cell in enumerate(notebook.cells):
            lines = cell.source.strip().splitlines()
            if cell.cell_type == "markdown":
                heading = next((line for line in lines[::-1] if line.startswith("#")), heading)
            elif cell.cell_type == "code" and lines:
                label = (heading or lines[0]).strip("# ")
                self.labels[index] = textwrap.shorten(label, 60, placeholder=" …")
                heading = ""

    def start(self, cell: Any, cell_index: int) -> None:
        """A code cell begins."""
        self.index, self.cell_began = cell_index, time.monotonic()
        self.line_open = sys.stdout.isatty()
        line = f"{self.name}  {self.where}  {self.labels[cell_index]}"
        _say(line, end="" if self.line_open else "\n")

    def relay(self, line: str) -> None:
        """A line that the cell printed."""
        if self.line_open:
            _say("")
            self.line_open = False
        _say(f"    {line}")

    def finish(self, **_: Any) -> None:
        """The cell ended."""
        self.stdout.finish()
        self.stderr.finish()
        if self.cell_began is not None:
            took, self.cell_began = time.monotonic() - self.cell_began, None
            if self.line_open:
                _say(f"  {_spent(took)}")
            elif took >= 1:
                _say(f"    {_spent(took)}")
            self.line_open = False


def _summarise(this: Run, steps: list[Step]) -> None:
    width = max(len(step.notebook) for step in steps)
    _say("")
    for step in steps:
        state = f"ran in {_spent(step.seconds)}" if step.ran else "up to date"
        _say(f"{step.notebook:<{width}}  {state}")
    by_name: dict[str, list[str]] = {}
    for path in _files(this.figures):
        name = path.relative_to(this.figures)
        by_name.setdefault(str(name.with_suffix("")), []).append(name.suffix.lstrip("."))
    _say(f"\n{shown(this.figures)}/" + ("" if by_name else "  (nothing yet)"))
    for name, kinds in by_name.items():
        _say(f"  {name}  {' '.join(kinds)}")


def _spent(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def _say(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()
