"""Where everything lies: the one module of paths."""

import os
import re
from dataclasses import dataclass
from pathlib import Path


def home() -> Path:
    """The project's root: EMOSHARE_HOME if set, else the checkout, else the project that the
    current directory is in (a notebook's is its own folder), else that directory."""
    if named := os.environ.get("EMOSHARE_HOME"):
        return Path(named).expanduser().resolve()
    here = Path.cwd()
    checkout = Path(__file__).resolve().parent.parent
    around = [place for place in (here, *here.parents) if (place / "profiles").is_dir()]
    projects = [place for place in (checkout, *around) if (place / "notebooks").is_dir()]
    return projects[0] if projects else here


def resolve(root: str | Path) -> Path:
    """A user's folder, absolute, with ~ or relative to `home()`, as an absolute path."""
    return (home() / Path(root).expanduser()).resolve()


def shown(path: Path) -> str:
    """The path as messages show it: relative to `home()` where it lies inside."""
    return str(path.relative_to(home()) if path.is_relative_to(home()) else path)


@dataclass(frozen=True)
class Run:
    """The files of one run.

    The name is one plain folder name (letters, digits, `.`, `_`, `-`, no leading dot), the same
    under `runs/` and `figures/`; anything else is a ValueError.
    """

    name: str

    def __post_init__(self) -> None:
        plain = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
        if not isinstance(self.name, str) or not re.fullmatch(plain, self.name):
            raise ValueError(
                f"run = {self.name!r} cannot name a folder: use text of letters, digits, '.', '_' "
                "and '-' that does not start with a dot"
            )

    @property
    def folder(self) -> Path:
        """Everything the run makes besides its figures."""
        return home() / "runs" / self.name

    @property
    def corpus_folder(self) -> Path:
        """The audio of a simulated corpus."""
        return self.folder / "corpus"

    @property
    def features(self) -> Path:
        """The feature stores, one folder each."""
        return self.folder / "features"

    @property
    def models(self) -> Path:
        """The checkpoints."""
        return self.folder / "models"

    @property
    def notebooks(self) -> Path:
        """The executed notebooks."""
        return self.folder / "notebooks"

    @property
    def lab(self) -> Path:
        """The working copies of the notebooks, for JupyterLab."""
        return home() / "lab" / self.name

    @property
    def predictions(self) -> Path:
        """One row per prediction."""
        return self.folder / "predictions.parquet"

    @property
    def results(self) -> Path:
        """One row per correlation."""
        return self.folder / "results.parquet"

    @property
    def rejected(self) -> Path:
        """The clips set aside, with the reason."""
        return self.folder / "rejected.csv"

    @property
    def figures(self) -> Path:
        """The tables and figures."""
        return home() / "figures" / self.name

    @property
    def published(self) -> Path:
        """The tables and figures under version control, which `make publish` renews."""
        return home() / "figures" / "published" / self.name

    @property
    def pages(self) -> Path:
        """The executed notebooks under version control, as Markdown, made by `make publish`."""
        return home() / "docs" / "notebooks" / self.name

    @property
    def report(self) -> Path:
        """The executed notebooks as one HTML file."""
        return home() / "report" / f"{self.name}.html"


# What no profile changes: the paper's own tables, its code, the encoders that come with the
# package. Every run that draws these figures draws the same, into one folder.
PAPER = Run("paper")
