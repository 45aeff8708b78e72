"""What is up to date: a stamp says what a notebook was given and what it made, by content.

A stamp is a small JSON file beside the executed copies. What its notebook was "given" is null until
that has run to its end, so a notebook that failed or was stopped runs again.

A file belongs to the notebook that wrote it last, whether that ran to its end or not. Only what was
left where the runner itself was killed belongs to the next notebook that runs, which usually is the
same one. Where studies run at the same time, each lists what it writes (`files.atomic`), and what
is on another's list alone is not its own. Where a notebook rewrites a file of an earlier one, the
file is its own from then on: once that file is gone, only the later notebook runs again. Notebooks
therefore write files of their own.
"""

import hashlib
import json
import os
import platform
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from stat import S_ISREG
from typing import Any

from emoshare_utils.files import DamagedError, FolderError, read_json, write_json
from emoshare_utils.names import FRAMES, all_members, split_layer
from emoshare_utils.paths import PAPER, Run, home, resolve, shown
from emoshare_utils.runner.notebooks import LAST_OF_PAPER, QUICKSTART

PACKAGE = Path(__file__).parents[1]
NOT_COUNTED = ("runner", "__main__.py")  # no number depends on these
LIBRARIES = (
    "espeakng-loader", "matplotlib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy",
    "seaborn", "soundfile", "torch", "torchaudio", "transformers",
)  # fmt: skip
PICTURES = (".pdf", ".png")  # no notebook reads another's pictures
# Compared by size alone: audio, which notebook 01 checks, feature stores, which keep checksums,
# and what lies beside a corpus and is not read.
SIZED = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64",
    ".npy", ".flv", ".mp4", ".zip", ".gz", ".tar", ".tgz",
)  # fmt: skip
EARLIER = "what it starts from"
UNFINISHED: dict[str, Any] = {"given": None, "outputs": {}}


