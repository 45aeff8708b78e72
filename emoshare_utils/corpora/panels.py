"""Votes: how many listeners of a panel chose each emotion, per clip.

The shares of a corpus are those of the panel that heard the voice, `VOICE`. Other panels were
asked the same about other material, as the actors' faces; a picture calls one as it is called here.

A table of votes has one row per clip and panel: clip_id, panel, n_raters, then the votes for each
emotion. Listeners may have chosen one emotion or several: per emotion, who chose it and who did not
is all there is to know, as rho is computed per emotion.
"""

import numpy as np
import pandas as pd

from emoshare_utils.corpora.clip_table import Corpus

VOICE = "voice"
COLUMNS = ["clip_id", "panel", "n_raters"]  # of a table of votes, then the emotions
_ROUNDING = 0.006  # shares with two decimals are still votes


def are_votes(shares: np.ndarray, n_raters: np.ndarray) -> bool:
    """Whether every share is a number of votes out of n_raters, up to rounding.

    Args:
        shares: (n,) or (n, E).
        n_raters: (n,) or (n, 1).
    """
    votes = np.round(shares * n_raters)
    return bool((n_raters > 0).all() and (np.abs(votes / n_raters - shares) < _ROUNDING).all())


def votes_behind_shares(corpus: Corpus) -> pd.DataFrame:
    """The votes behind the shares, of the clips that have shares and a number of raters.

    Returns:
        A table of votes; empty where no clip has them, or shares are no votes out of n_raters.
    """
    emotions = list(corpus.emotions)
    rated = corpus.clips.dropna(subset=["n_raters", *emotions])
    shares = rated[emotions].to_numpy(float)
    n_raters = rated[["n_raters"]].to_numpy(int)
    if not are_votes(shares, n_raters):
        rated, shares, n_raters = rated.head(0), shares[:0], n_raters[:0]
    about = rated[["clip_id"]].assign(panel=VOICE, n_raters=n_raters[:, 0])
    votes = np.round(shares * n_raters).astype(int)
    return about.join(pd.DataFrame(votes, about.index, emotions)).reset_index(drop=True)
