"""Which files of a corpus folder are its audio."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

ENDINGS = (  # of what libsndfile reads; a labelled file is tried whatever its ending
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".snd"),
    *(".w64", ".rf64", ".caf", ".sph", ".nist"),
)
_UNREADABLE = (FileNotFoundError, NotADirectoryError, PermissionError)


def audio_files(root: Path, folder: str = ".", labelled: Iterable[str] = ()) -> set[str]:
    """Find the audio files of a corpus, as paths relative to `root`.

    These are the regular files in `root / folder`, and in the folders in it, whose ending is one
    of audio; hidden ones, `__MACOSX` and links to folders are skipped. What has a label counts
    whatever it is, if only it is there: `audio.check` says why it cannot be used.
    """
    found, folders = set(), [folder]
    while folders:
        inside = folders.pop()
        with suppress(*_UNREADABLE), os.scandir(root / inside) as entries:
            for entry in entries:
                path = entry.name if inside == "." else f"{inside}/{entry.name}"
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif path.lower().endswith(ENDINGS) and _is_regular(entry):
                    found.add(path)
    return found | {path for path in set(labelled) - found if _is_there(root / path)}


def _is_regular(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:  # links in a circle
        return False


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:  # as of a folder that may not be entered
        return True
    return True
