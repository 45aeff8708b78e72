"""The paper's own numbers, which come with the package."""

from importlib.resources import files

import pandas as pd

PAPER_CORPUS = "compare23"


def paper_table1() -> pd.DataFrame:
    """The paper's Table 1, tidy: encoder, architecture (null for "baseline"), emotion, rho.

    The paper names one acoustic row, MFCC Features, and describes 40 mel bands: it stands here
    once as "mfcc" and once as "fbank".
    """
    table = _packaged("paper_table1.csv").astype({"architecture": "Int64"})
    filterbank = table[table["encoder"] == "mfcc"].assign(encoder="fbank")
    return pd.concat([table, filterbank], ignore_index=True)


def paper_table2() -> pd.DataFrame:
    """The paper's Table 2 as printed: encoder, mean_rho, baseline_mean_rho, change_percent."""
    return _packaged("paper_table2.csv")


def _packaged(name: str) -> pd.DataFrame:
    with (files("emoshare_utils.results") / name).open(encoding="utf-8") as file:
        return pd.read_csv(file)
