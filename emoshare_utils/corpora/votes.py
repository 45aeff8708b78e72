"""Single votes, one row per clip and rater, counted as shares.

Two layouts: a column `emotion` with what the rater chose (several names between `;` or `|`, or in
several rows), or a column per emotion that holds 1 or 0.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from emoshare_utils.corpora.clip_table import COLUMNS, CorpusError, cut
from emoshare_utils.corpora.reading import (
    NULLS,
    folded,
    listed,
    refuse_blank,
    require_columns,
    share_columns,
    whole_numbers,
)

RATER, CHOSEN = "rater", "emotion"  # columns that only a table of votes has
SEVERAL = r"[;|]"  # between the names of one answer


def is_of_votes(table: pd.DataFrame) -> bool:
    """Whether a table has a row per clip and rater, which a column `rater` tells."""
    return RATER in table


def count_votes(
    table: pd.DataFrame, shares: Sequence[str] | None, source: Path
) -> tuple[pd.DataFrame, list[str]]:
    """The clips of a table of votes.

    The share of an emotion is the fraction of a clip's raters who chose it. A rater counts once per
    clip, and once per clip and emotion, however many rows say so; one whose answer is blank, or
    holds only emotions that `shares` leaves out, chose none of them and counts all the same.

    Args:
        table: text, one row per answer, with `path` and `rater`; the index says where each stands.
        shares: the emotions; None or empty: the names in `emotion`, by the alphabet, or every
            further column with a number in it.

    Returns:
        One row per clip, its index the first row's: the columns that are the same in all answers
        to any one clip, `n_raters`, and the shares; and the emotions.

    Raises:
        CorpusError: a rater is blank, a cell is neither 0 nor 1, one emotion is written in two
            ways, no emotion is found, or answers differ in the split or speaker of a clip.
    """
    refuse_blank(table[RATER], source)
    about = [column for column in COLUMNS if column in table and column != "path"]
    _refuse_differing(table, about, source)
    emotions = list(shares or ())
    if CHOSEN in table:
        answers = _chosen(table, emotions, source)
        if unknown := set(emotions) - set(answers):
            raise CorpusError(
                f"{source}: no rater chose {listed(sorted(unknown))}, which shares names: "
                f"the votes are for {listed(sorted(answers), 20)}"
            )
        emotions = emotions or sorted(answers)
        answers = answers[emotions]
        others = table.columns.difference([*COLUMNS, RATER, CHOSEN], sort=False)
    else:
        others = table.columns.difference([*COLUMNS, RATER], sort=False)
        emotions = emotions or share_columns(table[others])
        require_columns(table, emotions, source)
        answers = table[emotions].apply(whole_numbers, file=source, least=0, most=1) == 1
        answers = answers.fillna(False).astype(bool)
        others = others.difference(emotions, sort=False)
    if not emotions:
        raise CorpusError(
            f"{source} has a column {RATER!r}, but no votes: give a column {CHOSEN!r} with the "
            "name that the rater chose, or a column of 0 and 1 for each emotion"
        )
    by_rater = answers.groupby([table["path"], table[RATER]]).any()
    clips = table.drop_duplicates("path")
    of_clip = by_rater.groupby(level="path")
    others = [c for c in others if (table.groupby("path")[c].nunique() == 1).all()]
    counted = of_clip.mean().loc[clips["path"]].set_axis(clips.index)
    n_raters = of_clip.size().loc[clips["path"]].set_axis(clips.index)
    kept = clips[["path", *(c for c in about if c != "n_raters"), *others]]
    return kept.assign(n_raters=n_raters).join(counted), emotions


def _chosen(table: pd.DataFrame, known: list[str], source: Path) -> pd.DataFrame:
    """Whether each answer holds each emotion that is named anywhere, (answers, emotions) bool."""
    names = table[CHOSEN].str.split(SEVERAL, regex=True).explode().str.strip()
    names = names[~names.str.lower().isin(NULLS)]
    spelled: dict[str, str] = {folded(name): name for name in known}
    for name in names.unique():
        if spelled.setdefault(folded(name), name) != name:
            first = names.index[names == name][0]
            raise CorpusError(
                f"{source}: {cut(name)} in {names.index.name} {first} and "
                f"{cut(spelled[folded(name)])} are one emotion: write it in one way"
            )
    found = pd.crosstab(names.index, names.to_numpy()) > 0
    return found.reindex(table.index, fill_value=False)


def _refuse_differing(table: pd.DataFrame, columns: list[str], source: Path) -> None:
    """Raise CorpusError where answers to one clip differ in what the clip itself is."""
    for column in columns:
        values = table.groupby("path")[column].nunique()
        wrong = values.index[values > 1]
        if len(wrong) and column != "n_raters":
            rows = table.index[table["path"] == wrong[0]]
            raise CorpusError(
                f"{source}: {column!r} of {listed(wrong)} differs between answers to one clip, as "
                f"in {table.index.name} {listed(rows)}: give each clip one"
            )
