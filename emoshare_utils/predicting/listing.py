"""Which recordings the paths of a command line mean."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from emoshare_utils.corpora.audio_files import audio_files


def recordings(paths: Sequence[str | Path]) -> list[Path]:
    """Each named file, and the audio files in each named folder and below, sorted; each once.

    How many other files a folder holds is printed. A path that is not there stays in the list: its
    row will say so.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(audio_files(path))
        found += [path / name for name in inside]
        known = set(inside)
        others = Counter(
            file.suffix.lower() or "no ending"
            for file in path.rglob("*")
            if not file.name.startswith(".")
            and file.is_file()
            and str(file.relative_to(path)) not in known
        )
        if others:
            said = ", ".join(f"{ending} {n:,}" for ending, n in others.most_common(5))
            print(f"{path}: {others.total():,} other files are left out ({said})")
        if not inside:
            print(f"{path}: no audio file in it")
    return list(dict.fromkeys(found))
