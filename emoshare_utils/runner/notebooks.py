"""The numbered notebooks and the parameters they declare."""

import ast
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoshare_utils.errors import UserError
from emoshare_utils.paths import home, shown

QUICKSTART = "00"  # stands apart: it runs where it is named, and no other reads what it makes

LAST_OF_PAPER = "05"  # the studies follow: each reads what the paper's made, none another's files


class WorkbookError(UserError, ValueError):
    """A run that cannot start; the message names the value and what to do."""


class NotebookFailed(RuntimeError):
    """A notebook that stopped; the message shows the error and names the executed copy.

    `cause` is the error alone.
    """

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(message)
        self.cause = cause

    def beside(self, others: Iterable[str]) -> "NotebookFailed":
        """This failure, of one study, where others ran to their end or failed too."""
        failed = ", ".join(others)
        rest = f"These failed too: {failed}; the" if failed else "The"
        return NotebookFailed(f"{self}\n{rest} other studies have run.", self.cause)


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

    @property
    def is_quickstart(self) -> bool:
        """Whether it is no part of a run that names no notebooks."""
        return self.name.startswith(QUICKSTART)

    @property
    def is_study(self) -> bool:
        """Whether it asks what the paper leaves open."""
        return self.name[:2] > LAST_OF_PAPER


def read_notebooks() -> list[Notebook]:
    """Read the notebooks `notebooks/NN_*.ipynb`, in order.

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


def find(asked: Iterable[str | int], notebooks: list[Notebook], source: str) -> list[Notebook]:
    """Choose notebooks, in order, each by its number or the start of its name.

    "all" are those from 01 on.

    Raises WorkbookError, which begins with `source`, where there is no such notebook.
    """
    found = []
    for name in asked:
        start = str(name).zfill(2)
        matching = [
            notebook
            for notebook in notebooks
            if notebook.name.startswith(start) or (name == "all" and not notebook.is_quickstart)
        ]
        if not matching:
            names = ", ".join(notebook.name for notebook in notebooks)
            raise WorkbookError(f"{source} {name}: expected the number or name of one of {names}")
        found += matching
    return [notebook for notebook in notebooks if notebook in found]


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
