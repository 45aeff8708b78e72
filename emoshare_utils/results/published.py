"""A run's mean rho beside the published record of the same run."""

from pathlib import Path

import numpy as np
import pandas as pd

SAME = 0.0005  # equal to the three decimals that tables show
# Another processor adds in another order, which can change the epoch that is kept: the demo's
# twelve systems were up to .011 apart on one with AVX-512 and one without. Another seed starts from
# other weights: three seeds of a system on CREMA-D were up to .009 apart.
ANOTHER_PROCESSOR_OR_SEED = 0.015
COLUMNS = ["encoder", "architecture", "mean_rho", "published", "difference", "as_with"]


def beside_published(summary: pd.DataFrame, published_folder: Path) -> pd.DataFrame:
    """Compare the mean rho of each system on devel with the record in `fig3.csv`; means over seeds.

    Args:
        summary: one row per system, as from `score`.
        published_folder: of the run, `figures/published/<run>`.

    Returns:
        encoder, architecture, mean_rho, published, difference, and as_with: what gives such a
        difference ("the same", "another processor or seed", "something else"), or why there is
        none to judge ("no published number", "no rho", "other clips"). No row without a record.
    """
    file = Path(published_folder) / "fig3.csv"
    if not file.is_file():
        return pd.DataFrame(columns=COLUMNS)
    ours, theirs = (
        table[table["split"] == "devel"]
        .groupby(["encoder", "architecture"], sort=False)
        .agg(n=("n", "first"), mean_rho=("mean_rho", "mean"))
        for table in (summary, pd.read_csv(file))
    )
    table = ours.join(theirs.rename(columns={"n": "n_published", "mean_rho": "published"}))
    table["difference"] = table["mean_rho"] - table["published"]
    size = table["difference"].abs().round(6)
    reasons = {
        "no published number": table["published"].isna(),
        "no rho": size.isna(),
        "other clips": table["n"] != table["n_published"],
        "the same": size < SAME,
        "another processor or seed": size <= ANOTHER_PROCESSOR_OR_SEED,
    }
    table["as_with"] = np.select(list(reasons.values()), list(reasons), "something else")
    return table.reset_index()[COLUMNS]
