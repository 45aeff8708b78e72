"""What is known of a clip besides its sound (sex, age, language, …) as inputs of a network."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from emoshare_utils.corpora.clip_table import EXPECTED, Corpus
from emoshare_utils.errors import UserError
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.files import checksum

MOST_VALUES = 50  # of a column of text: more of them tell clips or speakers apart
FARTHEST = 10.0  # standard deviations: what lies farther is a typing error, or overflows
NO_INPUT = ("clip_id", "path", "split", "speaker", "audio_checksum")


class MetadataError(UserError, ValueError):
    """A column that cannot be an input; the message says which and why."""


class WithMetadata(FeatureStore):
    """A store whose frames end in the numbers that are known of their clip, the same in each.

    A column of numbers gives one, to zero mean and unit variance over train, 0 where it is not
    known. A column of text gives one for each value in train: 1 for the clip's own value, 0 for
    the others, and 0 for all where it is not known or not in train.

    Attributes:
        metadata: how many numbers that is; `width` counts them too.
        numbers: what `metadata` returned.
    """

    def __init__(self, store: FeatureStore, corpus: Corpus, columns: Sequence[str]) -> None:
        """`store`, with these columns of the corpus's clip table; MetadataError for a wrong one."""
        super().__init__(store.folder)
        self._store = store
        self.settings = store.settings
        self.numbers = metadata(corpus, columns)
        self.width = store.width + self.metadata
        self._row = dict(zip(self.numbers.index, self.numbers.to_numpy()))

    @property
    def metadata(self) -> int:
        return self.numbers.shape[1]

    def frames(self, clip_id: str) -> np.ndarray:
        """The frames of a clip, (L, W + metadata) float16."""
        frames, numbers = self._store.frames(clip_id), self._row[clip_id]
        return np.hstack([frames, np.broadcast_to(numbers, (len(frames), len(numbers)))])


def metadata(corpus: Corpus, columns: Sequence[str]) -> pd.DataFrame:
    """The numbers that `WithMetadata` adds: a row per clip_id, "age" or "sex: female" as columns.

    They are float16, and at most FARTHEST standard deviations from train's mean.

    Raises:
        MetadataError: there is no such column, it is a label of `corpus` or a name (NO_INPUT), or
            it has the same value for all train clips, or text with more than MOST_VALUES values.
    """
    clips = corpus.clips.set_index("clip_id")
    train = clips["split"] == "train"
    found = [_numbers(corpus, clips, train, column) for column in columns]
    return pd.concat(found, axis=1).astype(np.float16)


def usable(corpus: Corpus, columns: Sequence[str]) -> list[str]:
    """Those of `columns` that can be inputs; a line says which cannot, and why."""
    kept = []
    for column in columns:
        try:
            metadata(corpus, [column])
            kept.append(column)
        except MetadataError as error:
            print(f"left out: {error}")
    return kept


def digest(numbers: pd.DataFrame) -> str:
    """Changes with the numbers of any clip."""
    names = [*map(str, numbers), *map(str, numbers.index)]
    return checksum("\n".join(names).encode() + numbers.to_numpy().tobytes())


def _numbers(
    corpus: Corpus, clips: pd.DataFrame, train: pd.Series, column: str
) -> pd.DataFrame | pd.Series:
    refused = {*NO_INPUT, *corpus.emotions}
    allowed = [x for x in clips if x not in refused and not str(x).startswith(EXPECTED)]
    if column not in allowed:
        raise MetadataError(
            f"metadata = {column!r}: expected a column of the clip table that is neither a share "
            f"nor a name: {', '.join(map(str, allowed))}"
        )
    values = clips[column]
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        values = values.astype(float).replace([np.inf, -np.inf], np.nan)
        if not values[train].std() > 0:
            raise MetadataError(f"metadata = {column!r}: train clips have no two different numbers")
        values = (values - values[train].mean()) / values[train].std()
        return values.clip(-FARTHEST, FARTHEST).fillna(0.0).rename(column)
    values = values.astype("string").str.strip().replace("", pd.NA)
    known = sorted(values[train].dropna().unique())
    if not 2 <= len(known) <= MOST_VALUES:
        raise MetadataError(
            f"metadata = {column!r}: {len(known)} different values in train, expected from 2 to "
            f"{MOST_VALUES}: take it out of metadata"
        )
    of_value = {f"{column}: {value}": (values == value).fillna(False) for value in known}
    return pd.DataFrame(of_value).astype(float)
