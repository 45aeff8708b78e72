"""How well a perfect model could do: the rho that the number of listeners allows.

A share is the vote of a few listeners and changes with the panel. A model can know the *expected
share* p, that of endlessly many listeners, not which of them came: the ceiling is Spearman's rho
between p and the share y. Simulated listeners have a known p and an exact ceiling; for people it
is estimated from the shares and the number of listeners behind each.
"""

import numpy as np
import pandas as pd
from scipy import stats

from emoshare_utils.corpora import simulated
from emoshare_utils.corpora.clip_table import SPLITS, Corpus
from emoshare_utils.results.metrics import spearman

EXACT, ESTIMATED = "exact", "estimated"
_GRID = (np.arange(200) + 0.5) / 200  # the expected shares that are told apart
_STEPS = 100  # of the fit; many more would gather the expected shares in a few spikes
_DRAWS = 20  # of every clip's expected share
_ROUNDED = 0.006  # shares with two decimals are still votes


def ceilings(corpus: Corpus) -> pd.DataFrame:
    """The ceiling of every emotion, overall and in each split that has shares.

    Returns:
        emotion, split ("all" for the whole corpus), kind ("exact" for simulated listeners, and
        "estimated" where the number of listeners is known), ceiling. No row where neither is.
    """
    rows = []
    splits = ["all", *SPLITS]
    if corpus.simulated:
        for split in splits:
            exact = simulated.ceiling(corpus, None if split == "all" else split)
            rows += [(emotion, split, EXACT, rho) for emotion, rho in exact.items()]
    for emotion in corpus.emotions:
        rated = corpus.clips.dropna(subset=[emotion, "n_raters"])
        shares = rated[emotion].to_numpy(float)
        n_raters = rated["n_raters"].to_numpy(int)
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
    """The surest ceilings of a split in what `ceilings` returned.

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
    return bool((n_raters > 0).all() and (np.abs(votes / n_raters - shares) < _ROUNDED).all())


def draw_expected(shares: np.ndarray, n_raters: np.ndarray, seed: int = 0) -> np.ndarray:
    """Expected shares that could have led to the shares seen, (draws, n).

    Votes are taken as binomial, k_i ~ Binomial(n_i, p_i), with p_i from a distribution over
    [0, 1] of any shape, fitted to all clips together by expectation-maximisation. Each p_i is
    then drawn given the clip's own votes. Listeners who differ from each other vary less than a
    binomial says, so that a ceiling from these draws is slightly too low: by .004 for the simulated
    listeners. With ten listeners to a clip or more it is within about .03 where votes are binomial,
    with three within .06: so few leave the shape open.

    Args:
        shares, n_raters: (n,).
        seed: of the draws.
    """
    votes = np.column_stack([np.round(shares * n_raters), n_raters])
    cases, case, count = np.unique(votes, axis=0, return_inverse=True, return_counts=True)
    likelihood = stats.binom.pmf(cases[:, :1], cases[:, 1:], _GRID)  # (cases, grid)
    prior = np.full(len(_GRID), 1 / len(_GRID))
    for _ in range(_STEPS):
        posterior = likelihood * prior
        posterior /= posterior.sum(axis=1, keepdims=True)
        prior = count @ posterior / count.sum()
    rng = np.random.default_rng(seed)
    drawn = np.empty((_DRAWS, len(shares)))
    for number, chances in enumerate(posterior):
        clips = np.flatnonzero(case == number)
        drawn[:, clips] = rng.choice(_GRID, (_DRAWS, len(clips)), p=chances)
    return drawn
