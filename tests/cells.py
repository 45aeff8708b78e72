"""The cells of notebooks, run in this process: without a kernel, which imports everything again."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat


def code(path: Path) -> list[str]:
    """The code cells of a notebook, without IPython's magics."""
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    return [re.sub(r"^%.*$", "", cell.source, flags=re.M) for cell in cells]


def run_here(path: Path, given: Mapping[str, Any]) -> None:
    """Run a notebook's cells, its parameters replaced by those in `given`; print what it shows."""
    parameters, *cells = code(path)
    names: dict[str, Any] = {}
    exec(parameters, names)
    names.update({name: given[name] for name in given.keys() & names.keys()})
    for cell in cells:
        *before, last = ast.parse(cell).body
        exec(compile(ast.Module(before, []), path.name, "exec"), names)
        exec(compile(ast.Interactive([last]), path.name, "single"), names)
