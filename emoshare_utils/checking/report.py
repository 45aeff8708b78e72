"""What a check shows: rows of facts in 80 columns as they are found, then what is wrong."""

import textwrap
from dataclasses import dataclass, field

from emoshare_utils.runner.screen import say

WIDTH, NAMES = 80, 18  # columns, and those of a row's name


@dataclass
class Report:
    """Rows go to the screen at once; problems and notes are kept for the end.

    Attributes:
        problems: what would stop the run, each with its remedy.
        notes: what would not, but is worth a look.
    """

    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    def section(self, title: str) -> None:
        """A title above the rows that follow."""
        say(f"\n{title}")

    def row(self, name: str, text: str) -> None:
        """One fact under its name, wrapped."""
        indent = " " * (NAMES + 2)
        say(_wrapped(text, f"  {name:<{NAMES}}", indent))

    def line(self, text: str) -> None:
        """A line of a table as it is."""
        say(f"  {text}")

    def problem(self, what: str, remedy: str) -> None:
        """What would stop the run."""
        self.problems.append((what, remedy))

    def note(self, what: str, remedy: str) -> None:
        """What would not stop the run."""
        self.notes.append((what, remedy))

    def close(self) -> bool:
        """Show problems and notes; whether there is no problem."""
        for title, found in (("These stop the run", self.problems), ("Worth a look", self.notes)):
            if found:
                say(f"\n{title}")
            for number, (what, remedy) in enumerate(found, 1):
                say(_wrapped(what, f"  {number}. ", "     "))
                say(_wrapped(remedy, "     -> ", "        "))
        if not self.problems:
            say("\nNothing stops this run.")
        return not self.problems


def _wrapped(text: str, first: str, later: str) -> str:
    whole = {"break_on_hyphens": False, "break_long_words": False}  # paths are to be copied
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=later, **whole)
