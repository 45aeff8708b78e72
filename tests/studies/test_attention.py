"""What attention looks at, and other weights over the same states."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from emoshare_utils.corpora import audio
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.extract import extract
from emoshare_utils.models.layers import masked_mean
from emoshare_utils.models.padding import pad
from emoshare_utils.models.regressor import Sizes
from emoshare_utils.results.metrics import spearman
from emoshare_utils.studies import attention, attention_figures
from emoshare_utils.training.settings import Training
from emoshare_utils.training.systems import load_network, train_system

SIZES = Sizes(cnn=(8,), pool=4, lstm=8, ffnn_1=(8,), ffnn_2=(8,))
QUICK = Training(learning_rate=2e-2, batch_size=8, epochs=2, start_at_mean=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus of 60 noises, their frames, and both architectures' systems."""
    folder, rng, rows = tmp_path_factory.mktemp("heard"), np.random.default_rng(0), []
    for number in range(60):
        n, loud = rng.integers(6_000, 20_000), rng.random()
        samples = rng.uniform(-0.5, 0.5, n) * loud * np.sin(np.linspace(0, 7, n))
        soundfile.write(folder / f"{number}.wav", samples, 16_000)
        about = {"clip_id": f"{number}", "path": f"{number}.wav", "speaker": f"s{number % 6}"}
        about |= {"split": "train" if number < 30 else "devel", "language": "en", "n_raters": 9}
        rows.append(about | {"duration_s": None, "Joy": round(loud, 2), "Fear": 1 - round(loud, 2)})
    corpus, _ = audio.check(Corpus("made", folder, ("Joy", "Fear"), pd.DataFrame(rows)))
    store = extract(corpus, load_encoder("mfcc", "cpu"), folder / "features")
    systems = [
        train_system(corpus, store, a, 0, folder / "models", SIZES, QUICK, "cpu") for a in (1, 2)
    ]
    return corpus, store, *systems


@pytest.fixture(scope="module")
def attended(made):
    corpus, store, _, second = made
    return attention.attend(second.folder, store, corpus)


def test_learned_weights_give_the_systems_own_predictions(made, attended):
    _, _, _, second = made
    own = second.predictions.set_index(["clip_id", "emotion"])["prediction"]
    learned = attended.predictions[attended.predictions["weights"] == attention.LEARNED]
    learned = learned.set_index(["clip_id", "emotion"])["prediction"]
    assert len(learned) == 60 and own.std() > 1e-3
    np.testing.assert_allclose(learned[own.index], own, atol=1e-5)


def test_other_weights_by_hand(made, attended):
    corpus, store, _, second = made
    network = load_network(second.folder, "Joy", store.width)
    clip = corpus.split("devel")["clip_id"].iloc[3]
    with torch.no_grad():
        features, lengths = pad([store.frames(clip)])
        frames, n = network.cnn(network.standardise(features, lengths), lengths)
        states, _ = network.lstm(frames, n)
        uniform = network.ffnn(masked_mean(states, n)).item()
        final = network.ffnn(states[:, n - 1].squeeze(1)).item()
    rows = attended.predictions.query("clip_id == @clip and emotion == 'Joy'")
    found = rows.set_index("weights")["prediction"]
    assert found["uniform"] == pytest.approx(uniform, abs=1e-5)
    assert found["final state"] == pytest.approx(final, abs=1e-5)
    weights = attended.weights["Joy"][clip]
    assert len(weights) == n.item() and weights.sum() == pytest.approx(1, abs=1e-5)
    assert attended.state_s == pytest.approx(4 * 0.01)  # four frames of 10 ms


def test_loud_states_weigh_more_under_loudness():
    heard = np.zeros((50, 3))
    heard[:, 2] = np.linspace(-6, 0, 50)
    beside = attention._at_states(heard, 10, 0.1)
    assert (np.diff(beside["loudness"]) > 0).all()
    np.testing.assert_allclose(beside["position"], np.arange(10) / 10 + 0.05)


def test_entropy_is_1_for_equal_weights_and_0_for_a_single_one():
    assert attention.entropy(np.full(7, 1 / 7)) == pytest.approx(1)
    assert attention.entropy(np.eye(7)[2]) == 0
    assert attention.entropy(np.ones(1)) == 1


def test_correlates_are_means_over_clips(made, attended):
    corpus, *_ = made
    speakers = corpus.clips.set_index("clip_id")["speaker"]
    found = attention.correlates(attended, speakers, 100).set_index(["emotion", "what"])
    weights = attended.weights["Joy"]
    late = [spearman(w, np.arange(len(w))) for w in weights.values() if len(w) >= 5]
    row = found.loc["Joy", "position"]
    assert row["average"] == pytest.approx(np.mean(late))
    assert row["low"] < row["average"] < row["high"] and row["n_speakers"] == 6
    figure = attention_figures.correlates(found.reset_index(), "HuBERT-mini (A2), seed 0")
    assert [a.get_xlabel() for a in figure.axes] == list(attention_figures.LABELS.values())
    assert figure.get_supxlabel().startswith("HuBERT-mini (A2), seed 0\n")
    flat = found.reset_index()
    (first, *_), again = flat["emotion"].unique(), flat["emotion"].nunique()
    same = flat[flat["emotion"] == first].assign(emotion="the same")
    axes = attention_figures.correlates(pd.concat([flat, same])).axes[0]
    names = [tick.get_text().replace("\n", " ") for tick in axes.get_yticklabels()]
    assert names[0] == f"{first}, the same" and len(names) == again


def test_a_caption_says_that_one_trunk_is_shared():
    said = attention_figures.whose("hubert-mini@2", 2, 0, one_trunk=True)
    assert said == ("HuBERT-mini L2 (A2), seed 0; one trunk: rows differ only by the epoch kept")
    assert attention_figures.whose("fbank", 2, 1) == "Mel filterbank (A2), seed 1"


def test_replaced_is_a_table_of_systems(made, attended):
    _, _, _, second = made
    systems = attention.replaced(attended, second.predictions)
    assert set(systems["encoder"]) == set(attention.WEIGHTS)
    assert len(systems) == 4 * len(second.predictions)
    assert set(second.predictions.columns) == set(systems.columns)


def test_gain_by_entropy_against_a_plain_sum(made, attended):
    corpus, _, first, second = made
    speakers = corpus.clips.set_index("clip_id")["speaker"]
    one, two = (s.predictions.query("emotion == 'Joy'") for s in (first, second))
    found = attention.gain_by_entropy(attended, second.predictions, first.predictions, speakers, 50)
    one, two = (x.set_index("clip_id") for x in (one, two))
    gain = (one["prediction"] - one["share"]).abs() - (two["prediction"] - two["share"]).abs()
    entropies = attended.clips.query("emotion == 'Joy'").set_index("clip_id")["entropy"]
    expected = spearman(entropies.to_numpy(), gain[entropies.index].to_numpy())
    row = found.set_index("emotion").loc["Joy"]
    assert row["rho"] == pytest.approx(expected) and row["low"] <= row["high"]


def test_architecture_1_has_no_attention(made):
    corpus, store, first, _ = made
    with pytest.raises(ValueError, match="has no attention: name a system of Architecture 2"):
        attention.attend(first.folder, store, corpus)
