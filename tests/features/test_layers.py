"""Several layers of one encoder come from one pass, and are those of a pass each, to the byte."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import transformers

from emoshare_utils.features import extract as extraction
from emoshare_utils.features import fill as filling
from emoshare_utils.features.encoder import Encoder, EncoderError
from emoshare_utils.features.encoders import (
    ENCODERS,
    batch_errors,
    load_encoder,
    load_encoders,
    precision_errors,
)
from emoshare_utils.features.extract import extract, extract_layers
from emoshare_utils.features.pretrained import UntrainedEncoder
from emoshare_utils.features.store import FeatureStore, StoreError, stored

BATCHES = 6  # of the twelve clips, two in each shard
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
ADAPTER = {"add_adapter": True, "num_adapter_layers": 2, "output_hidden_size": 24}
CLIP_BY_CLIP = {"hidden_act": "relu"}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Three shards of four clips, each of two batches."""
    monkeypatch.setattr(FeatureStore.plan, "__defaults__", (4,))
    monkeypatch.setitem(filling.BATCH_S, "cpu", 0.8)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` but the lock."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def together(names: list[str]) -> list[Encoder]:
    (layers,) = load_encoders(names)
    return layers


def about(encoder: Encoder) -> tuple[str, int, dict]:
    return encoder.name, encoder.width, encoder.settings


def counted(layers: list[Encoder]) -> SimpleNamespace:
    """How often the front end and each transformer layer of their model run from here on."""
    network, ran = layers[0].network, SimpleNamespace(passes=0, layers=[0, 0, 0])

    def count(number):
        ran.layers[number] += 1

    def count_pass(*_):
        ran.passes += 1

    network.front_end.register_forward_pre_hook(count_pass)
    for number, layer in enumerate(network.layers):
        layer.register_forward_pre_hook(lambda *_, number=number: count(number))
    return ran


def saved(folder: Path, **change) -> str:
    """A small wav2vec2 as a user's local folder."""
    config = transformers.Wav2Vec2Config(**TINY | change)
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return saved(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def names(model) -> list[str]:
    return [f"{model}@1", model]


@pytest.fixture
def straight(corpus, tmp_path, names) -> dict[str, bytes]:
    """The stores of a pass each."""
    for name in names:
        extract(corpus, load_encoder(name), tmp_path / "straight")
    return content(tmp_path / "straight")


# Loading


def test_layers_of_a_model_are_loaded_together_and_once(monkeypatch):
    loaded, load = [], UntrainedEncoder._load

    def note(self, name, normalise):
        loaded.append(name)
        return load(self, name, normalise)

    monkeypatch.setattr(UntrainedEncoder, "_load", note)
    names = ["untrained@1", "fbank", "untrained", "mfcc", "untrained@pooled", "untrained"]
    groups = list(load_encoders(names))
    found = [[each.name for each in layers] for layers in groups]
    assert found == [["untrained@1", "untrained", "untrained@pooled"], ["fbank"], ["mfcc"]]
    assert loaded == ["untrained"]


@pytest.mark.parametrize("change", [{}, ADAPTER, CLIP_BY_CLIP], ids=["plain", "adapter", "clip"])
def test_a_layer_loaded_beside_others_is_the_one_loaded_alone(tmp_path, sound, change):
    model = saved(tmp_path / "model", **change)
    names = [model, f"{model}@1", f"{model}@3"]
    if change is not ADAPTER:  # whose layers have two widths
        names.append(f"{model}@pooled")
    layers, clips = together(names), [sound(0, 5000), sound(1, 9000)]
    for each, found in zip(layers, layers[0].encode_layers(layers, clips), strict=True):
        alone = load_encoder(each.name)
        assert (each.settings, each.width) == (alone.settings, alone.width)
        assert each.request == alone.request
        assert [each.n_frames(n) for n in range(380, 1400)] == [
            alone.n_frames(n) for n in range(380, 1400)
        ]
        for frames, again, expected in zip(found, each.encode(clips), alone.encode(clips)):
            np.testing.assert_array_equal(frames, expected)
            np.testing.assert_array_equal(again, expected)


def test_a_layer_that_is_not_there_is_refused_beside_others_too():
    with pytest.raises(EncoderError, match="'untrained@9': untrained has the layers 0 to 3"):
        list(load_encoders(["untrained", "untrained@9"]))


def test_errors_are_those_of_each_layer(sound, names):
    clips = [sound(0, 800), sound(1, 1200)]
    (layers,) = load_encoders(names, precision="bfloat16")
    apart = [load_encoder(name, precision="bfloat16") for name in names]
    for errors in (batch_errors, precision_errors):
        assert errors(layers, clips) == [errors([layer], clips)[0] for layer in apart]
    assert 1e-4 < precision_errors(layers, clips)[0] < 0.05
    assert precision_errors(together(names), clips) == [0, 0]


class Halved(UntrainedEncoder):
    """Changes the frames of the layer that it was asked for."""

    def encode(self, clips):
        return [frames / 2 for frames in super().encode(clips)]


def test_a_subclass_that_changes_the_frames_has_them_from_a_pass_each(corpus, tmp_path):
    ENCODERS.register("halved", Halved)
    try:
        groups = list(load_encoders(["halved@1", "halved"]))
    finally:
        ENCODERS.entries.pop("halved")
    assert [[each.name for each in layers] for layers in groups] == [["halved@1"], ["halved"]]
    (store,) = extract_layers(corpus, groups[1], tmp_path)
    whole = extract(corpus, load_encoder("untrained"), tmp_path)
    frames = store.frames("clip3"), whole.frames("clip3")
    np.testing.assert_allclose(2 * frames[0], frames[1], atol=2e-3)


def test_encoders_of_other_weights_are_not_taken_for_layers(sound):
    for other in ("wav2vec2-mini", "untrained@1", "fbank"):  # even of the same, loaded twice
        layers = [load_encoder("untrained"), load_encoder(other)]
        with pytest.raises(ValueError, match=f"{other} and untrained do not share their weights"):
            batch_errors(layers, [sound(0)])


# One pass


def test_the_stores_of_one_pass_are_those_of_a_pass_each(corpus, tmp_path, names, straight, capsys):
    layers = together(names)
    ran = counted(layers)
    stores = extract_layers(corpus, layers, str(tmp_path / "one"))
    assert content(tmp_path / "one") == straight
    assert [store.settings["encoder"] for store in stores] == names
    assert stored(tmp_path / "one") == {
        name: store.folder.name for name, store in zip(names, stores)
    }
    assert ran.passes == BATCHES and ran.layers == [BATCHES] * 3
    shown = capsys.readouterr().out
    assert f"extracting {names[0]} + {names[1]}, 12 clips: 4 of 4 s of audio" in shown
    extract_layers(corpus, layers, tmp_path / "one")
    assert ran.passes == BATCHES
    shown = capsys.readouterr().out
    assert f"extracting {names[0]} + {names[1]}, 0 clips: nothing left to do" in shown


def test_a_pass_goes_no_deeper_than_it_is_asked(corpus, tmp_path, model):
    layers = together([f"{model}@0", f"{model}@1"])
    ran = counted(layers)
    extract_layers(corpus, layers, tmp_path)
    assert ran.layers == [BATCHES, 0, 0]


def test_more_layers_than_memory_is_kept_for_take_more_passes(corpus, tmp_path, model, monkeypatch):
    monkeypatch.setattr(extraction, "LAYERS_PER_PASS", 2)
    names = [f"{model}{layer}" for layer in ("@0", "@1", "@2", "", "@pooled")]
    layers = together(names)
    ran = counted(layers)
    stores = extract_layers(corpus, layers, tmp_path / "some")
    assert ran.passes == 3 * BATCHES
    assert [store.settings["encoder"] for store in stores] == names
    for name in names:
        extract(corpus, load_encoder(name), tmp_path / "straight")
    assert content(tmp_path / "some") == content(tmp_path / "straight")


@pytest.mark.parametrize(("there", "runs"), [(0, [BATCHES] * 3), (1, [BATCHES, 0, 0])])
def test_a_store_that_is_complete_is_not_made_again(
    corpus, tmp_path, names, straight, capsys, there, runs
):
    features, lacking = tmp_path / "one", names[1 - there]
    complete = extract(corpus, load_encoder(names[there]), features)
    written = {file: file.stat().st_mtime_ns for file in complete.folder.iterdir()}
    layers = together(names)
    ran = counted(layers)
    capsys.readouterr()
    extract_layers(corpus, layers, features)
    assert f"extracting {lacking}, 12 clips: 4 of 4 s of audio" in capsys.readouterr().out
    assert content(features) == straight
    assert ran.layers == runs
    for file, when in written.items():
        assert file.stat().st_mtime_ns == when or file.name == ".lock"


def test_a_damaged_shard_of_one_layer_is_made_again_for_it_alone(corpus, tmp_path, names, straight):
    layers = together(names)
    first, _ = extract_layers(corpus, layers, tmp_path / "one")
    (first.folder / "shard-00001.npy").write_bytes(b"")
    ran = counted(layers)
    extract_layers(corpus, layers, tmp_path / "one")
    assert content(tmp_path / "one") == straight
    assert ran.layers == [2, 0, 0]  # two batches, one layer


def test_stores_with_other_shards_are_completed_each_by_itself(corpus, tmp_path, names):
    """One of them was begun when there were fewer clips."""
    begun = corpus.with_clips(corpus.clips[:7])
    extract(begun, load_encoder(names[0]), tmp_path)
    for store in extract_layers(corpus, together(names), tmp_path):
        assert store.missing(corpus.clips).empty and store.verify() == []
        encoder = load_encoder(store.settings["encoder"])
        for clip in corpus.clips.itertuples():
            samples = filling.decode(corpus.path(clip.path).read_bytes())
            np.testing.assert_allclose(
                store.frames(clip.clip_id), encoder.frames(samples), rtol=1e-3, atol=1e-3
            )


def test_a_disk_has_to_hold_the_frames_of_all_layers(corpus, tmp_path, names, monkeypatch):
    layers = together(names)
    frames = sum(layers[0].n_frames(2000 + 500 * i) for i in range(12))
    needed = 2 * 2 * layers[0].width * frames
    disk = SimpleNamespace(free=needed - 1)
    monkeypatch.setattr(extraction.shutil, "disk_usage", lambda path: disk)
    with pytest.raises(StoreError, match=r"needs .* for frames from .*tiny@1, .*tiny, but"):
        extract_layers(corpus, layers, tmp_path)
    assert not list(tmp_path.rglob("shard-*"))
    disk.free = needed
    extract_layers(corpus, layers, tmp_path)


# Killed with one store ahead of the other

KILLED = """
import os, signal, sys
from pathlib import Path
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features import extract, fill
from emoshare_utils.features.encoders import load_encoders
from emoshare_utils.features.store import FeatureStore

corpus, (layers,) = Corpus.load(Path(sys.argv[1])), load_encoders(sys.argv[4:])
FeatureStore.plan.__defaults__, fill.BATCH_S["cpu"], sync = (4,), 0.8, os.fsync

for moment in map(int, sys.argv[3].split()):
    child = os.fork()
    if not child:
        count = 0
        def fsync(file):
            '''Dies at the moment-th file, when half of it is there under its temporary name.'''
            global count
            count += 1
            if count == moment:
                os.ftruncate(file, os.fstat(file).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            sync(file)
        os.fsync = fsync
        extract.extract_layers(corpus, layers, Path(sys.argv[2]) / str(moment))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, moment
"""
# files in order: two settings, two plans, each shard's frames and index in both stores, the list
MOMENTS = [5, 7, 8, 9, 11, 13, 15, 17]


def test_what_was_killed_with_one_store_ahead_ends_with_the_same_bytes(
    corpus, tmp_path, names, straight
):
    corpus.save(tmp_path / "run")
    moments = " ".join(map(str, MOMENTS))
    command = [sys.executable, "-c", KILLED, tmp_path / "run", tmp_path / "killed", moments, *names]
    subprocess.run(command, check=True, timeout=100)
    layers, states = together(names), set()
    ran = counted(layers)
    for moment in MOMENTS:
        features = tmp_path / "killed" / str(moment)
        folders = [FeatureStore.place(features, *about(each)) for each in layers]
        finished = [len(list(folder.glob("shard-*.parquet"))) for folder in folders]
        states.add(tuple(finished))
        before = ran.passes, ran.layers[2]
        extract_layers(corpus, layers, features)
        assert content(features) == straight, moment
        assert ran.passes - before[0] == 2 * (3 - min(finished)), moment
        assert ran.layers[2] - before[1] == 2 * (3 - finished[1]), moment  # the deeper one
    assert states == {(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3)}
