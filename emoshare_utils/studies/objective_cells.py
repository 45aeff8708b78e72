"""The cells of the study of objectives, and how each is pretrained (notebook 09).

HuBERT with one iteration or two, on one clustering of MFCC or all of `targets.VIEWS`, and
wav2vec2.0. Every cell starts from the same weights, makes the same number of updates over the same
clips, crops and masks in the same order, and no share is read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from transformers import HubertConfig, HubertModel

from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.small_network import MiniConfig, start_as_filters
from emoshare_utils.files import checksum
from emoshare_utils.paths import shown
from emoshare_utils.pretraining import targets
from emoshare_utils.pretraining.audio import Audio
from emoshare_utils.pretraining.plan import Plan
from emoshare_utils.pretraining.pretrain import export, pretrain

CLUSTERING_SEED = 0  # of k-means, for every pretraining seed: cells share their first targets


class Cell(NamedTuple):
    """An objective, and what it predicts.

    Attributes:
        iterations: of HuBERT: with 2, the second half of the updates also predicts clusters of a
            layer of the first half's encoder.
        clusterings: of MFCC, pitch and level: the first so many of `targets.VIEWS`.
    """

    objective: str
    iterations: int = 1
    clusterings: int = 0


ALL = len(targets.VIEWS)
CELLS = {
    "wav2vec2": Cell("wav2vec2"),
    "hubert-1x1": Cell("hubert", 1, 1),
    "hubert-2x1": Cell("hubert", 2, 1),
    f"hubert-1x{ALL}": Cell("hubert", 1, ALL),
    f"hubert-2x{ALL}": Cell("hubert", 2, ALL),
}


def cell_label(name: str) -> str:
    """A cell's name as pictures have it: "HuBERT, 2 iterations, 7 clusterings"."""
    objective, iterations, clusterings = CELLS[name]
    if objective == "wav2vec2":
        return "wav2vec2.0"
    words = (("iteration", iterations), ("clustering", clusterings))
    return ", ".join(["HuBERT", *(f"{n} {word}{'s' * (n > 1)}" for word, n in words)])


class Recipe(NamedTuple):
    """What all cells have in common.

    Attributes:
        plan: of `Plan`, without the seed.
        network: the encoder's sizes.
        clusters: in each clustering.
        device, precision: as for `pretrain`.
    """

    plan: Mapping[str, Any]
    network: MiniConfig = MiniConfig()
    clusters: int = 500
    device: str = "auto"
    precision: str = "float32"

    @property
    def layer(self) -> int:
        """Whose clusters the second iteration predicts: the middle one, which no share chooses."""
        return (self.network.layers + 1) // 2


def pretrain_cell(name: str, seed: int, audio: Audio, work: Path, recipe: Recipe) -> pd.DataFrame:
    """Pretrain one cell with one seed into `work/<name>-<seed>`, or resume it.

    Returns:
        The history as `pretrain` gives it, both iterations below each other, with columns cell,
        iteration and seed.

    Raises:
        ValueError: the name is not one of `CELLS`; and as `pretrain`.
    """
    if name not in CELLS:
        raise ValueError(f"cell = {name!r}: expected one of {', '.join(CELLS)}")
    objective, iterations, clusterings = CELLS[name]
    common = (recipe.network, start(seed, work, recipe.network), recipe.device, recipe.precision)
    folder, first = work / f"{name}-{seed}", work / f"{name}-{seed}-first"
    plan = Plan.of({**recipe.plan, "seed": seed})
    if objective == "hubert":
        file = work / "labels.npz"
        labels = targets.label_by_acoustics(audio, file, recipe.clusters, CLUSTERING_SEED)
        audio = audio.labelled([clip[:, :clusterings] for clip in labels])
    if iterations == 1:
        history = pretrain(objective, audio, folder, plan, *common).assign(iteration=1)
    else:
        half = plan.updates // 2
        plans = [Plan.of({**recipe.plan, "seed": seed, "updates": half})]
        plans += [Plan.of({**recipe.plan, "seed": seed, "updates": half, "after": half})]
        one = pretrain(objective, audio, first, plans[0], *common)
        name_of_layer = f"{shown(first)}@{recipe.layer}"
        layer = load_encoder(name_of_layer, recipe.device, precision=recipe.precision)
        file = folder / "labels.npz"
        more = targets.label_by_layer(audio, file, layer, recipe.clusters, CLUSTERING_SEED)
        audio = audio.labelled(targets.side_by_side([audio.labels, more]))
        common = (recipe.network, first, *common[2:])
        two = pretrain(objective, audio, folder, plans[1], *common)
        history = pd.concat([one.assign(iteration=1), two.assign(iteration=2)], ignore_index=True)
    return history.assign(cell=name, objective=objective, seed=seed)


def start(seed: int, work: Path, network: MiniConfig) -> Path:
    """The folder of the encoder that every cell of this seed starts from: filters, then random."""
    folder = work / f"start-{seed}-{checksum(repr(network).encode())}"
    if not (folder / "model.safetensors").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(seed)
        settings = HubertConfig(**network.settings(), attn_implementation="eager")
        export(start_as_filters(HubertModel(settings)), folder)
    return folder
