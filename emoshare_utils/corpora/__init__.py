"""One adapter per corpus turns the files on disk into a clip table; all are checked in one way.

To add a corpus, register a module or any other object that has

- `read(root, **options) -> (Corpus, Path)`: read the corpus folder `root`; return its clip table
  (`clip_table.Corpus` says what that holds) and the label file, which messages name. Notebook 01
  passes on the options, keyword arguments with defaults, of the kinds that their annotations or
  defaults say (`options`). Raise CorpusError for what cannot be used; `reading` has functions
  for label files and for drawing splits.
- `LAYOUT`: what the folder must hold, in words, for messages.
- `AUDIO`: the folder of the audio files, relative to the corpus's root; "." is all of it.
- `panels(corpus) -> pd.DataFrame`, optional: the votes of further panels, as `panels` describes
  them, one row per panel and clip.
- `MAKES_ITSELF`, optional: True if `read` makes the corpus, so that `root` need not exist.

    from emoshare_utils.corpora import CORPORA
    CORPORA.register("mine", adapter)
"""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from emoshare_utils.corpora import compare23, crema_d, simulated, table
from emoshare_utils.corpora.audio_files import audio_files
from emoshare_utils.corpora.clip_table import Corpus, CorpusError, cut
from emoshare_utils.corpora.options import check_options
from emoshare_utils.corpora.panels import COLUMNS, votes_behind_shares
from emoshare_utils.corpora.validation import validate
from emoshare_utils.names import Registry, UnknownName

_BUILT_IN = (simulated, compare23, crema_d, table)
CORPORA = Registry("corpus", {adapter.NAME: adapter for adapter in _BUILT_IN})


def load(
    name: str, root: str | Path, /, allow_missing: bool = False, **options: Any
) -> tuple[Corpus, pd.DataFrame]:
    """Read and validate a corpus.

    Args:
        name: of an adapter in `CORPORA`: "simulated", "compare23", "crema_d", "table", ...
        root: the corpus folder.
        allow_missing: drop and record faulty clips instead of refusing the corpus.
        options: the adapter's own, what its `read` takes beyond `root`; a single value for an
            option that is a list becomes a list of one.

    Returns:
        The corpus, and the clips dropped from it: clip_id, path, reason.

    Raises:
        CorpusError: the corpus or an option is unknown, an option's value is of another kind, or
            the corpus is not there or not as expected.
    """
    try:
        adapter = CORPORA[name]
    except UnknownName as error:
        raise CorpusError(str(error)) from error
    options = check_options(name, adapter.read, options)
    root = Path(root)
    if not getattr(adapter, "MAKES_ITSELF", False) and not os.path.isdir(root):  # noqa: PTH112
        raise CorpusError(
            f"root = {cut(root, 300)} is not a folder: give the one that holds {adapter.LAYOUT}"
        )
    corpus, source = adapter.read(root, **options)
    audio = audio_files(corpus.root, adapter.AUDIO, corpus.clips.get("path", ()))
    return validate(corpus, audio, source, allow_missing)


def panel_votes(name: str, corpus: Corpus) -> pd.DataFrame:
    """The votes of all panels that are known for the clips of a corpus.

    Args:
        name: of the corpus's adapter.
        corpus: as `load` or `audio.check` returned it.

    Returns:
        A table of votes (`panels`), empty where none are known.

    Raises:
        CorpusError: a panel's votes cannot be used, or are there twice for one clip.
    """
    tables = [votes_behind_shares(corpus)]
    if others := getattr(CORPORA[name], "panels", None):
        table = others(corpus)[[*COLUMNS, *corpus.emotions]]
        tables.append(table[table["clip_id"].isin(corpus.clips["clip_id"])])
    known = pd.concat(tables, ignore_index=True)
    known = known.astype(dict.fromkeys(["n_raters", *corpus.emotions], int))
    if (twice := known.duplicated(["clip_id", "panel"])).any():
        clip_id, panel = known.loc[twice.idxmax(), ["clip_id", "panel"]]
        raise CorpusError(
            f"{corpus.root}: the votes of the {panel} on {cut(clip_id)} are there twice: delete one"
        )
    return known
