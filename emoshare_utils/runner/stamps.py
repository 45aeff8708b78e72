"""What is up to date: what each notebook of a run was given and made, by content, not by time."""

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from emoshare_utils.paths import Run, home, resolve, shown

LIBRARIES = (
    "espeakng-loader",
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "seaborn",
    "soundfile",
    "torch",
    "torchaudio",
    "transformers",
)
RUNNER = ("__main__.py", "workbook.py", "ledger.py", "screen.py")  # no number depends on these
PICTURES = (".pdf", ".png")  # no notebook reads another's pictures
# Compared by size alone: audio, which notebook 01 checks, feature stores, which keep checksums,
# and what lies beside a corpus and is not read.
SIZED = (".wav", ".flac", ".ogg", ".mp3", ".npy", ".flv", ".mp4", ".zip", ".gz", ".tar", ".tgz")


class Ledger:
    """The record of a run, kept as JSON beside the executed notebooks.

    A notebook is up to date if its inputs are those of its last success and everything it made is
    still there with the same content.
    """

    def __init__(self, this: Run) -> None:
        self.run = this
        self.file = this.notebooks / ".ledger.json"
        record = json.loads(self.file.read_text()) if self.file.is_file() else {}
        self.given: dict[str, dict[str, Any]] = record.get("given", {})
        self.made: dict[str, dict[str, Any]] = record.get("made", {})
        self.shared = {
            "emoshare_utils": _digest(_package_sources()),
            "libraries": {name: metadata.version(name) for name in LIBRARIES}
            | {"python": platform.python_version()},
        }

    def inputs(
        self, name: str, cells: Iterable[str], parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """All that decides what the notebook `name` makes."""
        made_here = parameters.get("corpus") == "simulated"  # follows from the parameters
        return {
            "code": _digest(cells),
            "parameters": dict(parameters),
            "corpus folder": None if made_here else _folder(parameters.get("root")),
            "other folders": {name: _folder(name) for name in _named(parameters)},
            **self.shared,
            "what it starts from": self._earlier(name),
        }

    def outdated(self, name: str, inputs: Mapping[str, Any]) -> str:
        """Why the notebook has to run, or "" where it is up to date."""
        if name not in self.given:
            return "has not run to its end yet"
        for part, now in inputs.items():
            if now != (then := self.given[name].get(part)):
                return f"{part} changed{_differing(now, then)}"
        for path, about in self.made.items():
            if name in about["by"] and _checksum(home() / path) != about["content"]:
                return f"{path} is gone or changed"
        copy = self.run.notebooks / f"{name}.ipynb"
        return "" if copy.is_file() else f"{shown(copy)} is gone"

    @contextmanager
    def recording(self, name: str, inputs: Mapping[str, Any]) -> Iterator[None]:
        """Attribute the files written inside the block to the notebook, and its success.

        What it made in an earlier or failed attempt stays attributed to it: it may find that
        part done, and leave it. A file that a later notebook completes belongs to both; written
        by the first again, it is for the later one to complete again.
        """
        before = self._stats()
        self.given.pop(name, None)
        self._save()
        try:
            yield
            self.given[name] = dict(inputs)
        finally:
            after = self._stats()
            for path in [path for path, about in self.made.items() if name in about["by"]]:
                if path not in after:
                    del self.made[path]
            for path in after:
                # what it left as it found it, a finished notebook has accepted
                own = path in self.made and max(self.made[path]["by"]) == name
                if before.get(path) != after[path] or (own and name in self.given):
                    by = self.made.get(path, {"by": []})["by"]
                    by = [*(other for other in by if other < name), name]
                    self.made[path] = {"by": by, "content": _checksum(home() / path)}
            if name in self.given:
                self.given[name]["what it starts from"] = self._earlier(name)
            self._save()

    def _earlier(self, name: str) -> dict[str, str | None]:
        """The content of what earlier notebooks alone made."""
        return {
            path: _checksum(home() / path)
            for path, about in self.made.items()
            if max(about["by"]) < name and not path.endswith(PICTURES)
        }

    def _stats(self) -> dict[str, tuple[int, int, int]]:
        stats = {}
        for folder in (self.run.folder, self.run.figures):
            for path in _files(folder):
                if path.parent != self.run.notebooks:
                    about = path.stat()
                    stats[shown(path)] = (about.st_size, about.st_mtime_ns, about.st_ino)
        return stats

    def _save(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_suffix(".draft")
        draft.write_text(json.dumps({"given": self.given, "made": self.made}, indent=1) + "\n")
        draft.replace(self.file)


def _differing(now: Any, then: Any) -> str:
    """Which entries differ, the first three of them, where both are dicts."""
    if not isinstance(now, dict) or not isinstance(then, dict):
        return ""
    names = [name for name in then | now if then.get(name) != now.get(name)]
    return ": " + ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _package_sources() -> Iterator[tuple[str, str | None]]:
    package = Path(__file__).parent
    for path in _files(package):
        if path.suffix != ".pyc" and path.name not in RUNNER:
            yield str(path.relative_to(package)), _checksum(path)


def _named(parameters: Mapping[str, Any]) -> Iterator[str]:
    """The folders that parameters name beside the corpus: encoders, and what they are made from."""
    encoders = parameters.get("encoder") or []
    for name in [encoders] if isinstance(encoders, str) else encoders:
        folder = re.sub(r"@(\d+|pooled)$", "", name)  # without its layer
        if resolve(folder).is_dir():
            yield folder
    for source in (parameters.get("sources") or {}).values():
        if root := source.get("root") if isinstance(source, Mapping) else source:
            yield root


def _folder(root: str | None) -> str | None:
    """What tells a folder's content from another's; None where there is no folder."""
    folder = resolve(root) if root else None
    if folder is None or not folder.is_dir():
        return None
    return _digest((str(path.relative_to(folder)), _checksum(path)) for path in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder, hidden ones left out, in order."""
    for here, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and (path := Path(here, name)).is_file():
                yield path


def _checksum(path: Path) -> str | None:
    """What tells a file's content from another's; None where there is no file."""
    if not path.is_file():
        return None
    about = path.stat()
    if path.suffix.lower() in SIZED:
        return f"{about.st_size} bytes"
    return _content(path, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


@cache
def _content(path: Path, *_stat: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(items: Iterable[Any]) -> str:
    return hashlib.sha256(json.dumps(list(items)).encode()).hexdigest()
