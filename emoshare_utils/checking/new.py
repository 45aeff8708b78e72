"""`new`: a profile for a corpus of one's own, with settings for its size."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path

import yaml

from emoshare_utils.corpora import table
from emoshare_utils.corpora.audio import read_audio
from emoshare_utils.corpora.clip_table import Corpus, CorpusError
from emoshare_utils.corpora.reading import listed
from emoshare_utils.errors import UserError
from emoshare_utils.files import atomic
from emoshare_utils.paths import Run, home, shown
from emoshare_utils.runner.notebooks import WorkbookError

UPDATES = 3000  # of a network's weights, about as many as CREMA-D's profile makes at most
EPOCHS = (8, 60)  # at least and at most; patience mostly ends training sooner
MOST_TRIED = 20  # clips, for one that can be read
LARGE = 2000  # clips of train from which on settings are those of CREMA-D, below the demo's

PROFILE = """\
# {what}
# `python -m emoshare_utils check {name}` says what its run will meet.
# Studies: make studies PROFILE={name}, or one of them: make figures PROFILE={name} ARGS="--only 06"
notebooks: [00, 01, 02, 03, 04]
run: {name}
recording: {recording}  # the clip that notebook 00 follows
corpus: table
root: {root}
options: {options}
allow_missing: false  # true drops and records clips without label or audio
encoder: [fbank, wav2vec2-mini, hubert-mini]  # or hubert-large, wav2vec2-large, any from a hub
svr: [fbank]
architecture: [1, 2]
seed: 0
sizes: {sizes}
training:
  learning_rate: 2.0e-3
  batch_size: {batch_size}
  epochs: {epochs}
  patience: 8
  start_at_mean: true
"""
SMALL_SIZES = "{cnn: [32], pool: 16, lstm: 32, ffnn_1: [32], ffnn_2: [32]}"  # the demo's
LARGE_SIZES = "{cnn: [64], pool: 8, lstm: 64, ffnn_1: [32], ffnn_2: [32]}"  # CREMA-D's


def new(
    profile: str, labels: str, audio: str | None = None, shares: Sequence[str] | None = None
) -> Path:
    """Write `profiles/<profile>.yaml` for the clips that `labels` lists; print what comes next.

    Args:
        labels: a table of shares or of single votes, as `corpora.table.read` takes it.
        audio: the folder that its paths start from; None: that of `labels`. Where they start from
            the folder of `labels` all the same, that one is taken.
        shares: the emotions; None: as `corpora.table.read` finds them.

    Raises:
        WorkbookError: there is a profile of that name, the name cannot name a folder, or the
            labels cannot be read; nothing is written.
    """
    try:
        Run(profile)
    except ValueError as error:
        raise WorkbookError(str(error)) from None
    file = home() / "profiles" / f"{profile}.yaml"
    if file.exists():
        raise WorkbookError(f"{shown(file)} is there: choose another name, or delete it first")
    source = Path(labels).expanduser().resolve()
    folder = Path(audio).expanduser().resolve() if audio else source.parent
    if not folder.is_dir():
        raise WorkbookError(f"--audio {folder} is not a folder: give the one of the audio files")
    try:
        root, corpus = _read(source, folder, list(shares or ()))
    except CorpusError as error:
        raise WorkbookError(str(error)) from error
    options = {"labels": _relative(source, root)} | ({"shares": list(shares)} if shares else {})
    what = (
        f"{len(corpus.clips):,} clips of {listed(corpus.emotions, 12)}; settings for their number."
    )
    written = PROFILE.format(
        name=profile,
        what=" ".join(what.split()),
        recording=_yaml(_example(corpus)),
        root=_yaml(_relative(root, home())),
        options=_yaml(options),
        **_settings(len(corpus.split("train"))),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic(file) as stream:
        stream.write(written.encode())
    print(
        f"{shown(file)}: {what}\n\nNext:\n  python -m emoshare_utils check {profile}"
        f"\n  make figures PROFILE={profile}"
    )
    return file


def _read(source: Path, folder: Path, shares: list[str]) -> tuple[Path, Corpus]:
    """The folder that most of the paths start from, and the corpus read from there."""
    found = []
    for root in dict.fromkeys([folder, source.parent]):
        with redirect_stdout(io.StringIO()) as said:
            corpus, _ = table.read(root, str(source), shares)
        there = sum((root / path).is_file() for path in corpus.clips["path"])
        found.append((there, root, corpus, said.getvalue()))
    _, root, corpus, said = max(found, key=lambda each: each[0])  # the first, where they tie
    print(said, end="")
    return root, corpus


def _example(corpus: Corpus) -> str:
    """The first clip that can be read; none in the first `MOST_TRIED` leaves a synthetic voice."""
    for path in corpus.clips["path"].head(MOST_TRIED):
        with suppress(UserError, OSError):  # `check` names the bad ones
            read_audio(file := corpus.path(path))
            return _relative(file, home())
    return ""


def _settings(n_train: int) -> dict[str, object]:
    batch_size, sizes = (64, LARGE_SIZES) if n_train >= LARGE else (32, SMALL_SIZES)
    batch_size = batch_size if n_train >= 10 * batch_size else 16
    least, most = EPOCHS
    epochs = min(most, max(least, UPDATES * batch_size // max(1, n_train)))
    return {"batch_size": batch_size, "epochs": epochs, "sizes": sizes}


def _relative(path: Path, folder: Path) -> str:
    """As a profile names it: relative to `folder` where it lies inside, else in full."""
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _yaml(value: object) -> str:
    """One line, each text between quotes: no name is taken for a number."""
    text = yaml.safe_dump(
        value, default_flow_style=True, default_style='"', allow_unicode=True, width=10**6
    )
    return text.splitlines()[0]
