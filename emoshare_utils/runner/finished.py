"""A finished run: what may be published or handed on."""

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from emoshare_utils.files import locked
from emoshare_utils.paths import Run
from emoshare_utils.runner.notebooks import Notebook, WorkbookError, read_notebooks
from emoshare_utils.runner.profiles import Profile, read_profile
from emoshare_utils.runner.stamps import Stamps


@contextmanager
def finished(
    profile: str, overrides: Mapping[str, Any] | None = None
) -> Iterator[tuple[Run, list[Notebook]]]:
    """A profile's run and those of its notebooks that have run, while nobody else writes there.

    Raises:
        WorkbookError: one of its notebooks (those that `run` takes, and any study that has run) is
            not up to date; the message has the command that finishes it.
        FolderError: the run is being written.
    """
    notebooks = read_notebooks()
    read = read_profile(profile, overrides or {}, notebooks)
    this = read.run
    if not this.folder.is_dir():
        make = command("run", profile, overrides)
        raise WorkbookError(f"run {this.name!r} has drawn nothing yet: make it with `{make}`")
    with locked(this.folder):
        chosen = read.chosen(notebooks)
        done = [n for n in notebooks if (this.notebooks / f"{n.name}.ipynb").is_file()]
        for notebook in notebooks:
            reason = _outdated(notebook, read, this)
            if reason and notebook in chosen + done:
                more = () if notebook in chosen else ("--only", notebook.name[:2])
                finish = command("run", profile, overrides, *more)
                raise WorkbookError(
                    f"run {this.name!r} is not finished: {notebook.name} is not up to date "
                    f"({reason}). Finish it with `{finish}`"
                )
        yield this, done


def _outdated(notebook: Notebook, read: Profile, this: Run) -> str:
    stamps = Stamps(this, read.extensions)
    inputs = stamps.inputs(notebook.name, notebook.cells, read.given(notebook))
    return stamps.outdated(notebook.name, inputs)


def command(verb: str, profile: str, overrides: Mapping[str, Any] | None, *more: str) -> str:
    """The command line that does this (`run`, `publish`) with a profile and these settings."""
    values = {n: v if isinstance(v, str) else json.dumps(v) for n, v in (overrides or {}).items()}
    settings = [f"{name}={value}" for name, value in values.items()]
    words = ["python", "-m", "emoshare_utils", verb, profile, *more]
    return shlex.join(words + (["--set", *settings] if settings else []))
