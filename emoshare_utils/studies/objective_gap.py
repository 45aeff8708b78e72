"""The gap between two pretraining objectives: which systems to compare, and how."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from emoshare_utils.errors import NotMadeYet
from emoshare_utils.names import system
from emoshare_utils.results.comparisons import Contrasts, better_architectures
from emoshare_utils.results.predictions import read_networks
from emoshare_utils.studies.claims import encoder_contrast


def encoders_to_study(file: Path, asked: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The predictions of those of `asked` that were trained with every architecture of the run.

    The others are named in a printed line.

    Args:
        file: a run's predictions table.

    Returns:
        Their rows (the SVR's left out), and their names.

    Raises:
        FileNotFoundError: there is no table, or it has none of them.
    """
    networks = read_networks(file)
    networks = networks[networks["encoder"].isin(asked)]
    trained = networks.groupby("encoder")["architecture"].nunique()
    encoders = [name for name in asked if trained.get(name, 0) == trained.max()]
    if not encoders:
        raise NotMadeYet(
            f"{file} has none of the encoders asked for: run notebooks/03_training.ipynb with "
            f"encoder = {list(asked)}"
        )
    for name in asked:
        if name not in encoders:
            print(f"{name} is not trained with every architecture in this run: it is left out")
    return networks[networks["encoder"].isin(encoders)], encoders


def objective_contrasts(
    summary: pd.DataFrame, hubert: Sequence[str], wav2vec2: Sequence[str], others: Sequence[str]
) -> Contrasts:
    """HuBERT less wav2vec2.0, each the mean over architectures; then both against `others`.

    Against `others` (mel bands, the untrained control) each side has its better architecture.

    Args:
        summary: one row per system, of the split to compare on.
        hubert, wav2vec2: pairs of encoders, in the same order.
    """
    better = {encoder: (encoder, number) for encoder, number in better_architectures(summary)}
    for encoder in summary["encoder"].unique():
        better.setdefault(encoder, (encoder, int(summary["architecture"].min())))  # no rho at all
    numbers = sorted(summary["architecture"].unique())
    contrasts: dict[str, dict] = {}
    for pair in zip(hubert, wav2vec2):
        if better.keys() >= set(pair):
            name, weights = encoder_contrast(*pair, numbers)
            contrasts[name] = weights
    for name in (name for name in (*hubert, *wav2vec2) if name in better):
        for other in (other for other in others if other in better):
            a, b = better[name], better[other]
            contrasts[f"{system(*a)} − {system(*b)}"] = {a: 1, b: -1}
    return contrasts
