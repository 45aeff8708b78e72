"""One layer of a store of all, the levels and differences of layers, and learned weights."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.extract import extract
from emoshare_utils.features.store import StoreError
from emoshare_utils.models.regressor import Sizes
from emoshare_utils.paths import Run
from emoshare_utils.results.comparisons import compare, together
from emoshare_utils.studies import layers, layers_figures
from emoshare_utils.training.settings import Training
from emoshare_utils.training.systems import load_network, train_system

EMOTIONS = ("Anger", "Joy")
SIZES = Sizes(cnn=(8,), pool=4, lstm=8, ffnn_1=(8,), ffnn_2=(8,))
QUICK = Training(learning_rate=0.03, batch_size=4, epochs=2, shared_trunk=True)


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "profiles").mkdir()
    monkeypatch.setenv("EMOSHARE_HOME", str(tmp_path))
    return Run("tiny")


@pytest.fixture
def every(corpus, run):
    return layers.open_layers(corpus, "untrained", run, "cpu")


def test_a_layer_of_all_is_that_layer_extracted_alone(corpus, every, tmp_path):
    for layer in range(every.layers):
        one = layers.OneLayer(every.folder, layer)
        alone = extract(corpus, load_encoder(f"untrained@{layer}", "cpu"), tmp_path / "alone")
        assert one.settings == alone.settings
        assert (one.width, one.layers) == (alone.width, 1)
        assert (one.lengths(["clip3", "clip0"]) == alone.lengths(["clip3", "clip0"])).all()
        for clip in corpus.clips["clip_id"]:
            frames = one.frames(clip)
            assert frames.flags.c_contiguous and frames.dtype == np.float16
            np.testing.assert_array_equal(frames, alone.frames(clip))


def test_layers_that_are_not_there_are_refused(corpus, every, tmp_path):
    for layer in (-1, every.layers):
        with pytest.raises(ValueError, match=f"layer = {layer}: .* has 4 side by side"):
            layers.OneLayer(every.folder, layer)
    single = extract(corpus, load_encoder("fbank", "cpu"), tmp_path / "alone")
    with pytest.raises(ValueError, match="layer = 0: .* has 1 side by side"):
        layers.OneLayer(single.folder, 0)


def test_a_damaged_layer_is_named(every):
    (frames,) = every.folder.glob("shard-*.npy")
    content = bytearray(frames.read_bytes())
    content[-1] ^= 1
    frames.write_bytes(content)
    one = layers.OneLayer(every.folder, 0)  # whose own frames are as they were
    with pytest.raises(StoreError, match="has changed"):
        for clip in one.index.index:
            one.frames(clip)


def test_all_layers_are_the_studys_own_unless_notebook_02_has_them(corpus, run, every):
    assert every.folder.parent == run.folder / "layers" / "features"
    assert not run.features.exists()
    mine = extract(corpus, load_encoder("untrained@all", "cpu"), run.features)
    assert layers.open_layers(corpus, "untrained", run, "cpu").folder == mine.folder


def test_systems_of_layers_have_folders_of_their_own_and_weights_are_read(corpus, every, tmp_path):
    stores = [layers.OneLayer(every.folder, 1), layers.OneLayer(every.folder, 2), every]
    systems = [
        train_system(corpus, store, 1, 5, tmp_path / "models", SIZES, QUICK, "cpu")
        for store in stores
    ]
    assert len({system.folder for system in systems}) == 3
    encoders = [system.predictions["encoder"].unique().item() for system in systems]
    assert encoders == ["untrained@1", "untrained@2", "untrained@all"]

    table = layers.learned_weights(systems[2:], every.width)
    assert list(table.columns) == ["seed", "emotion", "layer", "weight"]
    assert set(table["seed"]) == {5} and set(table["emotion"]) == set(EMOTIONS)
    assert np.allclose(table.groupby("emotion")["weight"].sum(), 1)
    scores = load_network(systems[2].folder, "Joy", every.width).layer_weights.scores
    expected = np.exp(scores.detach().numpy())
    found = table[table["emotion"] == "Joy"].sort_values("layer")["weight"]
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-5)
    (axes,) = layers_figures.weights(table, "untrained").axes
    assert axes.get_title(loc="left") == "untrained"
    low, high = axes.get_ylim()
    assert 0 < low < table["weight"].min() and table["weight"].max() < high < 1


@pytest.fixture(scope="module")
def heard():
    """Systems that predict with less and less noise, of 40 clips of 8 speakers and two seeds."""
    rng, rows = np.random.default_rng(0), []
    shares = rng.random((40, 2)).round(2)
    noise = {"m@0": 0.9, "m@1": 0.5, "m@2": 0.3, "m@all": 0.3, "fbank": 0.6, "m@1 + fbank": 0.2}
    for name, spread in noise.items():
        for seed in (0, 1):
            for column, emotion in enumerate(EMOTIONS):
                predicted = shares[:, column] + rng.normal(0, spread, 40)
                rows += [
                    (name, 1, emotion, seed, "devel", f"clip{i}", shares[i, column], predicted[i])
                    for i in range(40)
                ]
    columns = ["encoder", "architecture", "emotion", "seed", "split", "clip_id", "share"]
    speakers = {f"clip{i}": f"speaker{i % 8}" for i in range(40)}
    return pd.DataFrame(rows, columns=[*columns, "prediction"]), speakers


def test_levels_are_the_rhos_of_seeds_and_the_mean_with_its_interval(heard):
    predictions, speakers = heard
    table = layers.levels(predictions, EMOTIONS, speakers, 200)
    assert len(table) == 12 and (table["n_speakers"] == 8).all() and (table["n"] == 40).all()
    one = table[table["encoder"] == "m@1"]
    rows = predictions.query("encoder == 'm@1'").groupby(["seed", "emotion"])
    rho = {key: stats.spearmanr(x["share"], x["prediction"])[0] for key, x in rows}
    by_seed = [np.mean([rho[seed, emotion] for emotion in EMOTIONS]) for seed in (0, 1)]
    np.testing.assert_allclose(one["rho"], by_seed)
    np.testing.assert_allclose(one["mean_rho"], np.mean(by_seed))
    assert (one["ci_speakers_low"] < one["mean_rho"]).all()
    assert (one["mean_rho"] < one["ci_speakers_high"]).all()


def test_the_picture_has_layers_by_number_and_the_others_at_the_right(heard):
    predictions, speakers = heard
    table = layers.levels(predictions, EMOTIONS, speakers, 50)
    (axes,) = layers_figures.by_layer(table, "m").axes
    assert axes.get_title(loc="left") == "m, devel, n = 40 clips of 8 speakers"
    figure = layers_figures.by_layer(table, "m", "Architecture 1, one trunk")
    caption = figure.get_supxlabel()
    assert caption.startswith("Architecture 1, one trunk\n6 intervals, each by itself")
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert keys[:2] == ["mean over seeds", "each seed"]
    (dots,) = (line for line in axes.lines if line.get_markersize() == 2)
    assert not set(dots.get_xdata()) & set(axes.get_xticks()) and len(dots.get_xdata()) == 12
    names = [tick.get_text().replace("\n", " ") for tick in axes.get_xticklabels()]
    assert names == ["0", "1", "2", "layers weighted", "Mel filterbank", "L1 + Mel filterbank"]
    assert list(axes.get_xticks()) == [0, 1, 2, 3.5, 4.5, 5.5]
    many = [table[table["encoder"] == "m@0"].assign(encoder=f"m@{i}") for i in range(25)]
    (axes,) = layers_figures.by_layer(pd.concat([*many, table.iloc[6:]]), "m").axes
    assert len(axes.get_xticks()) == 13 + 3


def test_a_layer_of_another_encoder_beside_is_no_layer_of_this_one(heard):
    predictions, speakers = heard
    other = {"fbank": "m-3@2", "m@1 + fbank": "m@1 + m-3@2"}
    table = layers.levels(predictions.replace({"encoder": other}), EMOTIONS, speakers, 50)
    (axes,) = layers_figures.by_layer(table, "m").axes
    names = [tick.get_text().replace("\n", " ") for tick in axes.get_xticklabels()]
    assert names == ["0", "1", "2", "layers weighted", "m-3 L2", "L1 + m-3 L2"]


def test_intervals_together_are_wider_by_bonferroni(heard):
    predictions, speakers = heard
    pairs = [("m@all", "m@0"), ("m@2", "m@all"), ("m@1 + fbank", "m@1"), ("m@2", "m@1")]
    contrasts = {f"{a} − {b}": {(a, 1): 1, (b, 1): -1} for a, b in pairs}
    alone = compare(predictions, EMOTIONS, contrasts, "devel", 300, speakers)
    wider = together(alone)
    assert list(wider.columns) == list(alone.columns)
    ratio = stats.t.ppf(1 - 0.025 / 4, 7) / stats.t.ppf(0.975, 7)
    for bound in ("ci_speakers_low", "ci_speakers_high"):
        away = alone[bound] - alone["difference"]
        np.testing.assert_allclose(wider[bound] - wider["difference"], ratio * away)
    assert wider["note"].str.contains("intervals of all 4 together").all()
    holds_0 = (wider["ci_speakers_low"] <= 0) & (wider["ci_speakers_high"] >= 0)
    assert (wider.loc[holds_0, "sign"] == 0).all() and wider["sign"].iloc[0] == 1
    near = alone.iloc[:1].assign(ci_speakers_low=0.001, ci_low=0.001, sign=1)
    assert together(near)["sign"].item() == 1  # one by itself is no wider
    assert together(pd.concat([near, near]))["sign"].eq(0).all()
    unknown = alone.assign(ci_speakers_low=np.nan, ci_speakers_high=np.nan, n_speakers=0)
    assert together(unknown)["ci_speakers_low"].isna().all()
