"""How `hubert-mini-3` was made: `python -m emoshare_utils.pretraining.further ROOT FOLDER`.

A third iteration of `hubert-mini`, over the same clips at three speeds: labels are the clusters of
acoustics, as in the first iteration, and of `hubert-mini`'s layer 2; training continues from
`hubert-mini`'s weights. ROOT is CREMA-D's folder, of whose train split only the audio is used;
FOLDER gets the encoder. Stopped, the same command resumes.
"""

import sys
from pathlib import Path

from emoshare_utils import corpora
from emoshare_utils.corpora import audio
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.pretrained import FURTHER, MINI
from emoshare_utils.features.small_network import MiniConfig
from emoshare_utils.files import write_csv, write_text
from emoshare_utils.pretraining import targets
from emoshare_utils.pretraining.audio import listen
from emoshare_utils.pretraining.model_card import model_card
from emoshare_utils.pretraining.plan import Plan
from emoshare_utils.pretraining.pretrain import pretrain

START, LAYER = "hubert-mini", 2
SPEEDS = (0.9, 1.0, 1.1)
CLUSTERS = 500
MADE = "`python -m emoshare_utils.pretraining.further ROOT FOLDER` made it, and makes it again."
PLAN = Plan(
    updates=6000, seconds=32.0, learning_rate=7e-4, dropout=0.0, seed=3, checkpoint_every=100
)


def main(root: str, folder: str, plan: Plan = PLAN, config: MiniConfig = MiniConfig()) -> None:
    """Make the encoder, its history and its card."""
    to = Path(folder)
    read, _ = corpora.load("crema_d", root, allow_missing=True)
    corpus, _ = audio.check(read)
    speech = listen({"crema_d": corpus}, {"crema_d": SPEEDS})
    acoustic = targets.label_by_acoustics(speech, to / "labels-acoustic.npz", CLUSTERS)
    layer = load_encoder(f"{START}@{LAYER}", "cpu")
    more = targets.label_by_layer(speech, to / "labels-layer.npz", layer, CLUSTERS)
    labelled = speech.labelled(targets.side_by_side([acoustic, more]))
    history = pretrain("hubert", labelled, to, plan, config, MINI / START, "cpu", "float32")
    history = history.assign(iteration=3, objective="hubert", seed=plan.seed)
    write_csv(to / "history.csv", history)
    about = {"first": CLUSTERS, "second": CLUSTERS, "layer": LAYER, "name": FURTHER, "made": MADE}
    write_text(to / "README.md", model_card(to, speech, plan, history, "cpu", **about))


if __name__ == "__main__":
    main(*sys.argv[1:])
