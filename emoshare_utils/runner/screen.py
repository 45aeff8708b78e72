"""What a run shows: which cell is running, what it prints, and in the end what there is."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoshare_utils.paths import shown


@dataclass(frozen=True)
class Step:
    """What became of one notebook: `ran`, or else up to date, and the seconds it took."""

    notebook: str
    ran: bool
    seconds: float


class Screen:
    """Says in plain lines which cell of a notebook runs and what it prints.

    papermill calls `open`, `start` and `finish`, and writes to it as to a file.

    Args:
        name: the notebook's.
        margin: what stands before each line that a cell prints.
        check: called before each cell; what it raises ends the notebook.
    """

    def __init__(
        self, name: str, margin: str = "    ", check: Callable[[], None] | None = None
    ) -> None:
        self.name, self.margin, self.check = name, margin, check
        self.labels: dict[int, str] = {}
        self.index: int | None = None
        self.unended = ""

    @property
    def where(self) -> str:
        """Such as "cell 7/15", which the executed copy shows as In [7]."""
        if self.index is None:
            return "its start"
        return f"cell {list(self.labels).index(self.index) + 1}/{len(self.labels)}"

    def open(self, notebook: Any) -> None:
        """Label each code cell by the heading above it."""
        heading = ""
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type == "markdown":
                lines = cell.source.splitlines()
                heading = next((line.strip("# ") for line in lines if line[:1] == "#"), heading)
            elif cell.cell_type == "code" and cell.source.strip():
                self.labels[index] = heading

    def start(self, cell: Any, cell_index: int) -> None:
        """A code cell begins."""
        if self.check:
            self.check()
        self.index = cell_index
        say(f"{self.name}  {self.where}  {self.labels[cell_index]}")

    def write(self, text: str) -> None:
        """Pass on whole lines; of a line that redraws itself, its last state."""
        *lines, self.unended = (self.unended + text).split("\n")
        for line in lines:
            say(self.margin + plain(line).rstrip().split("\r")[-1])

    def flush(self) -> None:
        """Whole lines have been passed on already."""

    def finish(self, **_: Any) -> None:
        """A cell has ended, perhaps within a line."""
        if self.unended:
            self.write("\n")


def plain(text: str) -> str:
    """Without the codes that colour a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def say(text: str) -> None:
    """Write one line, now and whole, whichever thread writes another."""
    print(f"{text}\n", end="", flush=True)


def summarise(steps: Iterable[Step], figures: Path) -> None:
    """Say what became of each notebook and what lies in `figures`."""
    say("")
    for step in steps:
        say(f"{step.notebook}  " + (f"ran in {_spent(step.seconds)}" if step.ran else "up to date"))
    endings = defaultdict(list)
    for path in sorted(figures.glob("*.*")):
        endings[path.stem].append(path.suffix[1:])
    say(f"\n{shown(figures)}/")
    for name, found in endings.items():
        say(f"  {name}  {' '.join(found)}")


def _spent(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
