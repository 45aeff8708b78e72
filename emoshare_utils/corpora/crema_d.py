"""CREMA-D (Cao et al. 2014): acted sentences, each rated by about nine people from the voice alone.

The share of an emotion is its votes over the number of answers. Raters chose one emotion, so a
clip's six shares sum to 1.
"""

from contextlib import suppress
from pathlib import Path

import pandas as pd
import soundfile

from emoshare_utils.corpora.clip_table import SPLITS, Corpus, CorpusError, cut, resolve_inside
from emoshare_utils.corpora.reading import (
    listed,
    read_table,
    speaker_splits,
    typed,
    whole_numbers,
)

NAME = "crema_d"
LAYOUT = "AudioWAV/, processedResults/tabulatedVotes.csv and VideoDemographics.csv"
AUDIO = "AudioWAV"
EMOTIONS = dict(zip("ADFHNS", ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad")))
ACTORS, RATE = 91, 16_000  # of the release, and Hz
VOTES = "processedResults/tabulatedVotes.csv"
VOICE_ONLY = "1"  # first digit of a row's number
OTHER_PANELS = {"face panel": "2", "audio-visual panel": "3"}
INTENDED = "intended emotion"
AUDIO_NAMES = {"1040_ITH_SAD_XX": "1040_ITH_SAD_X"}  # a vote's name -> its file's, as released


def read(root: Path, split_seed: int = 0) -> tuple[Corpus, Path]:
    """Read the votes on the voice alone as six shares.

    Further columns are the actors' demographics, the sentence, and the emotion that the actor
    intended, which is not what listeners perceive. The splits come from `splits.csv` (ActorID,
    split) if `root` has it, else they are drawn over the actors with `split_seed`.

    Raises:
        CorpusError: a file or a column is missing, votes are no numbers or do not add up, or an
            actor has no split.
    """
    root = root.resolve()
    source = root / VOTES
    votes = _votes(source, VOICE_ONLY)
    files = {file.stem: file.name for file in sorted((root / AUDIO).glob("*.*"))}
    names = votes["fileName"].map(lambda name: AUDIO_NAMES.get(name, name))
    names = names.where(names.isin(files), votes["fileName"])
    clips = pd.DataFrame(
        {
            "clip_id": votes["fileName"],
            "path": names.map(lambda name: f"{AUDIO}/{files.get(name, name + '.wav')}"),
            "split": pd.NA,
            "speaker": votes["fileName"].str.split("_").str[0],
            "language": "en",
            "n_raters": votes["numResponses"],
        }
    )
    shares = votes[list(EMOTIONS)].div(votes["numResponses"], axis=0).astype(float)
    clips = clips.join(shares.rename(columns=EMOTIONS))
    clips["split"] = _splits(clips["speaker"], root / "splits.csv", source, split_seed)
    clips = clips.join(_demographics(root / "VideoDemographics.csv"), on="speaker")
    parts = votes["fileName"].str.split("_")
    clips = clips.assign(sentence=parts.str[1], intended=parts.str[2])
    listeners = _listeners(clips, root)
    return Corpus(NAME, root, tuple(EMOTIONS.values()), clips, listeners), source


def panels(corpus: Corpus) -> pd.DataFrame:
    """The votes of those who saw the face, or saw it and heard the voice; beside them the emotion
    that the actor intended, as the one answer of a panel of one. A table of votes (`panels`)."""
    tables = {
        panel: _votes(corpus.root / VOTES, digit).rename(columns={"numResponses": "n_raters"})
        for panel, digit in OTHER_PANELS.items()
    }
    intended = corpus.clips["intended"].str[0]  # of ANG, DIS, ...
    answers = {letter: intended.eq(letter).astype(int) for letter in EMOTIONS}
    actors = pd.DataFrame({"fileName": corpus.clips["clip_id"], "n_raters": 1, **answers})
    votes = pd.concat({**tables, INTENDED: actors}, names=["panel"]).reset_index("panel")
    return votes.rename(columns={"fileName": "clip_id", **EMOTIONS})


def _listeners(clips: pd.DataFrame, root: Path) -> str:
    """Who rated, and of what a copy that is not the whole corpus consists: pictures say so."""
    said, actors = ["CREMA-D's listeners"], clips["speaker"].nunique()
    if actors != ACTORS:
        said.append(f"{actors} of its {ACTORS} actors")
    for path in clips["path"].head(20):
        with suppress(OSError, soundfile.LibsndfileError, CorpusError):  # the checks will name it
            rate = soundfile.info(resolve_inside(root, path)).samplerate
            return ", ".join([*said, f"audio at {rate:,} Hz"] if rate != RATE else said)
    return ", ".join(said)


def _votes(file: Path, digit: str) -> pd.DataFrame:
    """The rows of one panel: fileName, numResponses and the votes of each letter, counted."""
    table = read_table(file, ["fileName", "numResponses", *EMOTIONS], LAYOUT)
    row_number = table.iloc[:, 0]
    strange = row_number.index[~row_number.str.fullmatch(r"[123]\d+")]
    if len(strange):
        raise CorpusError(
            f"{file}: {listed(row_number[strange])} in the first column, line {strange[0]}, is no "
            "row's number, whose first digit is 1 (voice), 2 (face) or 3 (both)"
        )
    votes = table[row_number.str.startswith(digit)]
    counts = {letter: whole_numbers(votes[letter], file, least=0) for letter in EMOTIONS}
    counts["numResponses"] = whole_numbers(votes["numResponses"], file, least=1)
    counts = pd.DataFrame(counts).fillna(0)
    wrong = counts.index[counts[list(EMOTIONS)].sum(axis=1) != counts["numResponses"]]
    if len(wrong):
        raise CorpusError(
            f"{file}: the votes {', '.join(EMOTIONS)} do not add up to numResponses in "
            f"{len(wrong)} rows, first in line {wrong[0]}: copy the file again"
        )
    return counts.assign(fileName=votes["fileName"]).reset_index(drop=True)


def _splits(actors: pd.Series, file: Path, votes: Path, seed: int) -> pd.Series:
    if not file.is_file():
        return speaker_splits(actors, seed, source=votes)
    table = read_table(file, ["ActorID", "split"], LAYOUT)
    strange = table.index[~table["split"].isin(SPLITS)]
    if len(strange):
        raise CorpusError(
            f"{file}: the split in line {strange[0]} is {cut(table['split'][strange[0]])}: "
            f"expected {listed(SPLITS)}"
        )
    table = table[["ActorID", "split"]].drop_duplicates()
    repeated = table["ActorID"][table["ActorID"].duplicated()]
    if len(repeated):
        raise CorpusError(f"{file}: actor {listed(repeated.head(1))} is in two splits")
    splits = actors.map(dict(zip(table["ActorID"], table["split"])))
    if splits.isna().any():
        actor = listed(actors[splits.isna()].head(1))
        raise CorpusError(f"{file}: actor {actor} has no split, but clips in {votes.name}")
    return splits


def _demographics(file: Path) -> pd.DataFrame:
    columns = ["ActorID", "Age", "Sex", "Race", "Ethnicity"]
    table = read_table(file, columns, LAYOUT)[columns].rename(columns=str.lower)
    repeated = table["actorid"].index[table["actorid"].duplicated()]
    if len(repeated):
        raise CorpusError(f"{file}: the actor of line {repeated[0]} is there twice: delete one")
    whole_numbers(table["age"].rename("Age"), file, least=0)
    return table.set_index("actorid").apply(typed)
