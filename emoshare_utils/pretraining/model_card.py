"""The model card of a pretrained encoder: its data, objective, training and limits."""

import json
from importlib.resources import files
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file

from emoshare_utils.corpora.audio import MIN_SAMPLES
from emoshare_utils.device import choose_device
from emoshare_utils.pretraining.audio import Audio
from emoshare_utils.pretraining.plan import Plan
from emoshare_utils.pretraining.pretrain import IN_USE
from emoshare_utils.pretraining.targets import VIEWS

LICENCES = {
    "crema_d": "CREMA-D (Cao et al. 2014, doi:10.1109/TAFFC.2014.2336244), Open Database License "
    "1.0, contents under the Database Contents License 1.0",
    "simulated": "speech of the eSpeak NG synthesiser, made by this package; no person spoke",
}
OBJECTIVES = {
    "hubert": "HuBERT: prediction of cluster labels at masked and unmasked frames; first the "
    "clusters of MFCC, pitch and level over time ({views} views, {first} clusters each), then "
    "also those of layer {layer} of the resulting encoder ({second} clusters; the layer by a "
    "linear probe of train clips' shares), whose training continued from its weights",
    "further": "HuBERT, a third iteration of `hubert-mini` from its weights: prediction of cluster "
    "labels at masked and unmasked frames, of MFCC, pitch and level over time ({views} views, "
    "{first} clusters each) and of layer {layer} of `hubert-mini` ({second} clusters), over clips "
    "that are also played slower and faster",
    "wav2vec2": "wav2vec2.0: contrastive loss over quantised features, and diversity loss",
}


PURPOSE = (
    "to compare two objectives on equal terms:\n`hubert-mini` and `wav2vec2-mini` have the same "
    "network, the same audio and the same\nnumber of updates; the objective differs"
)
FURTHER_PURPOSE = (
    "for shares of emotion:\n`hubert-mini` trained further. It is not on equal terms with "
    "`wav2vec2-mini`: do not compare\nobjectives by it"
)


def model_card(
    folder: Path,
    audio: Audio,
    plan: Plan,
    history: pd.DataFrame,
    device: str,
    name: str = "",
    made: str = "Notebook 07 made it; `make figures PROFILE=pretraining` repeats that.",
    **targets: int,
) -> str:
    """The card of the encoder in `folder`.

    Args:
        plan: with the number of updates of all iterations.
        history: as `pretrain` returned it, with a column `iteration`, from 1.
        device: as `pretrain` took it.
        name: the encoder's; "": the objective's, with "-mini". Another is one trained further.
        made: the sentence that says how.
        targets: of HuBERT: `first` and `second`, the number of clusters, and the `layer` chosen.
    """
    config = json.loads((folder / "config.json").read_text())
    objective, spans_frame = config["model_type"], config["conv_kernel"][0] >= MIN_SAMPLES
    weights = load_file(folder / "model.safetensors").values()
    sources = audio.sources.assign(hours=audio.sources["hours"].round(2))
    corpora = sources["source"].unique()
    updates = history.groupby("iteration")["update"].max()
    parts = " + ".join(f"{number:,}" for number in updates)
    iterations = f" ({parts}, each with its own rise and fall of the learning rate)"
    threads = torch.get_num_threads()
    where = f"on {threads} thread{'s' * (threads > 1)} of the processor"
    where = "on the GPU" if choose_device(device).type == "cuda" else where
    template = files("emoshare_utils.pretraining").joinpath("model_card.md").read_text("utf-8")
    return template.format(
        name=name or f"{objective}-mini",
        purpose=FURTHER_PURPOSE if name else PURPOSE,
        made=made,
        licence="mit" if set(corpora) <= set(LICENCES) else "other",
        languages=", ".join(sorted(set(" ".join(sources["languages"]).split()))),
        objective=objective,
        described=OBJECTIVES["further" if name else objective].format(views=len(VIEWS), **targets),
        choice=", but the layer was chosen by shares" if objective == "hubert" else "",
        parameters=sum(weight.numel() for weight in weights) / 1e6,
        config=config,
        start="initialised as a filter bank" if spans_frame else "initialised at random",
        updates=updates.sum(),
        iterations=iterations if len(updates) > 1 else "",
        plan=plan,
        hours=history["seconds"].sum() / 3600,
        where=where,
        last=history.iloc[-1],
        in_use=IN_USE[objective],
        sources=markdown_table(sources),
        total=audio.hours,
        licences="; ".join(LICENCES.get(corpus, f"{corpus}: see there") for corpus in corpora),
    )


def markdown_table(table: pd.DataFrame) -> str:
    """The table's rows and columns in Markdown, values as they are."""
    rows = [table.columns, ["---"] * table.shape[1], *table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
