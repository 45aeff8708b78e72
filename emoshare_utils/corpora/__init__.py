"""One adapter a source; each turns a corpus on disk into one validated clip table."""

from pathlib import Path

import pandas as pd

from emoshare_utils.corpora import compare23, crema_d, simulated, table
from emoshare_utils.corpora.clip_table import Corpus, CorpusError
from emoshare_utils.corpora.validation import validate

ADAPTERS = {module.NAME: module for module in (simulated, compare23, crema_d, table)}
AUDIO_ENDINGS = {".wav", ".flac", ".ogg", ".mp3"}


def load(
    name: str, root: Path, allow_missing: bool = False, **options
) -> tuple[Corpus, pd.DataFrame]:
    """Read and validate a corpus.

    Args:
        name: "simulated", "compare23", "crema_d" or "table".
        root: the corpus folder.
        allow_missing: drop and record faulty clips instead of refusing the corpus.
        options: what the adapter's `read` takes beyond `root`.

    Returns:
        The corpus, and the clips dropped from it: clip_id, path, reason.

    Raises:
        CorpusError: if the corpus is unknown, not there, or not as expected.
    """
    if name not in ADAPTERS:
        raise CorpusError(f"corpus = {name!r}: expected one of {', '.join(ADAPTERS)}")
    adapter = ADAPTERS[name]
    if name != simulated.NAME and not root.is_dir():
        raise CorpusError(
            f"root = {str(root)!r} is not a folder: give the one that holds {adapter.LAYOUT}"
        )
    corpus, source = adapter.read(root, **options)
    audio = {
        file.relative_to(corpus.root).as_posix()
        for file in (corpus.root / adapter.AUDIO).rglob("*")
        if file.suffix.lower() in AUDIO_ENDINGS
    }
    return validate(corpus, audio, source, allow_missing)
