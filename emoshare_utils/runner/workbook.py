"""Runs the numbered notebooks that are out of date, each with its parameters."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from emoshare_utils.files import locked, writing
from emoshare_utils.runner.execute import NotebookFailed, execute
from emoshare_utils.runner.notebooks import Notebook, WorkbookError, find, read_notebooks
from emoshare_utils.runner.profiles import read_profile
from emoshare_utils.runner.screen import Step, say, summarise
from emoshare_utils.runner.stamps import Stamps


def run(
    profile: str,
    overrides: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    start: str | None = None,
    studies: bool = False,
    force: bool = False,
) -> list[Step]:
    """Run the notebooks that are not up to date, in order.

    Args:
        profile: a name in `profiles/` or the path of a .yaml file.
        overrides: laid over its values.
        only: these notebooks alone, each by its number or the start of its name.
        start: leave out the notebooks before this one.
        studies: run the studies, too.
        force: also run what is up to date.

    Raises:
        WorkbookError: before anything runs, for an unknown profile, parameter or notebook, or a
            run's name that names no folder.
        FolderError: another process runs the same, or nothing can be written.
        NotebookFailed: the first notebook that fails.
    """
    notebooks = read_notebooks()
    read = read_profile(profile, overrides or {}, notebooks)
    chosen = read.chosen(notebooks, studies)
    if only:
        chosen = find(only, notebooks, "--only")
    elif start is not None:
        chosen = _from(start, chosen, notebooks, named=bool(read.notebooks))
    this = read.run
    this.notebooks.mkdir(parents=True, exist_ok=True)
    steps, pending, makers = [], list(chosen), set()
    with locked(this.folder, advice=", or give this one another name with --set run=…"):
        stamps = Stamps(this, read.extensions)
        while pending:
            notebook, *pending = pending
            begun = time.monotonic()
            given = read.given(notebook)
            inputs = stamps.inputs(notebook.name, notebook.cells, given)
            reason = "forced" if force else stamps.outdated(notebook.name, inputs)
            say(f"{notebook.name}  {reason or 'up to date'}")
            try:
                if reason:
                    with writing(this.notebooks), stamps.stamping(notebook.name, inputs):
                        execute(notebook, given, this, read.extensions)
            except NotebookFailed as failed:
                maker = _maker(failed, notebook, notebooks)
                if maker is None or maker.name in makers:
                    raise
                stamps.forget(maker.name)
                if maker.name not in [n.name for n in chosen]:
                    raise
                makers.add(maker.name)
                say(f"{notebook.name}  needs {maker.name} again: {failed.cause}")
                pending = [maker, notebook, *pending]
            else:
                steps.append(Step(notebook.name, bool(reason), time.monotonic() - begun))
    summarise(steps, this.figures)
    return steps


def _maker(
    failed: NotebookFailed, notebook: Notebook, notebooks: list[Notebook]
) -> Notebook | None:
    """The earlier notebook that the error says to run again, as for a damaged feature shard."""
    named = [n for n in notebooks if n.name < notebook.name and n.path.name in failed.cause]
    return named[0] if named else None


def _from(
    start: str, chosen: list[Notebook], notebooks: list[Notebook], named: bool
) -> list[Notebook]:
    """The chosen notebooks from `start` on; `named`: the profile names them."""
    first, *_ = find([start], notebooks, "--from")
    later = [notebook for notebook in chosen if notebook.name >= first.name]
    if not later:
        advice = "those are all that the profile names; " * named + "add --studies for a study"
        names = ", ".join(notebook.name for notebook in chosen)
        raise WorkbookError(f"--from {start} leaves none of {names}: {advice}")
    return later
