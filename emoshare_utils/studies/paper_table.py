"""The paper's own Table 1 and Table 2, recomputed, and the intervals of their numbers.

Only the printed correlations are known, so intervals are those of a normal model: a share and two
systems' predictions of it are three normal variables, correlated as printed.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from emoshare_utils.names import ARCHITECTURES, label, ordered
from emoshare_utils.results.bootstrap import CONFIDENCE
from emoshare_utils.results.paper import paper_table1, paper_table2

CLIPS = 9_925  # the devel split, on which the paper reports
LISTENERS = "the paper's listeners"
PRECISION = 1e-3  # printed numbers may be rounded or cut off at three places


def means() -> pd.DataFrame:
    """The mean over the nine emotions of each system in Table 1.

    Returns:
        encoder, architecture (null for "baseline"), mean: 11 rows.
    """
    table = paper_table1()
    table = table[table["encoder"] != "fbank"]  # the acoustic row, which stands there twice
    systems = table.groupby(["encoder", "architecture"], dropna=False)["rho"].mean()
    rows = systems.rename("mean").reset_index()
    place = {name: number for number, name in enumerate(ordered(rows["encoder"]))}
    order = rows["encoder"].map(place).sort_values(kind="stable").index
    return rows.loc[order].reset_index(drop=True)


def readings() -> pd.DataFrame:
    """The averages in Table 2 beside those that follow from Table 1.

    Returns:
        encoder, printed, architecture_1, architecture_2, better_per_emotion (the mean of the
        larger rho for each emotion, which is no single system's score), derived: the readings
        within 0.001 of what is printed.
    """
    table = paper_table1().dropna(subset="architecture")
    by_emotion = table.pivot(index=["encoder", "emotion"], columns="architecture", values="rho")
    by_emotion["better"] = by_emotion.max(axis=1)
    averages = by_emotion.groupby("encoder").mean().loc[paper_table2()["encoder"]]
    averages.columns = ["architecture_1", "architecture_2", "better_per_emotion"]
    printed = paper_table2().set_index("encoder")["mean_rho"].rename("printed")
    close = averages.sub(printed, axis=0).abs() < PRECISION
    names = np.array(["Architecture 1", "Architecture 2", "better per emotion"])
    derived = ["; ".join(names[row]) or "none" for row in close.to_numpy()]
    return pd.concat([printed, averages], axis=1).assign(derived=derived).reset_index()


def changes() -> pd.DataFrame:
    """Table 2's percentages, 100 (a - b) / b, for each reading of a and of the baseline b.

    Returns:
        encoder, printed (the percentage), then for b = 0.500 as printed and for b = 0.4997, the
        mean of the baseline's column: architecture_2 and better_per_emotion.
    """
    averages = readings()
    table = pd.DataFrame({"encoder": averages["encoder"]})
    table["printed"] = paper_table2()["change_percent"]
    column_mean = means().set_index("encoder").loc["baseline", "mean"]
    for name, b in (("printed", paper_table2()["baseline_mean_rho"][0]), ("column", column_mean)):
        for reading in ("architecture_2", "better_per_emotion"):
            table[f"{reading}_{name}_baseline"] = 100 * (averages[reading] - b) / b
    return table


def gaps() -> pd.DataFrame:
    """How far Architecture 2's mean is from Architecture 1's, and the best one's from the baseline.

    Returns:
        encoder, against, gap (of the means), change_percent of what it is against.
    """
    systems = means().set_index(["encoder", "architecture"])["mean"]
    pairs = [(encoder, (encoder, 1)) for encoder in paper_table2()["encoder"]]
    baseline = systems.index[systems.index.get_level_values("encoder") == "baseline"][0]
    rows = []
    for encoder, other in [*pairs, ("hubert-large", baseline)]:
        gap = systems[encoder, 2] - systems[other]
        against = label("baseline") if other == baseline else ARCHITECTURES[other[1]].name
        about = {"encoder": encoder, "against": against, "gap": gap}
        rows.append(about | {"change_percent": 100 * gap / systems[other]})
    return pd.DataFrame(rows)


def fisher_interval(
    rho: float, n: int = CLIPS, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The confidence interval of one emotion's rho over n clips, by Fisher's transformation.

    artanh(rho) +- z sqrt(1.06 / (n - 3)), with 1.06 for Spearman's rho (Fieller et al. 1957).
    """
    reach = stats.norm.ppf((1 + confidence) / 2) * np.sqrt(1.06 / (n - 3))
    return float(np.tanh(np.arctanh(rho) - reach)), float(np.tanh(np.arctanh(rho) + reach))


def difference_half_width(
    rho_a: float, rho_b: float, between: float, n: int = CLIPS, draws: int = 400, seed: int = 0
) -> float:
    """Half the 95 % interval of rho_a - rho_b, two systems' scores on the same n clips.

    From `draws` simulated corpora of n clips, for one emotion.

    Args:
        rho_a, rho_b: each system's rho with the share.
        between: rho between the two systems' predictions.

    Raises:
        ValueError: no three variables have these correlations.
    """
    ranks = np.array([[1, rho_a, rho_b], [rho_a, 1, between], [rho_b, between, 1]])
    pearson = 2 * np.sin(np.pi / 6 * ranks)  # of normal variables that have these rhos
    if np.linalg.eigvalsh(pearson)[0] <= 0:
        raise ValueError(
            f"between = {between}: no two predictions with rho {rho_a} and {rho_b} to one share "
            "have this correlation; set it nearer to 1"
        )
    rng, mix = np.random.default_rng(seed), np.linalg.cholesky(pearson)
    differences = np.empty(draws)
    for draw in range(draws):
        values = mix @ rng.standard_normal((3, n))
        share, *predictions = 1.0 + values.argsort(axis=1).argsort(axis=1)  # no ties
        scores = [np.corrcoef(share, prediction)[0, 1] for prediction in predictions]
        differences[draw] = scores[0] - scores[1]
    return float(stats.norm.ppf((1 + CONFIDENCE) / 2) * differences.std(ddof=1))


def differences(
    rho_a: float, rho_b: float, between: Sequence[float], n: int = CLIPS, draws: int = 400
) -> pd.DataFrame:
    """`difference_half_width` at several correlations between the two systems.

    Returns:
        between, one_emotion (the half-width for one emotion, and for a mean over nine whose
        errors are the same), nine_emotions (for a mean over nine whose errors are independent).
    """
    one = np.array([difference_half_width(rho_a, rho_b, rho, n, draws) for rho in between])
    return pd.DataFrame({"between": between, "one_emotion": one, "nine_emotions": one / 3})
