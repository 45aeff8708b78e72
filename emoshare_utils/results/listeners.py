"""What a rho is worth: how many listeners order the clips as well as a system does.

A system's rho is against shares that are a few listeners' votes, so it says little by itself. Here
four listeners of each clip are the target, and k others of its listeners, the system and other
panels predict their share: all against the same four, on the same clips. Where the system's rho
lies on the curve of k is what it is worth.

Who the listeners were need not be known. Answers are drawn one after another without replacement
from a clip's votes, each emotion by itself: rho is computed per emotion, so its mean is the same as
if whole listeners were drawn.

A worth depends on the target. Shares of few listeners tie, most of all at 0, which k listeners do
as well and a system does not: with fewer than four in the target a system is worth fewer (the
published system on CREMA-D 2.0 against one, 2.5 against two, 3.1 against four).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from emoshare_utils.corpora.panels import VOICE
from emoshare_utils.names import system
from emoshare_utils.results.bootstrap import interval, times_drawn
from emoshare_utils.results.enough import FEWEST_CLIPS, FEWEST_SPEAKERS
from emoshare_utils.results.metrics import mean_over_emotions, rhos

TARGET = 4  # listeners whose share is predicted
MOST = 8  # other listeners at most: the curve has long become flat
ENOUGH = 0.9  # of the clips have as many votes as are drawn; the others are left out
DRAWS = 50  # of listeners
_COLUMNS = ["who", "listeners", "n", "n_speakers", "rho", "ci_speakers_low", "ci_speakers_high"]
WORTH = ["worth", "worth_low", "worth_high"]


def panel_rhos(votes: pd.DataFrame, emotions: Sequence[str], clips: Sequence[str]) -> pd.Series:
    """The mean rho of every other panel's shares and the corpus's own, over these emotions.

    A panel's share carries the noise of its few listeners, a prediction does not.

    Args:
        votes: a table of votes, as `corpora.panel_votes` returns it.
        emotions: those that means are over (`scores.emotions_in_means`).
        clips: their ids; those that a panel or the corpus's own has no votes for do not count.

    Returns:
        Panel -> rho, empty where there is no other panel.
    """
    shares = _shares(votes, emotions, clips)
    own = shares.pop(VOICE, None)
    means = {}
    for panel, table in shares.items() if own is not None else ():
        both = own.index.intersection(table.index)
        found = rhos(own.loc[both].to_numpy(), table.loc[both].to_numpy())
        means[panel] = float(mean_over_emotions(found))
    return pd.Series(means, dtype=float, name="rho").dropna()


def worth_in_listeners(
    predictions: pd.DataFrame,
    votes: pd.DataFrame,
    emotions: Sequence[str],
    speakers: Mapping[str, str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare a system with k listeners, and other panels with them, on the same targets.

    Rho is averaged over draws of the listeners and over the emotions; a draw without one (the few
    drawn agree on every clip) does not count. Intervals are the bootstrap's over speakers, who are
    resampled for all rows together, so that the one of a worth has the curve's uncertainty too.

    Args:
        predictions: of one system on one split.
        votes, emotions: as for `panel_rhos`.
        speakers: clip_id -> speaker; with fewer than FEWEST_SPEAKERS, or FEWEST_CLIPS, there
            are no intervals.
        resamples: of the speakers.
        seed: of the draws.

    Returns:
        One row per k = 1, 2, ... (at most MOST), per other panel, then the system: who, listeners
        (k), n (clips), n_speakers (0: not known), rho, ci_speakers_low, ci_speakers_high; worth,
        worth_low and worth_high, in listeners, interpolated between whole ones and between none and
        one, inf beyond the last k. Empty unless ENOUGH of the clips have more than TARGET votes.
    """
    predicted = predictions.pivot(index="clip_id", columns="emotion", values="prediction")
    others = _shares(votes, emotions, predicted.index)
    own = votes[(votes["panel"] == VOICE) & votes["clip_id"].isin(predicted.index)]
    n_votes = own.set_index("clip_id")["n_raters"].reindex(predicted.index, fill_value=0)
    drawn = int(n_votes.quantile(1 - ENOUGH, "lower")) if len(n_votes) else 0
    if others.pop(VOICE, None) is None or drawn <= TARGET:
        return pd.DataFrame(columns=[*_COLUMNS, *WORTH])
    others[system(*predictions.iloc[0][["encoder", "architecture"]])] = predicted[list(emotions)]
    own = own[own["n_raters"] >= drawn].set_index("clip_id")
    for table in others.values():
        own = own.loc[own.index.intersection(table.index)]
    units, n_speakers = _units(own.index, speakers)
    times = np.ones((1, max(n_speakers, 1)))  # each once, then the resamples
    if n_speakers >= FEWEST_SPEAKERS and len(own) >= FEWEST_CLIPS:
        times = np.vstack([times, times_drawn(n_speakers, range(resamples))])
    most = min(drawn - TARGET, MOST)
    counts, n_raters = own[list(emotions)].to_numpy(), own["n_raters"].to_numpy()
    seeds = (np.random.default_rng([seed, number]) for number in range(DRAWS))
    answers = [draw_answers(counts, n_raters, TARGET + most, rng) for rng in seeds]
    predicting = np.stack([table.loc[own.index].to_numpy(float) for table in others.values()])
    values = _rhos(times, units, np.stack(answers), predicting)
    who = [f"{k} other listener{'s' if k > 1 else ''}" for k in range(1, most + 1)]
    about = {"who": [*who, *others], "listeners": [*range(1, most + 1), *[np.nan] * len(others)]}
    about |= {"n": len(own), "n_speakers": n_speakers}
    table = pd.DataFrame(about | _bounds(values, most, n_speakers))
    table[WORTH] = table[WORTH].mask(table[WORTH] > most, np.inf)
    table.loc[: most - 1, WORTH[1:]] = np.nan  # k listeners are worth k, surely
    return table


