"""Rho of the expected share: what knowing how a clip sounds to listeners on average is worth.

A share is the vote of a few listeners; another panel would give another share. Who knew the
*expected share* p, which infinitely many listeners would give, but not who listened, would reach
Spearman's rho between p and the share y. It is exact for simulated listeners, whose p is known; for
people it is estimated from the shares and the number of listeners behind each.

This is a landmark and no upper bound. Shares of few listeners tie, most of all at 0, and rho
rewards predictions that tie there too: max(p, c) with a constant c can beat p itself (on devel of
the bundled corpus .86 against .85, mean over emotions, with one c for all).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from emoshare_utils.corpora.clip_table import SPLITS, Corpus
from emoshare_utils.corpora.panels import are_votes
from emoshare_utils.results.enough import too_few_expected
from emoshare_utils.results.metrics import mean_over_emotions, spearman

EXACT, ESTIMATED = "exact", "estimated"
_GRID = (np.arange(200) + 0.5) / 200  # the values that an expected share can take
_EM_STEPS = 100  # many more would gather the expected shares in a few narrow peaks
_DRAWS = 20  # of every clip's expected share


def expected_rhos(corpus: Corpus) -> pd.DataFrame:
    """Rho of the expected share per emotion, over all clips and in each split that has shares.

    Returns:
        emotion, split ("all" for all clips), kind, rho, note. The kind is "exact" for simulated
        listeners with columns expected_<emotion>, and "estimated" where the number of listeners
        is known. Too few clips (`enough`) have no rho, and a note that says so. There is no row
        where neither is known, or where the share is constant.
    """
    rows, splits, clips = [], ["all", *SPLITS], corpus.clips
    known_shares = [emotion for emotion in corpus.emotions if f"expected_{emotion}" in clips]
    for split in splits if corpus.simulated else ():
        here = clips if split == "all" else corpus.split(split)
        for emotion in known_shares:
            rho = spearman(here[f"expected_{emotion}"], here[emotion])
            rows.append((emotion, split, EXACT, rho, too_few_expected(here[emotion].count())))
    for emotion in corpus.emotions:
        rated = clips.dropna(subset=[emotion, "n_raters"])
        shares, n_raters = rated[emotion].to_numpy(float), rated["n_raters"].to_numpy(int)
        if not len(rated) or not are_votes(shares, n_raters):
            continue
        expected = draw_expected(shares, n_raters)
        for split in splits:
            here = np.ones(len(rated), bool) if split == "all" else rated["split"].eq(split)
            rho = np.mean([spearman(shares[here], p) for p in expected[:, here]])
            rows.append((emotion, split, ESTIMATED, rho, too_few_expected(np.sum(here))))
    table = pd.DataFrame(rows, columns=["emotion", "split", "kind", "rho", "note"])
    table = table.dropna(ignore_index=True)
    return table.assign(rho=table["rho"].mask(table["note"] != ""))


def known(table: pd.DataFrame, split: str = "devel") -> tuple[pd.Series, str]:
    """What is known best of a split in the table of `expected_rhos`: exact before estimated.

    Returns:
        Rho of the expected share of each emotion (empty if none is known), and the kind: "exact",
        "estimated", or, where there is none, why ("10 clips: too few (50)"), "" if not known.
    """
    here = table[table["split"] == split]
    for kind in (EXACT, ESTIMATED):
        rows = here[here["kind"] == kind].dropna(subset="rho")
        if len(rows):
            return rows.set_index("emotion")["rho"], kind
    why = next(iter(here["note"]), "") if "note" in here else ""
    return pd.Series(dtype=float, name="rho"), why


def known_mean(
    table: pd.DataFrame, emotions: Sequence[str], split: str = "devel"
) -> tuple[float, str]:
    """The mean of `known` over these emotions, and the kind.

    Unless each is known NaN, and why, as far as `known` says.
    """
    rhos, kind = known(table, split)
    mean = float(mean_over_emotions(rhos.reindex(list(emotions))))
    return mean, kind if np.isfinite(mean) or rhos.empty else ""


def draw_expected(shares: np.ndarray, n_raters: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draw expected shares that could have given the shares of n clips, (draws, n).

    Votes are taken as binomial, k_i ~ Binomial(n_i, p_i), with p_i from a distribution over
    [0, 1] of any shape, which expectation-maximisation fits to all clips together. Each p_i is
    then drawn from its posterior, given the clip's own votes.

    Rho of draws and shares estimates that of the expected shares. For the simulated listeners, who
    differ from each other, it has no bias that could be measured (-.0001, mean over six seeds of
    the corpus). Where votes are binomial it is within about .03 with ten listeners or more per
    clip, and within .06 with three, who say little about the shape of the distribution. For people
    it depends on the model of their votes: on CREMA-D, mixtures of Dirichlet distributions fitted
    to the votes of all emotions together give a mean of .74 to .76 (here .735), so that it is good
    to about .02.

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
