"""The ceiling: the rho that a perfect model can reach with so few listeners per clip.

A share is the vote of a few listeners; another panel would give another share. A model can know
the *expected share* p, which infinitely many listeners would give, but not who listened. The
ceiling is Spearman's rho between p and the share y. It is exact for simulated listeners, whose p
is known; for people it is estimated from the shares and the number of listeners behind each.
"""

import numpy as np
import pandas as pd
from scipy import stats

from emoshare_utils.corpora.clip_table import SPLITS, Corpus
from emoshare_utils.results.metrics import spearman

EXACT, ESTIMATED = "exact", "estimated"
_GRID = (np.arange(200) + 0.5) / 200  # the values that an expected share can take
_EM_STEPS = 100  # many more would gather the expected shares in a few narrow peaks
_DRAWS = 20  # of every clip's expected share
_ROUNDING = 0.006  # shares with two decimals are still votes


def ceilings(corpus: Corpus) -> pd.DataFrame:
    """The ceiling per emotion, over all clips and in each split that has shares.

    Returns:
        emotion, split ("all" for all clips), kind, ceiling. The kind is "exact" for simulated
        listeners with columns expected_<emotion>, and "estimated" where the number of listeners
        is known. There is no row where neither is.
    """
    rows, splits, clips = [], ["all", *SPLITS], corpus.clips
    known_shares = [emotion for emotion in corpus.emotions if f"expected_{emotion}" in clips]
    for split in splits if corpus.simulated else ():
        here = clips if split == "all" else corpus.split(split)
        for emotion in known_shares:
            rho = spearman(here[f"expected_{emotion}"], here[emotion])
            rows.append((emotion, split, EXACT, rho))
    for emotion in corpus.emotions:
        rated = clips.dropna(subset=[emotion, "n_raters"])
        shares, n_raters = rated[emotion].to_numpy(float), rated["n_raters"].to_numpy(int)
        if not len(rated) or not are_votes(shares, n_raters):
            continue
        expected = draw_expected(shares, n_raters)
        for split in splits:
            here = np.ones(len(rated), bool) if split == "all" else rated["split"].eq(split)
            rho = np.mean([spearman(shares[here], p) for p in expected[:, here]])
            rows.append((emotion, split, ESTIMATED, rho))
    table = pd.DataFrame(rows, columns=["emotion", "split", "kind", "ceiling"])
    return table.dropna(ignore_index=True)


def known(table: pd.DataFrame, split: str = "devel") -> tuple[pd.Series, str]:
    """The best known ceilings of a split in the table of `ceilings`: exact before estimated.

    Returns:
        The ceiling of each emotion (empty if there is none), and the kind: "exact", "estimated",
        or "".
    """
    for kind in (EXACT, ESTIMATED):
        rows = table[(table["split"] == split) & (table["kind"] == kind)]
        if len(rows):
            return rows.set_index("emotion")["ceiling"], kind
    return pd.Series(dtype=float, name="ceiling"), ""


def are_votes(shares: np.ndarray, n_raters: np.ndarray) -> bool:
    """Whether every share is a number of votes out of n_raters, up to rounding; both (n,)."""
    votes = np.round(shares * n_raters)
    return bool((n_raters > 0).all() and (np.abs(votes / n_raters - shares) < _ROUNDING).all())


def draw_expected(shares: np.ndarray, n_raters: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draw expected shares that could have given the shares of n clips, (draws, n).

    Votes are taken as binomial, k_i ~ Binomial(n_i, p_i), with p_i from a distribution over
    [0, 1] of any shape, which expectation-maximisation fits to all clips together. Each p_i is
    then drawn from its posterior, given the clip's own votes.

    Votes of listeners who differ from each other vary less than binomial ones, which makes a
    ceiling from these draws slightly too low: by .004 for the simulated listeners. Where votes are
    binomial, it is within about .03 with ten listeners or more per clip, and within .06 with three,
    who say little about the shape of the distribution.

    Args:
        shares, n_raters: (n,).
        seed: of the draws.
    """
    votes = np.column_stack([np.round(shares * n_raters), n_raters])
    cases, case, count = np.unique(votes, axis=0, return_inverse=True, return_counts=True)
    likelihood = stats.binom.pmf(cases[:, :1], cases[:, 1:], _GRID)  # (cases, grid)
    prior = np.full(len(_GRID), 1 / len(_GRID))
    for _ in range(_EM_STEPS):
        posterior = likelihood * prior
        posterior /= posterior.sum(axis=1, keepdims=True)
        prior = count @ posterior / count.sum()
    rng = np.random.default_rng(seed)
    drawn = np.empty((_DRAWS, len(shares)))
    for number, probabilities in enumerate(posterior):
        clips = np.flatnonzero(case == number)
        drawn[:, clips] = rng.choice(_GRID, (_DRAWS, len(clips)), p=probabilities)
    return drawn
