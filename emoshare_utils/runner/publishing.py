"""`publish PROFILE`: a finished run becomes the record that the repository shows."""

from collections.abc import Mapping
from typing import Any

from emoshare_utils.files import atomic
from emoshare_utils.paths import PAPER, Run, shown
from emoshare_utils.runner.executed import read_executed
from emoshare_utils.runner.finished import command, finished
from emoshare_utils.runner.notebooks import WorkbookError
from emoshare_utils.runner.pages import write_pages
from emoshare_utils.runner.screen import say
from emoshare_utils.runner.stamps import files_below


def publish(profile: str, overrides: Mapping[str, Any] | None = None) -> None:
    """Renew `figures/published/<run>/` by what the run has drawn, `docs/notebooks/<run>/` by it.

    What is the same for every run is renewed too, in `figures/published/paper/`.

    Raises WorkbookError where the run has drawn nothing, and as `finished`.
    """
    with finished(profile, overrides) as (this, notebooks):
        cells = {notebook.name: read_executed(notebook, this) for notebook in notebooks}
        _copy_figures(this)
        _copy(PAPER)
        write_pages(command("publish", profile, overrides), this, cells)


def _copy_figures(this: Run) -> None:
    drawn = {path.relative_to(this.figures) for path in files_below(this.figures)}
    if not drawn:
        raise WorkbookError(f"run {this.name!r} has drawn nothing into {shown(this.figures)}/")
    for path in files_below(this.published):
        if path.relative_to(this.published) not in drawn:
            path.unlink()
            say(f"removed {shown(path)}")
    _copy(this)


def _copy(this: Run) -> None:
    drawn = list(files_below(this.figures))
    for path in drawn:
        place = this.published / path.relative_to(this.figures)
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic(place) as file:
            file.write(path.read_bytes())
    if drawn:
        say(f"{len(drawn)} files in {shown(this.published)}/")
