"""How the system that ships was made: `python -m emoshare_utils.predicting.make_shipped ROOT`.

ROOT is CREMA-D's folder. The number of epochs is chosen on a third of the train split's
speakers, left out for that; then one system is trained on all of them. The devel speakers take no
part in either: they calibrate the intervals. Everything is kept in `runs/ship`, from where
an interrupted run resumes.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emoshare_utils import corpora
from emoshare_utils.corpora import audio
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.extract import extract
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.models.regressor import Sizes
from emoshare_utils.paths import Run
from emoshare_utils.predicting.export import About, export_folder
from emoshare_utils.predicting.trained import SHIPPED, TrainedSystem
from emoshare_utils.training.settings import Training
from emoshare_utils.training.systems import System, train_system

ENCODER = "hubert-mini"
ARCHITECTURE = 2  # no interval tells it from 1 (differences_attention.csv); it shows its attention
MOST_EPOCHS, SEED = 8, 0
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
    "`python -m emoshare_utils.predicting.make_shipped` made this system; the number of epochs, "
    "{epochs}, was chosen on a third of the training actors, left out for that. Weights are stored "
    "with 16 bits, which changes a share by less than .001.",
    licence="Open Database License 1.0, contents under the Database Contents License 1.0",
    stored_as=torch.float16,  # half the size; `main` prints by how much it changes the shares
)
# of profiles/crema_d.yaml
SIZES = Sizes(cnn=(64,), pool=8, lstm=64, ffnn_1=(32,), ffnn_2=(32,))
TRAINING = Training(learning_rate=2e-3, batch_size=64, start_at_mean=True, average=0.98)


def rho_by_epoch(corpus: Corpus, store: FeatureStore, models: Path) -> pd.Series:
    """Train on two thirds of the train split's speakers, score on the others.

    Returns:
        epoch -> rho, the mean over emotions.
    """
    train = corpus.split("train")
    speakers = np.random.default_rng(SEED).permutation(train["speaker"].unique())
    left_out = train["speaker"].isin(speakers[: len(speakers) // 3])
    clips = train.assign(split=np.where(left_out, "devel", "train")).reset_index(drop=True)
    training = replace(TRAINING, epochs=MOST_EPOCHS, patience=MOST_EPOCHS)
    system = _train(corpus.with_clips(clips), store, models / "choice", training)
    return system.history.groupby("epoch")["devel_rho"].mean()


def train_on_all(
    corpus: Corpus, store: FeatureStore, epochs: int, models: Path
) -> tuple[Corpus, System]:
    """Train on the train split for so many epochs; the devel split is only predicted.

    One clip of train takes the place of the devel split: rho is not defined on one clip, so no
    epoch is better than another and the weights of the last one are kept.

    Returns:
        The corpus whose test split is the devel split of `corpus`, and the system.
    """
    clips = corpus.clips.assign(split=corpus.clips["split"].replace("devel", "test"))
    clips.loc[clips.index[clips["split"] == "train"][0], "split"] = "devel"
    relabelled = corpus.with_clips(clips)
    training = replace(TRAINING, epochs=epochs, patience=epochs)
    return relabelled, _train(relabelled, store, models / "all", training)


def _train(corpus: Corpus, store: FeatureStore, models: Path, training: Training) -> System:
    return train_system(corpus, store, ARCHITECTURE, SEED, models, SIZES, training, "cpu")


def main(root: str) -> None:
    """Do it all."""
    this = Run("ship")
    read, _ = corpora.load("crema_d", root, allow_missing=True)
    corpus, _ = audio.check(read)
    store = extract(corpus, load_encoder(ENCODER, "cpu"), this.features)
    rho = rho_by_epoch(corpus, store, this.models)
    print(rho.round(4).to_string())
    epochs = int(rho.idxmax())
    relabelled, system = train_on_all(corpus, store, epochs, this.models)
    actors = corpus.clips.groupby("split")["speaker"].nunique()
    data = ABOUT.data.format(**actors, epochs=epochs)
    to = this.folder / "shipped"
    about = replace(ABOUT, data=data)
    exported = export_folder(relabelled, [system.folder], this.features, to, about)
    print(f"rounding the weights changes a share by {_rounding(relabelled, system, exported):.1e}")
    print(f"{to}: copy it to {SHIPPED}")


def _rounding(corpus: Corpus, system: System, exported: TrainedSystem) -> float:
    """The largest difference between shares as trained and as exported, in the test split."""
    clips = corpus.split("test")
    shares = exported.shares([audio.read_audio(corpus.path(path)) for path in clips["path"]])
    trained = system.predictions.pivot(index="clip_id", columns="emotion", values="prediction")
    trained = trained.loc[clips["clip_id"], list(exported.emotions)]
    return float(np.abs(shares - trained.to_numpy()).max())


if __name__ == "__main__":
    main(*sys.argv[1:])
