"""How the system that ships was made: `python -m emoshare_utils.predicting.make_shipped ROOT`.

ROOT is CREMA-D's folder. What is fused and for how many epochs each member is trained is chosen by
cross-validation over the train split's speakers, a third of them left out at a time; then the
members are trained on all of them. The devel speakers take no part in either: they calibrate the
intervals. Everything is kept in `runs/ship`, from where an interrupted run resumes.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emoshare_utils import corpora
from emoshare_utils.corpora import audio
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.encoders import load_encoders
from emoshare_utils.features.extract import extract_layers
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.files import write_csv
from emoshare_utils.models.regressor import Sizes
from emoshare_utils.names import label, members
from emoshare_utils.paths import Run
from emoshare_utils.predicting.export import About, export_folder
from emoshare_utils.predicting.trained import SHIPPED, TrainedSystem
from emoshare_utils.training.fusion import select_members
from emoshare_utils.training.settings import Training
from emoshare_utils.training.sweep import train_systems
from emoshare_utils.training.systems import System

MEMBERS = ("hubert-mini-3@2", "hubert-mini@2", "fbank")  # to choose from
ARCHITECTURE = 2  # no interval tells it from 1 (differences_attention.csv); it shows its attention
FOLDS, MOST_EPOCHS, SEED = 3, 14, 0
SIDE = "local:2"  # two systems side by side
ABOUT = About(
    split="test",  # what `train_on_all` calls the devel split
    seen="No network or encoder was trained on these speakers, and no epoch was chosen on them. "
    "The sizes and the learning rate are those of profiles/crema_d.yaml, which were found with the "
    "scores of these speakers in sight: rho may be a little optimistic for that.",
    data="CREMA-D (Cao et al. 2014): actors say 12 short English sentences with an emotion that "
    "they intend, and people who hear the voice alone choose one of six emotions. A share is the "
    "fraction of a clip's listeners who chose it; a clip's shares sum to 1, the predicted ones "
    "need not. Of the 91 actors of the release, {train} trained the networks and {devel} others "
    "calibrated the intervals. Their audio is band-limited to 5.5 kHz (a copy at 11,025 Hz). "
    "`python -m emoshare_utils.predicting.make_shipped` made this system; its feature sets and "
    "their epochs ({epochs}) were chosen by cross-validation over the training actors. "
    "Weights are stored with 16 bits, which changes a share by less than .001.",
    licence="Open Database License 1.0, contents under the Database Contents License 1.0",
    stored_as=torch.float16,  # half the size; `main` prints by how much it changes the shares
)
# of profiles/crema_d.yaml
SIZES = Sizes(cnn=(64,), pool=8, lstm=64, ffnn_1=(32,), ffnn_2=(32,))
TRAINING = Training(
    learning_rate=2e-3,
    batch_size=64,
    start_at_mean=True,
    average=0.98,
    loss="soft_rank",
    recalibrate=True,
    shared_trunk=True,
)


def choose(
    corpus: Corpus, stores: Mapping[str, FeatureStore], models: Path
) -> tuple[dict[str, int], pd.DataFrame]:
    """Train every member without a third of the train split's speakers, and score it on these.

    Returns:
        The feature sets to fuse and their numbers of epochs, and the steps of the choice.
    """
    train, systems = corpus.split("train"), []
    speakers = np.random.default_rng(SEED).permutation(train["speaker"].unique())
    training = replace(TRAINING, epochs=MOST_EPOCHS, patience=MOST_EPOCHS)
    request = {"architecture": ARCHITECTURE, "seed": SEED, "sizes": SIZES, "training": training}
    requests = [{"store": store, **request} for store in stores.values()]
    for fold, left_out in enumerate(np.array_split(speakers, FOLDS)):
        split = np.where(train["speaker"].isin(left_out), "devel", "train")
        without = corpus.with_clips(train.assign(split=split).reset_index(drop=True))
        systems += train_systems(without, requests, models / f"fold-{fold}", "cpu", SIDE)
    predictions = pd.concat([system.predictions for system in systems], ignore_index=True)
    speaker = train.set_index("clip_id")["speaker"]
    chosen, steps = select_members(predictions, corpus.emotions, speaker)
    history = pd.concat([system.history for system in systems])
    rho = history.groupby(["encoder", "epoch"])["devel_rho"].mean().unstack()
    print(rho.round(3).to_string())
    return {name: int(rho.loc[name].idxmax()) for name in members(chosen)}, steps


def train_on_all(
    corpus: Corpus,
    stores: Mapping[str, FeatureStore],
    epochs: Mapping[str, int],
    models: Path,
) -> tuple[Corpus, list[System]]:
    """Train on the train split for so many epochs; the devel split is only predicted.

    One clip of train takes the place of the devel split: rho is not defined on one clip, so no
    epoch is better than another and the weights of the last one are kept.

    Returns:
        The corpus whose test split is the devel split of `corpus`, and the systems.
    """
    clips = corpus.clips.assign(split=corpus.clips["split"].replace("devel", "test"))
    clips.loc[clips.index[clips["split"] == "train"][0], "split"] = "devel"
    relabelled, requests = corpus.with_clips(clips), []
    for name, number in epochs.items():
        training = replace(TRAINING, epochs=number, patience=number)
        request = {"architecture": ARCHITECTURE, "seed": SEED, "sizes": SIZES, "training": training}
        requests.append({"store": stores[name], **request})
    return relabelled, train_systems(relabelled, requests, models / "all", "cpu", SIDE)


def main(root: str) -> None:
    """Do it all."""
    this = Run("ship")
    read, _ = corpora.load("crema_d", root, allow_missing=True)
    corpus, _ = audio.check(read)
    stores = {
        encoder.name: store
        for layers in load_encoders(MEMBERS, "cpu")
        for encoder, store in zip(layers, extract_layers(corpus, layers, this.features))
    }
    epochs, steps = choose(corpus, stores, this.models)
    print(steps.round(4).to_string())
    write_csv(this.folder / "choice.csv", steps)
    relabelled, systems = train_on_all(corpus, stores, epochs, this.models)
    actors = corpus.clips.groupby("split")["speaker"].nunique()
    said = ", ".join(f"{label(name)} {number}" for name, number in epochs.items())
    about = replace(ABOUT, data=ABOUT.data.format(**actors, epochs=said))
    folders, to = [system.folder for system in systems], this.folder / "shipped"
    exported = export_folder(relabelled, folders, this.features, to, about)
    print(f"rounding the weights changes a share by {_rounding(relabelled, systems, exported):.1e}")
    print(f"{to}: copy it to {SHIPPED}")


def _rounding(corpus: Corpus, systems: Sequence[System], exported: TrainedSystem) -> float:
    """The largest difference between shares as trained and as exported, in the test split."""
    clips = corpus.split("test")
    shares = exported.shares([audio.read_audio(corpus.path(path)) for path in clips["path"]])
    tables = pd.concat([system.predictions for system in systems])
    trained = tables.groupby(["clip_id", "emotion"])["prediction"].mean().unstack()
    trained = trained.loc[clips["clip_id"], list(exported.emotions)]
    return float(np.abs(shares - trained.to_numpy()).max())


if __name__ == "__main__":
    main(*sys.argv[1:])