def worth_in_words(table: pd.DataFrame) -> pd.Series:
    """ "3.1 listeners [2.3, more than 4]" for each row of `worth_in_listeners`."""
    most = table["listeners"].max()
    said = table[WORTH].map(lambda x: f"{x:.1f}" if np.isfinite(x) else f"more than {most:.0f}")
    intervals = " [" + said["worth_low"] + ", " + said["worth_high"] + "]"
    return said["worth"] + " listeners" + intervals.where(table["worth_low"].notna(), "")


def _shares(
    votes: pd.DataFrame, emotions: Sequence[str], clips: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Each panel's shares of these clips, as far as it has votes for them."""
    votes = votes[votes["clip_id"].isin(clips)].set_index("clip_id")
    shares = votes[list(emotions)].div(votes["n_raters"], axis=0)
    return {panel: shares[votes["panel"] == panel] for panel in votes["panel"].unique()}


def _units(clips: Sequence[str], speakers: Mapping[str, str] | None) -> tuple[np.ndarray, int]:
    """Number the speakers of these clips, (n,), and count them: 0 where one is not known."""
    of = pd.Series(clips).map({} if speakers is None else dict(speakers))
    if of.isna().any():
        return np.zeros(len(of), int), 0
    codes, names = pd.factorize(of)
    return codes, len(names)


def _bounds(values: np.ndarray, most: int, n_speakers: int) -> dict[str, np.ndarray]:
    """Means over emotions, worths, and their intervals, of values (1 + resamples, S, E)."""
    means = mean_over_emotions(values, np.isnan(values[0]).all(axis=0))
    worth = np.array([_worth(row, most) for row in means])
    columns = {}
    for name, (first, *samples) in {"rho": means, "worth": worth}.items():
        bounds = [interval(each, n_speakers) for each in np.transpose(samples)]
        low, high = np.transpose(bounds) if bounds else np.full((2, len(first)), np.nan)
        named = ["rho", "ci_speakers_low", "ci_speakers_high"] if name == "rho" else WORTH
        columns |= dict(zip(named, (first, low, high)))
    return columns


def _worth(rhos: np.ndarray, most: int) -> np.ndarray:
    """How many listeners each rho is worth, given those of 1 to `most` listeners first, (S,)."""
    curve = np.maximum.accumulate([0, *rhos[:most]])
    return np.interp(rhos, curve, range(most + 1), right=most + 1)


def _rhos(
    times: np.ndarray, units: np.ndarray, answers: np.ndarray, predicting: np.ndarray
) -> np.ndarray:
    """Rho of 1, 2, ... other listeners and of all that predicts, averaged over draws.

    Args:
        times, units: as in `rhos_of_levels`.
        answers: (draws, listeners, n, E).
        predicting: (P, n, E).

    Returns:
        (B, S, E), S = listeners - TARGET + P; NaN where no draw has one.
    """
    targets = answers[:, :TARGET].sum(axis=1)
    others = answers[:, TARGET:].cumsum(axis=1)
    values = []
    for emotion in range(targets.shape[-1]):
        target, other = targets[..., emotion], others[..., emotion]
        drawn = [rhos_of_levels(times, units, *pair) for pair in zip(target, other)]
        fixed = [rhos_of_levels(times, units, one, target) for one in predicting[..., emotion]]
        both = np.concatenate([np.stack(drawn, axis=1), np.stack(fixed, axis=2)], axis=2)
        values.append(np.ma.masked_invalid(both).mean(axis=1).filled(np.nan))  # over draws
    return np.stack(values, axis=-1)


def rhos_of_levels(
    times: np.ndarray, units: np.ndarray, values: np.ndarray, levels: np.ndarray
) -> np.ndarray:
    """Spearman's rho of one variable and each of several that take few values, in resamples.

    With c_i how often clip i counts, N_l the sum of c over level l, and M_l the mean rank there,
    less one half,

        rho = 12 sum_l M_l sum_(i in l) c_i (r_i - m) / sqrt(V V_l),  V_l = n^3 - sum_l N_l^3,

    where r_i is the rank by `values`, m the mean rank, and V as V_l. Clips of one unit with equal
    values are summed first.

    Args:
        times: how often each unit (speaker) is drawn, (B, U).
        units: each clip's, (n,), from 0.
        values: (n,).
        levels: (M, n) whole numbers, from 0.

    Returns:
        (B, M), NaN where either side is constant.
    """
    place = np.unique(values, return_inverse=True)[1]
    mean, spread = _mean_ranks(times @ _cross(units, place))
    size = times @ np.bincount(units)
    (unit, of), cell = np.unique([units, place], axis=1, return_inverse=True)  # cells (C,), (n,)
    weights = times[:, unit] * (mean[:, of] - size[:, None] / 2)  # (B, C)
    n_levels = levels.max() + 1
    within, by_unit = (
        np.stack([_cross(group, level, n_levels) for level in levels], axis=1)
        for group in (cell, units)
    )  # (C, M, L), (U, M, L)
    mean, spreads = _mean_ranks(np.tensordot(times, by_unit, 1))
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        found = np.vecdot(np.tensordot(weights, within, 1), mean)
        return 12 * found / np.sqrt(spread[:, None] * spreads)


def _cross(rows: np.ndarray, columns: np.ndarray, n_columns: int = 0) -> np.ndarray:
    """How many clips there are of each row and column, both (n,) from 0."""
    shape = rows.max() + 1, n_columns or columns.max() + 1
    table = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1])
    return table.reshape(shape).astype(float)


def _mean_ranks(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean rank, less one half, of each level with these counts, (..., L), and V, (...)."""
    spread = counts.sum(axis=-1) ** 3 - (counts**3).sum(axis=-1)
    return counts.cumsum(axis=-1) - counts / 2, spread


def draw_answers(
    votes: np.ndarray, n_raters: np.ndarray, listeners: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw the answers of some of each clip's listeners, without replacement.

    Args:
        votes: for each emotion, (n, E).
        n_raters: (n,), at least `listeners` each.
        listeners: how many.

    Returns:
        (listeners, n, E) int, 1 where a listener chose the emotion, else 0.
    """
    left, answers = votes.copy(), np.empty((listeners, *votes.shape), int)
    for number, answer in enumerate(answers):
        answer[:] = rng.random(votes.shape) < left / (n_raters - number)[:, None]
        left -= answer
    return answers
