"""Single votes: how they are counted as shares, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from emoshare_utils import corpora
from emoshare_utils.corpora.clip_table import Corpus, CorpusError
from emoshare_utils.corpora.panels import votes_behind_shares
from emoshare_utils.results.expected_share import expected_rhos

HEADER = "path,speaker,rater,emotion\n"


@pytest.fixture
def load(tmp_path, write_audio):
    """The corpus of a votes table with these lines, of the clips 1 to 6."""
    write_audio(*(tmp_path / f"{i}.wav" for i in range(1, 7)))

    def run(text: str, **options) -> Corpus:
        (tmp_path / "votes.csv").write_text(text)
        corpus, _ = corpora.load(
            "table", tmp_path, allow_missing=True, labels="votes.csv", **options
        )
        return corpus

    return run


def full(rows: str) -> str:
    """A table of six clips of three speakers; `rows` are the answers to the first."""
    others = "".join(f"{i}.wav,s{i % 3},r1,Joy\n" for i in range(2, 7))
    return HEADER + rows + others


def first(corpus: Corpus) -> dict:
    return corpus.clips.set_index("path").loc["1.wav"].to_dict()


@pytest.mark.parametrize(
    ("rows", "n_raters", "joy", "awe"),
    [
        ("1.wav,s1,a,Joy\n1.wav,s1,b,Awe\n1.wav,s1,c,Joy\n", 3, 2 / 3, 1 / 3),
        ("1.wav,s1,a,Joy;Awe\n1.wav,s1,b,Awe\n", 2, 1 / 2, 1),
        ("1.wav,s1,a, Joy | Awe \n1.wav,s1,b,Awe\n", 2, 1 / 2, 1),
        ("1.wav,s1,a,Joy\n1.wav,s1,a,Awe\n1.wav,s1,b,Awe\n", 2, 1 / 2, 1),
        ("1.wav,s1,a,Joy\n1.wav,s1,a,Joy\n1.wav,s1,b,Awe\n", 2, 1 / 2, 1 / 2),  # twice the same
        ("1.wav,s1,a,Joy;Joy\n1.wav,s1,b,Awe\n", 2, 1 / 2, 1 / 2),
        ("1.wav,s1,a,Joy\n1.wav,s1,b,\n1.wav,s1,c,none\n1.wav,s1,d,Awe\n", 4, 1 / 4, 1 / 4),
        ("1.wav,s1,a,Awe\n./1.wav,s1,b,Awe\n", 2, 0, 1),
    ],
)
def test_names_that_raters_chose_are_counted(load, rows, n_raters, joy, awe):
    corpus = load(full(rows))
    assert corpus.emotions == ("Awe", "Joy")
    found = first(corpus)
    assert found["n_raters"] == n_raters
    assert (found["Joy"], found["Awe"]) == pytest.approx((joy, awe))
    assert len(corpus.clips) == 6 and corpus.further_columns == []


def test_the_order_of_answers_does_not_count(load):
    lines = full("1.wav,s1,a,Joy\n1.wav,s1,b,Awe\n").splitlines(keepends=True)
    sorted_ = load("".join(lines)).clips.sort_values("path", ignore_index=True)
    again = load(lines[0] + "".join(reversed(lines[1:]))).clips
    pd.testing.assert_frame_equal(sorted_, again.sort_values("path", ignore_index=True))


def test_a_column_of_0_and_1_for_each_emotion_counts_the_same(load):
    rows = ["1.wav,s1,a,1,0", "1.wav,s1,a,1,1", "1.wav,s1,b,0,1", "1.wav,s1,c,,0"]
    rows += [f"{i}.wav,s{i % 3},a,1,0" for i in range(2, 7)]
    corpus = load("path,speaker,rater,Joy,Awe\n" + "\n".join(rows) + "\n")
    assert corpus.emotions == ("Joy", "Awe")
    found = first(corpus)
    assert found["n_raters"] == 3 and (found["Joy"], found["Awe"]) == pytest.approx((1 / 3, 2 / 3))


def test_what_is_of_a_clip_is_kept_and_what_is_of_an_answer_is_not(load):
    text = "path,speaker,rater,emotion,sex,seconds,n_raters\n"
    text += "1.wav,s1,a,Joy,f,3.5,9\n1.wav,s1,b,Awe,f,4.5,9\n"
    text += "".join(f"{i}.wav,s{i % 3},a,Joy,m,3,9\n" for i in range(2, 7))
    corpus = load(text)
    assert corpus.further_columns == ["sex"] and first(corpus)["n_raters"] == 2


def test_shares_chooses_emotions_and_other_choices_still_count_as_raters(load):
    corpus = load(full("1.wav,s1,a,Joy\n1.wav,s1,b,Awe\n"), shares=["Joy"])
    assert corpus.emotions == ("Joy",)
    assert first(corpus)["Joy"] == 0.5 and first(corpus)["n_raters"] == 2


def test_votes_give_ceilings_as_any_shares_with_their_number_of_raters(load):
    rng, rows = np.random.default_rng(0), []
    for i in range(1, 7):
        rows += [f"{i}.wav,s{i % 3},r{r},{rng.choice(['Joy', 'Awe'])}\n" for r in range(9)]
    corpus = load(HEADER + "".join(rows))
    votes = votes_behind_shares(corpus)
    assert (votes["n_raters"] == 9).all() and (votes[["Joy", "Awe"]].sum(axis=1) == 9).all()
    assert votes["Joy"].tolist() == [
        sum(row.startswith(f"{i}.wav") and row.endswith("Joy\n") for row in rows)
        for i in range(1, 7)
    ]
    table = expected_rhos(corpus)
    assert set(table["kind"]) == {"estimated"} and set(table["emotion"]) == {"Awe", "Joy"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (full("1.wav,s1,,Joy\n"), "'rater' is blank in 1 rows, first in line 2"),
        (full("1.wav,s1,a,joy\n"), "'Joy' in line 3 and 'joy' are one emotion: write it in one"),
        (full("1.wav,s1,a,Joy\n1.wav,s2,b,Joy\n"), "'speaker' of 1.wav differs .*line 2, 3"),
        (full("").replace("emotion", "said"), "has a column 'rater', but no votes: give a column"),
        (full("").replace("rater", "Rater"), "rename the column 'Rater' to 'rater'"),
        (
            full("1.wav,s1,a,1\n").replace("emotion", "Joy"),
            "Joy of line 3 is 'Joy': expected a whole number from 0 to 1",
        ),
        (
            "path,speaker,listener,Joy\n" + "".join(f"1.wav,s1,{r},1\n" for r in range(4)),
            "4 rows of 1 clips: if a row is one rater's answer, call the column .*'rater'",
        ),
    ],
)
def test_what_is_refused_and_what_to_do(load, text, message):
    with pytest.raises(CorpusError, match=message) as refused:
        load(text)
    assert "votes.csv" in str(refused.value)


def test_an_emotion_that_nobody_chose_is_refused(load):
    with pytest.raises(CorpusError, match="no rater chose Fear, .* the votes are for Joy"):
        load(full("1.wav,s1,a,Joy\n"), shares=["Joy", "Fear"])
