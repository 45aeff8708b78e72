"""Linear probes on features that carry, or do not carry, what is asked."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.studies.layer_choice import probe_layers
from emoshare_utils.studies.probes import can_be_probed, loudness, probe

RNG = np.random.default_rng(0)


@pytest.fixture
def clips():
    """240 clips: 12 train and 6 devel speakers, four sentences, a level of its own each."""
    n = 240
    speaker = np.arange(n) % 18
    return pd.DataFrame(
        {
            "clip_id": [f"clip{i}" for i in range(n)],
            "split": np.where(speaker < 12, "train", "devel"),
            "speaker": [f"s{i:02d}" for i in speaker],
            "sentence": [f"t{i}" for i in np.arange(n) // 18 % 4],
            "loudness": RNG.normal(size=n),
        }
    )


def features(clips, *columns, noise=0.1):
    """One-hot names and numbers, mixed at random into 64 features."""
    parts = [clips[c].to_numpy()[:, None] for c in columns if clips[c].dtype == float]
    parts += [pd.get_dummies(clips[c]).to_numpy(float) for c in columns if clips[c].dtype != float]
    x = np.concatenate(parts, axis=1)
    mixed = x @ RNG.normal(size=(x.shape[1], 64))
    return mixed + noise * RNG.normal(size=mixed.shape)


def score(table):
    return table.set_index("target")["score"]


def test_what_is_there_is_found_and_what_is_not_is_at_chance(clips):
    asked = ["speaker", "sentence", "loudness"]
    everything = probe(features(clips, *asked), clips, asked)
    assert list(everything["measure"]) == ["accuracy", "accuracy", "rho"]
    assert (score(everything) > 0.9).all()
    alone = score(probe(features(clips, "loudness"), clips, asked))
    assert alone["loudness"] > 0.95 and alone["speaker"] < 0.35 and alone["sentence"] < 0.45
    chance = everything.set_index("target")["chance"]
    devel = clips[clips["split"] == "devel"]
    assert chance["sentence"] == devel["sentence"].value_counts(normalize=True).max()
    assert chance["loudness"] == 0


def test_intervals_hold_the_score_and_are_those_of_the_speakers(clips):
    half = features(clips, "loudness", noise=3.0)
    few = probe(half, clips, ["loudness", "speaker", "sentence"])
    assert (few["ci_low"] <= few["score"]).all() and (few["score"] <= few["ci_high"]).all()
    assert (few["ci_high"] - few["ci_low"])[:2].min() > 0.02
    (one,) = probe(half, clips, ["loudness"]).itertuples()
    (many,) = probe(half, clips.assign(speaker=np.nan), ["loudness"]).itertuples()
    assert one.score == many.score and (one.ci_low, one.ci_high) != (many.ci_low, many.ci_high)


def test_a_probe_of_the_speaker_is_scored_on_other_sentences(clips):
    """What marks a speaker in one sentence only cannot be used in another."""
    both = clips.assign(pair=clips["speaker"] + clips["sentence"])
    assert score(probe(features(both, "pair"), clips, ["speaker"]))["speaker"] < 0.45
    free = clips.drop(columns="sentence")
    assert score(probe(features(both, "pair"), free, ["speaker"]))["speaker"] > 0.8


def test_the_best_layer_is_the_one_that_holds_the_shares(clips):
    shares = RNG.random((len(clips), 2))
    useful = features(clips.assign(a=shares[:, 0], b=shares[:, 1]), "a", "b")
    by_speaker = features(clips, "speaker")
    layers = np.stack([RNG.normal(size=useful.shape), useful, by_speaker], axis=1)
    rho = probe_layers(layers, shares, clips["speaker"])
    assert rho.shape == (3,) and rho.argmax() == 1 and rho[1] > 0.9
    assert abs(rho[0]) < 0.2


def test_no_speaker_is_both_fitted_on_and_scored(clips):
    """Shares that are the speaker's own are found by their features, unless that is ruled out."""
    shares = RNG.random(18)[clips["speaker"].astype("category").cat.codes][:, None]
    x = features(clips, "speaker", noise=0.01)[:, None]
    assert probe_layers(x, shares, clips["speaker"])[0] < 0.5
    assert probe_layers(x, shares, clips["clip_id"])[0] > 0.9


def test_unknown_speakers_are_taken_for_as_many_as_there_are_clips(clips):
    shares = RNG.random((len(clips), 1))
    x = features(clips.assign(a=shares[:, 0]), "a")[:, None]
    unknown = clips["speaker"].where(clips["speaker"] == "s00", np.nan)
    assert probe_layers(x, shares, unknown)[0] > 0.9


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("speaker", ""),
        ("loudness", ""),
        ("sentence", "is no column of the clip table"),
        ("partly", "is not known for 1 of 240 clips"),
        ("one", "has one value in train or devel alone"),
    ],
)
def test_what_cannot_be_probed(clips, column, reason):
    clips = clips.drop(columns="sentence").assign(one="a", partly=clips["sentence"])
    clips.loc[0, "partly"] = None
    assert can_be_probed(clips, column) == reason


def test_loudness_is_the_level_in_db(tmp_path, table):
    clips = table(2)
    (tmp_path / "wav").mkdir()
    tone = np.sqrt(2) * np.sin(np.arange(16_000) * 0.1)
    for path, level in zip(clips["path"], (0.1, 0.01)):
        soundfile.write(tmp_path / path, level * tone, 16_000, subtype="FLOAT")
    corpus = Corpus("table", tmp_path, ("Anger", "Joy"), clips)
    assert loudness(corpus) == pytest.approx([-20, -40], abs=0.01)