class Stamps:
    """The stamps of a run.

    A notebook is up to date if its inputs are those of its stamp, what earlier notebooks made is
    what it started from, and everything it made is still there with the same content.

    Why files have owners: a plain chain, which runs all that follows the first changed notebook,
    would not notice a table that was edited or deleted, and would train for hours again after an
    edit of notebook 01 that leaves its files as they were. With owners, a file that is gone or
    changed reruns its maker alone, and later notebooks only if what that makes differs.

    Args:
        this: the run.
        extensions: files that count as the package does.
    """

    def __init__(self, this: Run, extensions: Iterable[Path] = ()) -> None:
        self.run, self.home = this, home()
        self.lock = threading.RLock()  # studies that run at the same time have threads of their own
        files = sorted(this.notebooks.glob(".[0-9][0-9]_*.json"))
        self.stamps = {file.stem.removeprefix("."): _read(file) for file in files}
        self.software = {
            "emoshare_utils": _digest(_package()),
            "extensions": {str(path): _checksum(path) for path in extensions},
            "libraries": {name: metadata.version(name) for name in LIBRARIES}
            | {"python": platform.python_version()},
        }

    def inputs(
        self, name: str, cells: Iterable[str], parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Tell all that decides what the notebook `name` makes."""
        made_here = parameters.get("corpus") == "simulated"  # follows from the parameters
        with self.lock:
            return {
                "code": _digest(cells),
                "parameters": dict(parameters),
                "corpus folder": None if made_here else folder_digest(parameters.get("root")),
                "other folders": {name: folder_digest(name) for name in _named(parameters)},
                **self.software,
                EARLIER: self._earlier(name),
            }

    def outdated(self, name: str, inputs: Mapping[str, Any]) -> str:
        """Say why the notebook has to run; "" where it is up to date."""
        stamp = self.stamps.get(name, UNFINISHED)
        if stamp["given"] is None:
            return "has not run to its end yet"
        for part, now in inputs.items():
            if now != (then := stamp["given"].get(part)):
                return f"{part} changed{_differing(now, then)}"
        for path, content in stamp["outputs"].items():
            if _checksum(self.home / path) != content:
                return f"{path} is gone or changed"
        copy = self.run.notebooks / f"{name}.ipynb"
        return "" if copy.is_file() else f"{shown(copy)} is gone"

    @contextmanager
    def stamping(self, name: str, inputs: Mapping[str, Any]) -> Iterator[None]:
        """Stamp the notebook that runs inside the block, as unfinished if an exception ends it.

        All that changes below the run's folders meanwhile counts as its work, as does what is
        there and belongs to no other notebook.
        """
        with self.lock:
            before = self._stats()
            self._write(name, self.stamps.get(name, UNFINISHED) | {"given": None})
        try:
            yield
        except BaseException:
            with self.lock, suppress(OSError, FolderError):  # a full disk: the exception tells more
                self._write(name, {"given": None, "outputs": self._outputs(name, before)})
            raise
        with self.lock:
            outputs = self._outputs(name, before)
            given = {**inputs, EARLIER: self._earlier(name)}
            self._write(name, {"given": given, "outputs": outputs})

    @contextmanager
    def listing(self, names: Iterable[str]) -> Iterator[None]:
        """Inside the block these notebooks list what they write; a killed run leaves the lists."""
        try:
            yield
        finally:
            for name in names:
                written_by(name, self.run).unlink(missing_ok=True)

    def forget(self, name: str) -> None:
        """Let a notebook count as unfinished; its files stay its own."""
        self._write(name, self.stamps.get(name, UNFINISHED) | {"given": None})

    def _outputs(self, name: str, before: Mapping[str, tuple]) -> dict[str, str | None]:
        """What the notebook made since `before`, and what nobody owns; others no longer own it."""
        after = self._stats()
        listed = self._listed_by_others(name)
        others = set(listed)
        for other, stamp in self.stamps.items():
            if other == name:
                continue
            kept = {
                path: content
                for path, content in stamp["outputs"].items()
                if before.get(path) == after.get(path)
                or (other > name and path not in after)
                or path in listed
            }
            if len(kept) < len(stamp["outputs"]):
                self._write(other, stamp | {"outputs": kept})
            others.update(kept)
        # what every run draws alike (`paths.PAPER`) may be another run's until it is drawn again
        paper = f"{shown(PAPER.figures)}/"
        others |= {p for p in after if p.startswith(paper) and before.get(p) == after[p]}
        others -= self.stamps.get(name, UNFINISHED)["outputs"].keys()
        return {path: _checksum(self.home / path) for path in after if path not in others}

    def _earlier(self, name: str) -> dict[str, str]:
        """A digest of what each earlier notebook made, as it is now, without its pictures.

        That of the quickstart and of the studies, which no other reads, does not count.
        """
        return {
            other: _digest(
                (path, _checksum(self.home / path))
                for path in stamp["outputs"]
                if not path.endswith(PICTURES)
            )
            for other, stamp in sorted(self.stamps.items())
            if QUICKSTART < other[:2] <= LAST_OF_PAPER and other < name and stamp["outputs"]
        }

    def _listed_by_others(self, name: str) -> set[str]:
        """What is on the lists of other notebooks alone."""
        mine, others = set(), set()
        for file in self.run.notebooks.glob(".[0-9][0-9]_*.written"):
            paths = mine if file == written_by(name, self.run) else others
            paths.update(shown(Path(line)) for line in file.read_text().splitlines())
        return others - mine

    def _stats(self) -> dict[str, tuple[int, int, int]]:
        """Size, time and inode of each file in the run's folders, except the executed copies."""
        folders = self.run.folder, self.run.figures, PAPER.figures
        stats = {}
        for path in (file for folder in folders for file in files_below(folder)):
            with suppress(FileNotFoundError):  # a study that runs has removed it since
                about = path.stat()
                if path.parent != self.run.notebooks:
                    stats[shown(path)] = (about.st_size, about.st_mtime_ns, about.st_ino)
        return stats

    def _write(self, name: str, stamp: dict) -> None:
        self.stamps[name] = stamp
        write_json(self.run.notebooks / f".{name}.json", stamp)


def written_by(name: str, this: Run) -> Path:
    """The file that lists what a notebook writes while others run."""
    return this.notebooks / f".{name}.written"


def _read(file: Path) -> dict[str, Any]:
    """A stamp; one that is damaged counts as missing."""
    try:
        return UNFINISHED | read_json(file)
    except DamagedError:
        return UNFINISHED


def files_below(folder: Path) -> Iterator[Path]:
    """The files below a folder, hidden ones left out, in order."""
    for here, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and (path := Path(here, name)).is_file():
                yield path


def folder_digest(root: str | None) -> str | None:
    """What tells a folder's content from another's; None where there is no folder."""
    folder = resolve(root.removeprefix(FRAMES)) if root else None
    if folder is None or not folder.is_dir():
        return None
    dated = root.startswith(FRAMES)  # they carry no checksums of ours
    files = files_below(folder)
    return _digest((str(path.relative_to(folder)), _checksum(path, dated)) for path in files)


def _package() -> Iterator[tuple[str, str | None]]:
    for path in files_below(PACKAGE):
        name = path.relative_to(PACKAGE)
        if path.suffix != ".pyc" and name.parts[0] not in NOT_COUNTED:
            yield str(name), _checksum(path)


def _named(parameters: Mapping[str, Any]) -> Iterator[str]:
    """The folders that parameters name beside the corpus: encoders, and what they are made from."""
    encoders = parameters.get("encoder") or []
    for name in all_members([encoders] if isinstance(encoders, str) else encoders):
        folder, _ = split_layer(name)
        if resolve(folder.removeprefix(FRAMES)).is_dir():
            yield folder
    for source in (parameters.get("sources") or {}).values():
        if root := source.get("root") if isinstance(source, Mapping) else source:
            yield root


def _differing(now: Any, then: Any) -> str:
    """Which entries differ, the first three of them, where both are dicts."""
    if not isinstance(now, dict) or not isinstance(then, dict):
        return ""
    names = [name for name in then | now if then.get(name) != now.get(name)]
    return ": " + ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _checksum(path: Path, dated: bool = False) -> str | None:
    """What tells a file's content from another's; None where there is no file.

    Args:
        dated: count the time of a file that is compared by its size.
    """
    try:
        about = path.stat()
        if not S_ISREG(about.st_mode):
            return None
        if path.suffix.lower() in SIZED:
            return f"{about.st_size} bytes" + (f", {about.st_mtime_ns}" if dated else "")
        return _sha256(path, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    except (FileNotFoundError, NotADirectoryError):  # perhaps since a moment ago
        return None


@cache
def _sha256(path: Path, *_stat: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(items: Iterable[Any]) -> str:
    return hashlib.sha256(json.dumps(list(items)).encode()).hexdigest()
