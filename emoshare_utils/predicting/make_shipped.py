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

from emoshare_utils import corpora
from emoshare_utils.corpora import audio
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.extract import extract
from emoshare_utils.features.store import FeatureStore
from emoshare_utils.models.regressor import Sizes
from emoshare_utils.paths import Run
from emoshare_utils.training.settings import Training
from emoshare_utils.training.systems import System, train_system

ENCODER = "hubert-mini"
ARCHITECTURE = 2  # no interval tells it from 1 (differences_attention.csv); it shows its attention
MOST_EPOCHS, SEED = 8, 0
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
    relabelled, system = train_on_all(corpus, store, int(rho.idxmax()), this.models)


if __name__ == "__main__":
    main(*sys.argv[1:])
