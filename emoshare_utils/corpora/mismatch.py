"""Why labels and audio files do not match, where they nearly do."""

import unicodedata
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from emoshare_utils.corpora.clip_table import cut
from emoshare_utils.corpora.reading import folded


def explain(labelled: Iterable[str], audio: set[str]) -> str:
    """How many of the paths that are not there stand for a file all the same, and what differs.

    Args:
        labelled: paths without a file.
        audio: files without a label, relative to the corpus folder.

    Returns:
        As "3 of them are there under another name, as 'A.wav' for 'a.wav': mind capital letters";
        empty where no path resembles a file.
    """
    labelled, found = list(labelled), {}
    # what is compared of a name, ever less of it
    for like in (folded, _without_ending, _name, lambda path: _without_ending(_name(path))):
        files = _by(like, sorted(audio))
        for path in labelled:
            if path not in found and (file := files.get(like(_slashed(path)))):
                found[path] = file
    if not found:
        return ""
    path, file = next(iter(found.items()))
    return (
        f"{len(found)} of them are there under another name, as {cut(path, 60)} for "
        f"{cut(file, 60)}: {_difference(path, file)}"
    )


def _by(like: Callable[[str], str], files: list[str]) -> dict[str, str | None]:
    """Each file under what is compared of its name; None where two have it in common."""
    found: dict[str, str | None] = {}
    for file in files:
        found[like(file)] = None if like(file) in found else file
    return found


def _difference(path: str, file: str) -> str:
    remedies = ["write / in place of \\"] if "\\" in path else []
    name, there = PurePosixPath(_slashed(path)), PurePosixPath(file)
    if folded(str(name.parent)) != folded(str(there.parent)):
        remedies.append("write the folder as it is in the corpus folder, which is root")
    if folded(name.suffix) != folded(there.suffix):
        remedies.append(f"write the ending, {there.suffix}")
    if name.stem != there.stem and _nfc(name.stem) == _nfc(there.stem):
        remedies.append("an accent is coded in two ways (Unicode NFC and NFD): use the file's")
    pairs = [(name.name, there.name), (str(name.parent), str(there.parent))]
    if any(_nfc(a) != _nfc(b) and folded(a) == folded(b) for a, b in pairs):
        remedies.append("mind capital letters")
    return ", and ".join(remedies or ["write it as the file is called"])


def _slashed(path: str) -> str:
    return path.replace("\\", "/").removeprefix("./")


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _name(path: str) -> str:
    return folded(PurePosixPath(path).name)


def _without_ending(path: str) -> str:
    return folded(str(PurePosixPath(path).with_suffix("")) if PurePosixPath(path).name else path)
