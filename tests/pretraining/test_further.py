"""The third iteration: from hubert-mini's weights, over clips at three speeds, resumable."""

import json

import numpy as np
import pandas as pd
import soundfile

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.pretrained import MINI
from emoshare_utils.models.weights import read_tensors
from emoshare_utils.pretraining import further
from emoshare_utils.pretraining.plan import Plan


def test_it_goes_on_from_hubert_mini_and_says_so(tmp_path, monkeypatch):
    rng, names = np.random.default_rng(0), [f"{i}.wav" for i in range(6)]
    for name in names:
        soundfile.write(tmp_path / name, rng.normal(0, 0.1, 16_000), 16_000)
    clips = pd.DataFrame({"clip_id": names, "path": names, "split": "train", "speaker": names})
    clips = clips.assign(language="en", duration_s=1.0, Anger=0.5)
    corpus = Corpus("crema_d", tmp_path, ("Anger",), clips)
    monkeypatch.setattr(further.corpora, "load", lambda *_, **__: (corpus, None))
    monkeypatch.setattr(further.audio, "check", lambda corpus: (corpus, None))
    monkeypatch.setattr(further, "CLUSTERS", 8)
    plan = Plan(updates=2, seconds=3.0, seed=3, checkpoint_every=1)
    further.main("unused", str(tmp_path / "made"), plan)
    made = tmp_path / "made"
    start, end = (
        read_tensors(folder / "model.safetensors") for folder in (MINI / "hubert-mini", made)
    )
    moved = [(start[x].float() - end[x].float()).abs().max().item() for x in start]
    assert set(start) == set(end) and 0 < max(moved) < 0.1  # two small steps away
    assert load_encoder(str(made)).width == 448
    history = pd.read_csv(made / "history.csv")
    assert history["update"].tolist() == [1, 2] and set(history["iteration"]) == {3}
    card = (made / "README.md").read_text()
    for said in ("# hubert-mini-3", "0.9 1 1.1", "third iteration", "not on equal terms"):
        assert said in card, said
    assert "{" not in card and json.loads((made / "config.json").read_text())["model_type"]
