"""CREMA-D (Cao et al. 2014): acted sentences, each rated by about nine people from the voice alone.

The share of an emotion is its votes over the number of answers. Raters chose one emotion, so a
clip's six shares sum to 1.
"""

from pathlib import Path

import pandas as pd

from emoshare_utils.corpora.clip_table import Corpus, CorpusError
from emoshare_utils.corpora.reading import read_table, speaker_splits

NAME = "crema_d"
LAYOUT = "AudioWAV/, processedResults/tabulatedVotes.csv and VideoDemographics.csv"
AUDIO = "AudioWAV"
EMOTIONS = dict(zip("ADFHNS", ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad")))
VOICE_ONLY = "1"  # first digit of a row's number; 2: the face alone, 3: both
AUDIO_NAMES = {"1040_ITH_SAD_XX": "1040_ITH_SAD_X"}  # a vote's name -> its file's, as released


def read(root: Path, split_seed: int = 0) -> tuple[Corpus, Path]:
    """Read the votes on the voice alone as six shares.

    Further columns are the actors' demographics, the sentence, and the emotion that the actor
    intended, which is not what listeners perceive. The splits come from `splits.csv` (ActorID,
    split) if `root` has it, else they are drawn over the actors with `split_seed`.

    Raises:
        CorpusError: a file or a column is missing, or an actor has no split.
    """
    root = root.resolve()
    source = root / "processedResults" / "tabulatedVotes.csv"
    votes = read_table(source, ["fileName", "numResponses", *EMOTIONS], LAYOUT)
    row_number = votes.iloc[:, 0].astype(str)
    votes = votes[row_number.str.startswith(VOICE_ONLY)].reset_index(drop=True)

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
            "n_raters": votes["numResponses"].astype("Int64"),
        }
    )
    shares = votes[list(EMOTIONS)].div(votes["numResponses"], axis=0).rename(columns=EMOTIONS)
    clips = clips.join(shares)
    clips["split"] = _splits(clips["speaker"], root / "splits.csv", split_seed)
    clips = clips.join(_demographics(root / "VideoDemographics.csv"), on="speaker")
    parts = votes["fileName"].str.split("_")
    clips = clips.assign(sentence=parts.str[1], intended=parts.str[2])
    return Corpus(NAME, root, tuple(EMOTIONS.values()), clips), source


def _splits(actors: pd.Series, file: Path, seed: int) -> pd.Series:
    if not file.is_file():
        return speaker_splits(actors, seed)
    table = read_table(file, ["ActorID", "split"], LAYOUT).drop_duplicates()
    repeated = table["ActorID"][table["ActorID"].duplicated()]
    if len(repeated):
        raise CorpusError(f"{file}: actor {repeated.iloc[0]} is in two splits")
    splits = actors.map(dict(zip(table["ActorID"].astype(str), table["split"])))
    if splits.isna().any():
        raise CorpusError(f"{file}: actor {actors[splits.isna()].iloc[0]} has no split")
    return splits


def _demographics(file: Path) -> pd.DataFrame:
    columns = ["ActorID", "Age", "Sex", "Race", "Ethnicity"]
    table = read_table(file, columns, LAYOUT).astype({"ActorID": str})[columns]
    return table.set_index("ActorID").rename(columns=str.lower)
