"""Runs the numbered notebooks that are out of date, each with its parameters."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from emoshare_utils.files import locked, writing
from emoshare_utils.runner import several
from emoshare_utils.runner.execute import execute
from emoshare_utils.runner.notebooks import (
    Notebook,
    NotebookFailed,
    WorkbookError,
    find,
    read_notebooks,
)
from emoshare_utils.runner.profiles import Profile, read_profile
from emoshare_utils.runner.screen import Step, say, summarise
from emoshare_utils.runner.several import Kernels
from emoshare_utils.runner.stamps import Stamps


def run(
    profile: str,
    overrides: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    start: str | None = None,
    studies: bool = False,
    force: bool = False,
    at_once: int | None = None,
) -> list[Step]:
    """Run the notebooks that are not up to date: the paper's in order, then the studies.

    Args:
        profile: a name in `profiles/` or the path of a .yaml file.
        overrides: laid over its values.
        only: these notebooks alone, each by its number or the start of its name.
        start: leave out the notebooks before this one.
        studies: run the studies, too.
        force: also run what is up to date.
        at_once: how many studies run at the same time, each on its share of the cores; None: two,
            or one after the other on a GPU, a cluster or a single core.

    Raises:
        WorkbookError: before anything runs, for an unknown profile, parameter or notebook, or a
            run's name that names no folder.
        FolderError: another process runs the same, or nothing can be written.
        NotebookFailed: a notebook of the paper's that fails, at once; a study that fails, when
            the others have run.
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
    with locked(this.folder, advice=", or give this one another name with --set run=…"):
        running = _Running(read, notebooks, chosen, force)
        running.in_turn([notebook for notebook in chosen if not notebook.is_study])
        running.studies([notebook for notebook in chosen if notebook.is_study], at_once)
    steps = sorted(running.steps, key=lambda step: step.notebook)
    summarise(steps, this.figures)
    return steps


class _Running:
    """A run that is under way."""

    def __init__(
        self, profile: Profile, notebooks: list[Notebook], chosen: list[Notebook], force: bool
    ) -> None:
        self.profile, self.notebooks, self.chosen = profile, notebooks, chosen
        self.force = force
        self.stamps = Stamps(profile.run, profile.extensions)
        self.steps: list[Step] = []
        self.makers: set[str] = set()  # that ran again for what they had made

    def in_turn(self, pending: Sequence[Notebook]) -> None:
        """Run what is not up to date, in order; raises NotebookFailed, the first one."""
        while pending:
            notebook, *pending = pending
            try:
                self.bring(notebook)
            except NotebookFailed as failed:
                if (maker := self._maker(failed, notebook)) is None:
                    raise
                pending = [maker, notebook, *pending]

    def studies(self, studies: Sequence[Notebook], n: int | None) -> None:
        """Run what is not up to date, `n` at the same time; one that fails stops no other.

        Raises NotebookFailed, of the first in order; its message names the others.
        """
        due = [study for study in studies if self._why(study)[0]]
        for study in studies:
            if study not in due:
                self.bring(study)
        n = n or (several.how_many(self.profile.parameters) if len(due) > 1 else 1)
        failed: dict[str, NotebookFailed] = {}
        with self.stamps.listing([study.name for study in due]):
            # the last of ours take longest: side by side they begin, so that all cores end together
            for study, outcome in several.run(self.bring, due if n < 2 else due[::-1], n):
                if isinstance(outcome, NotebookFailed):
                    failed[study.name] = outcome
                    go_on = ": the other studies go on" if len(due) > 1 else ""
                    say(f"{study.name}  failed ({outcome.cause}){go_on}")
        for study in due:
            if study.name in failed and (maker := self._maker(failed[study.name], study)):
                self.in_turn([maker, study])
                del failed[study.name]
        if failed:
            first, *others = sorted(failed)
            raise failed[first].beside(others) if len(due) > 1 else failed[first]

    def bring(self, notebook: Notebook, kernels: Kernels | None = None) -> None:
        """Run the notebook unless it is up to date; raises NotebookFailed."""
        begun = time.monotonic()
        reason, inputs = self._why(notebook)
        say(f"{notebook.name}  {reason or 'up to date'}")
        if reason:
            this, given = self.profile.run, self.profile.given(notebook)
            with writing(this.notebooks), self.stamps.stamping(notebook.name, inputs):
                execute(notebook, given, this, self.profile.extensions, kernels)
        self.steps.append(Step(notebook.name, bool(reason), time.monotonic() - begun))

    def _why(self, notebook: Notebook) -> tuple[str, dict[str, Any]]:
        """Why it has to run, "" if it is up to date; and its inputs."""
        given = self.profile.given(notebook)
        inputs = self.stamps.inputs(notebook.name, notebook.cells, given)
        reason = "forced" if self.force else self.stamps.outdated(notebook.name, inputs)
        return reason, inputs

    def _maker(self, failed: NotebookFailed, notebook: Notebook) -> Notebook | None:
        """The earlier notebook that the error says to run again, as for a damaged shard of
        features, if it is one of this run and has not been: from now on it has to run."""
        named = [
            n for n in self.notebooks if n.path.name in failed.cause and n.name < notebook.name
        ]
        if not named or named[0].name in self.makers:
            return None
        maker = named[0]
        self.stamps.forget(maker.name)
        if maker not in self.chosen:
            return None
        self.makers.add(maker.name)
        say(f"{notebook.name}  needs {maker.name} again: {failed.cause}")
        return maker


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
