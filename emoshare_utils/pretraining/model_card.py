"""The model card of an encoder pretrained here: what it heard, what it was asked, its limits."""

import json
from importlib.resources import files
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file

from emoshare_utils.corpora.audio import MIN_SAMPLES
from emoshare_utils.pretraining.audio import Audio
from emoshare_utils.pretraining.plan import Plan
from emoshare_utils.pretraining.targets import VIEWS

LICENCES = {
    "crema_d": "CREMA-D (Cao et al. 2014, doi:10.1109/TAFFC.2014.2336244), Open Database License "
    "1.0, contents under the Database Contents License 1.0",
    "simulated": "speech of the eSpeak NG synthesiser, made by this package; no person spoke",
}
OBJECTIVES = {
    "hubert": "HuBERT: prediction of cluster labels, of hidden frames and of seen ones alike, "
    "first those of MFCC, pitch and level over time ({views} views, {first} clusters each), then "
    "also those of layer {layer} of the encoder that this gave ({second} clusters; the layer by a "
    "linear probe of train clips' shares), whose training went on from its weights",
    "wav2vec2": "wav2vec2.0: contrastive loss over quantised features, and diversity loss",
}


def model_card(
    name: str,
    folder: Path,
    heard: Audio,
    plan: Plan,
    history: pd.DataFrame,
    where: str,
    **targets: int,
) -> str:
    """The card of the encoder in `folder`.

    Args:
        name: as "hubert-mini".
        history: as `pretrain` returned it, with a column `iteration`, from 1.
        where: the computing that took the time, as "on one core".
        targets: HuBERT's `first` and `second` number of clusters, and the `layer` between.
    """
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors").values()
    sources = heard.sources.assign(hours=heard.sources["hours"].round(2))
    last, objective = history.iloc[-1], config["model_type"]
    made = history.groupby("iteration")["update"].max()
    parts = " + ".join(f"{updates:,}" for updates in made)
    corpora = sources["source"].unique()
    template = files("emoshare_utils.pretraining").joinpath("model_card.md").read_text("utf-8")
    return template.format(
        name=name,
        licence="mit" if set(corpora) <= set(LICENCES) else "other",
        objective=objective,
        languages=", ".join(sorted(set(" ".join(sources["languages"]).split()))),
        told=OBJECTIVES[objective].format(views=len(VIEWS), **targets),
        parameters=sum(weight.numel() for weight in weights) / 1e6,
        convolutions=len(config["conv_dim"]),
        kernel=config["conv_kernel"][0],
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        choice=", but the layer was chosen by shares" if objective == "hubert" else "",
        start="a bank of filters at first" if config["conv_kernel"][0] >= MIN_SAMPLES else "random",
        updates=made.sum(),
        iterations=f" ({parts}, the rate of each rising and falling anew)" if len(made) > 1 else "",
        hidden=plan.hidden,
        span=plan.span,
        dropout=plan.dropout,
        seconds=plan.seconds,
        rate=plan.learning_rate,
        seed=plan.seed,
        hours=history["seconds"].sum() / 3600,
        where=where,
        loss=last["loss"],
        accuracy=last["accuracy"],
        use=last["use"],
        what="clusters" if objective == "hubert" else "codebook entries",
        sources=markdown_table(sources),
        total=heard.hours,
        licences="; ".join(LICENCES.get(corpus, f"{corpus}: see there") for corpus in corpora),
    )


def markdown_table(table: pd.DataFrame) -> str:
    """The table's rows and columns as they are."""
    rows = [table.columns, ["---"] * table.shape[1], *table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
