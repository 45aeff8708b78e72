"""`lab PROFILE`: JupyterLab on working copies of the notebooks, the profile's parameters filled in.

The copies lie in `lab/<run>/`, which git and the linter leave alone, so that a notebook can be run
and changed without touching the one in `notebooks/`.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat

from emoshare_utils.files import atomic
from emoshare_utils.paths import home, shown
from emoshare_utils.runner.execute import kernel_environment
from emoshare_utils.runner.executed import cells_checksum
from emoshare_utils.runner.notebooks import Notebook, read_notebooks
from emoshare_utils.runner.profiles import read_profile
from emoshare_utils.runner.screen import say

AS_MADE = "emoshare"  # the entry of a copy's metadata: the checksum of its cells as they were made


def lab(
    profile: str,
    overrides: Mapping[str, Any] | None = None,
    jupyter: Sequence[str] = (),
    show: bool = True,
) -> None:
    """Write a copy of each notebook into `lab/<run>/`, and become JupyterLab there.

    Every notebook gets the parameters of the profile that it declares, in a cell below its own. A
    copy stays as it is until its notebook or the profile changes. Then it is made again; one whose
    prose or code was edited is kept beside it, under a name with the date.

    Args:
        profile, overrides: as `workbook.run` takes them.
        jupyter: arguments for JupyterLab.
        show: False writes the copies alone.

    Raises:
        WorkbookError: for an unknown profile or parameter, or a run's name that names no folder.
        FolderError: the copies cannot be written.
    """
    notebooks = read_notebooks()
    read = read_profile(profile, overrides or {}, notebooks)
    folder = read.run.lab
    folder.mkdir(parents=True, exist_ok=True)
    for notebook in notebooks:
        copy = folder / notebook.path.name
        if aside := _renew(copy, _filled(notebook, read.given(notebook), profile)):
            say(
                f"{shown(notebook.path)} or the profile has changed since you edited its copy: "
                f"yours is now {shown(aside)}"
            )
    say(f"{shown(folder)}/ has {len(notebooks)} notebooks with the parameters of {profile}")
    if show:
        environment = kernel_environment(read.extensions)
        os.execve(sys.executable, _command(folder, jupyter), environment)


def _command(folder: Path, jupyter: Sequence[str]) -> list[str]:
    """JupyterLab with the project as its root, which shows runs/ and figures/ too."""
    place = quote(folder.relative_to(home()).as_posix())
    root = [f"--ServerApp.root_dir={home()}", f"--LabApp.default_url=/lab/tree/{place}"]
    return [sys.executable, "-m", "jupyterlab", *root, *jupyter]


def _filled(notebook: Notebook, given: Mapping[str, Any], profile: str) -> Any:
    """The notebook with papermill's cell of the given parameters."""
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    filled = load_notebook_node(str(notebook.path))
    if given:
        how = {"comment": f"From the profile {profile}", "kernel_name": "python3"}
        filled = parameterize_notebook(filled, dict(given), language="python", **how)
    del filled.metadata["papermill"]
    filled.metadata[AS_MADE] = cells_checksum(filled.cells)
    return filled


def _renew(copy: Path, filled: Any) -> Path | None:
    """Make a copy again if what it is made from has changed; where an edited one is kept, if so."""
    as_made, now = _checksums(copy)
    if as_made == filled.metadata[AS_MADE]:
        return None
    aside = None
    if now not in (as_made, filled.metadata[AS_MADE]):
        aside = _free(copy.with_stem(f"{copy.stem}_{date.today()}"))
        copy.rename(aside)
    with atomic(copy) as file:
        file.write(nbformat.writes(filled).encode())
    return aside


def _checksums(copy: Path) -> tuple[str | None, str | None]:
    """Of a copy's cells as they were made and as they are now; None where there is none."""
    if not copy.exists():
        return None, None
    text = copy.read_text("utf-8", errors="replace")
    try:
        found = nbformat.reads(text, as_version=4)
    except Exception:  # whatever nbformat says: no notebook any more, but somebody's work
        return None, "no notebook"
    return found.metadata.get(AS_MADE), cells_checksum(found.cells)


def _free(path: Path) -> Path:
    """The path, or the first one numbered from 2 on that is not there."""
    number = 1
    free = path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}_{number}")
    return free
