"""Your numbers beside the published record."""

import pandas as pd
import pytest

from emoshare_utils.results.published import COLUMNS, beside_published


def summary(**mean_rhos: float | list[float]) -> pd.DataFrame:
    """One row per encoder and seed on devel, all of Architecture 1."""
    rows = [
        {"encoder": encoder, "architecture": 1, "seed": seed, "split": split, "n": 9, "mean_rho": x}
        for encoder, rhos in mean_rhos.items()
        for seed, rho in enumerate(rhos if isinstance(rhos, list) else [rhos])
        for split, x in (("devel", rho), ("test", rho + 0.5))
    ]
    return pd.DataFrame(rows)


def test_differences_are_judged_by_what_gives_such_ones(tmp_path):
    record = summary(a=0.6, b=0.6, c=[0.59, 0.61], d=0.6, e=0.6, lost=0.9, f=0.6)
    record.to_csv(tmp_path / "fig3.csv", index=False)
    ours = summary(a=0.6004, b=0.605, c=0.59, d=0.5849, e=0.6, f=float("nan"), new=0.6)
    ours.loc[ours["encoder"] == "e", "n"] = 8
    table = beside_published(ours, tmp_path)
    assert list(table.columns) == COLUMNS
    assert dict(zip(table["encoder"], table["as_with"])) == {
        "a": "the same",
        "b": "another processor or seed",
        "c": "another processor or seed",
        "d": "something else",
        "e": "other clips",
        "f": "no rho",
        "new": "no published number",
    }
    row = table.set_index("encoder").loc["b"]
    assert list(row[["mean_rho", "published", "difference"]]) == pytest.approx([0.605, 0.6, 0.005])


def test_without_a_record_there_is_nothing_to_compare(tmp_path):
    table = beside_published(summary(a=0.6), tmp_path / "none")
    assert table.empty and list(table.columns) == COLUMNS
