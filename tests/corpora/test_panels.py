"""Tables of votes: counted back from shares, and only where shares are votes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emoshare_utils.corpora import CORPORA, panel_votes
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.corpora.panels import are_votes


def corpus(**columns) -> Corpus:
    clips = pd.DataFrame({"clip_id": ["a", "b", "c"], "n_raters": [3, 8, 9]}).assign(**columns)
    return Corpus("table", Path(), ("Joy", "Awe"), clips)


def test_votes_are_the_shares_times_the_listeners():
    votes = panel_votes("table", corpus(Joy=[1 / 3, 0.25, 1], Awe=[0.67, 0.125, 0]))
    assert votes.to_dict("list") == {
        "clip_id": ["a", "b", "c"],
        "panel": ["voice"] * 3,
        "n_raters": [3, 8, 9],
        "Joy": [1, 2, 9],
        "Awe": [2, 1, 0],
    }


def test_clips_without_shares_or_listeners_have_no_votes():
    masked = corpus(Joy=[1 / 3, None, 1], Awe=[0.67, 0.125, 0], n_raters=[3, 8, None])
    assert panel_votes("table", masked)["clip_id"].tolist() == ["a"]


@pytest.mark.parametrize(
    "columns", [{"Joy": [0.5, 0.25, 1]}, {"n_raters": None}, {"n_raters": [0, 8, 9]}]
)
def test_shares_that_are_no_votes_leave_an_empty_table(columns):
    votes = panel_votes("table", corpus(**{"Joy": [0, 0.25, 1], "Awe": [0, 0, 0], **columns}))
    assert votes.empty and list(votes.columns) == ["clip_id", "panel", "n_raters", "Joy", "Awe"]


def test_are_votes_takes_all_emotions_at_once():
    shares, n_raters = np.array([[0.5, 0.25], [1 / 3, 0]]), np.array([[4], [3]])
    assert are_votes(shares, n_raters)
    assert not are_votes(shares, n_raters[::-1])


def test_every_adapter_of_the_package_knows_its_panels_or_has_none():
    assert {name for name in CORPORA.built_in if hasattr(CORPORA[name], "panels")} == {"crema_d"}
