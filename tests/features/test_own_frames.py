"""Frames made elsewhere: what is in the folder is in the store, or is refused by name."""

import os
import pickle

import numpy as np
import pytest

from emoshare_utils.features import fill as filling
from emoshare_utils.features.encoder import EncoderError
from emoshare_utils.features.encoders import (
    batch_errors,
    load_encoder,
    load_encoders,
    precision_errors,
)
from emoshare_utils.features.extract import expected_frames, extract, extract_layers
from emoshare_utils.features.store import FeatureStore, open_store
from emoshare_utils.names import split_layer
from emoshare_utils.runner.stamps import folder_digest


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Three shards of four clips, each of two batches."""
    monkeypatch.setattr(FeatureStore.plan, "__defaults__", (4,))
    monkeypatch.setitem(filling.BATCH_S, "cpu", 0.8)


@pytest.fixture
def nested(corpus):
    """The corpus with clip_ids that are paths."""
    return corpus.with_clips(corpus.clips.assign(clip_id="wav/" + corpus.clips["clip_id"]))


@pytest.fixture
def folder(nested, tmp_path):
    """For each clip a file of frames, of another type each."""
    kinds = (np.float32, np.float64, np.float16, np.int32, np.uint8, ">f4")
    for number, clip_id in enumerate(nested.clips["clip_id"]):
        path = tmp_path / "own" / f"{clip_id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = np.random.default_rng(number).uniform(0, 100, (3 + number, 5))
        order = "CF"[number % 2]
        np.save(path, np.asarray(frames, kinds[number % len(kinds)], order=order))
    return tmp_path / "own"


def name(folder) -> str:
    return f"frames:{folder}"


def test_the_frames_of_every_clip_are_stored(nested, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(filling, "decode", None)  # no audio is read
    encoder = load_encoder(name(folder))
    assert encoder.width == 5
    (store,) = extract_layers(nested, *load_encoders([name(folder)]), tmp_path / "features")
    assert open_store(tmp_path / "features", name(folder)).folder == store.folder
    for clip_id in nested.clips["clip_id"]:
        expected = np.load(folder / f"{clip_id}.npy").astype(np.float16)
        np.testing.assert_array_equal(store.frames(clip_id), expected)
    lengths = expected_frames(nested.clips, encoder)
    assert lengths.tolist() == [*range(3, 15)]
    np.testing.assert_array_equal(store.lengths(nested.clips["clip_id"]), lengths)
    assert batch_errors([encoder], [np.zeros(999)]) == precision_errors([encoder], []) == [0.0]


def test_a_run_resumes_and_a_changed_file_makes_another_store(nested, folder, tmp_path):
    features, few = tmp_path / "features", nested.with_clips(nested.clips[:5])
    first = extract(few, load_encoder(name(folder)), features)
    assert extract(nested, load_encoder(name(folder)), features).folder == first.folder
    before, of_folder = folder_digest(name(folder)), folder_digest(str(folder))
    path = folder / f"{nested.clips['clip_id'][2]}.npy"
    frames = np.load(path)
    frames[1, 1] += 1
    np.save(path, frames)  # of the same size
    os.utime(path, ns=(0, 1))
    assert folder_digest(str(folder)) == of_folder and folder_digest(name(folder)) != before
    second = extract(nested, load_encoder(name(folder)), features)
    assert second.folder != first.folder
    np.testing.assert_array_equal(
        second.frames(nested.clips["clip_id"][2]), frames.astype(np.float16)
    )


@pytest.mark.parametrize("change", ["content", "shape", "gone"])
def test_a_file_that_changes_during_the_run_is_noticed(nested, folder, tmp_path, change):
    encoder, path = load_encoder(name(folder)), folder / "wav" / "clip0.npy"
    if change == "gone":
        path.unlink()
    else:
        np.save(path, np.zeros((3, 5) if change == "content" else (2, 5), np.float32))
    with pytest.raises(EncoderError, match=rf"{path} has changed since this run started"):
        extract(nested, encoder, tmp_path / "features")


def test_clips_without_frames_are_named(nested, folder, tmp_path):
    for number in (1, 3, 4, 5, 7, 9):
        (folder / "wav" / f"clip{number}.npy").unlink()
    with pytest.raises(EncoderError) as caught:
        extract(nested, load_encoder(name(folder)), tmp_path / "features")
    message = str(caught.value)
    assert "6 of 12 clips have no frames there: wav/clip1, wav/clip3, wav/clip4" in message
    assert "wav/clip7, …." in message and "wav/clip9" not in message
    assert "belong in wav/clip1.npy; of the 6 files" in message
    assert "the first is wav/clip0.npy" in message
    assert not (tmp_path / "features").exists()


@pytest.mark.parametrize("clip_id", ["../secret", "wav/../../secret", "{}/secret", "/secret"])
def test_no_clip_id_leads_out_of_the_folder(nested, folder, tmp_path, clip_id):
    np.save(tmp_path / "secret.npy", np.zeros((3, 5), np.float32))
    clip_id = clip_id.format(tmp_path)
    clips = nested.clips.assign(clip_id=[clip_id, *nested.clips["clip_id"][1:]])
    encoder = load_encoder(name(folder))
    with pytest.raises(EncoderError, match=f"1 of 12 clips have no frames there: {clip_id}"):
        expected_frames(clips, encoder)
    with pytest.raises(EncoderError, match="no frames there"):
        encoder.encode([clip_id])


def saving(array, **how):
    return lambda path: np.save(path, array, **how)


def with_value(value, kind=np.float32):
    frames = np.zeros((3, 5), kind)
    frames[1, 2] = value
    return saving(frames)


class Trap:
    def __reduce__(self):
        return (os.mkdir, ("trap",))


def pickled(path):
    path.write_bytes(pickle.dumps(Trap()))


def promising(path):
    """A header that promises 4 TB."""
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 5)}
        np.lib.format.write_array_header_1_0(file, header)


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])


def with_more(path):
    path.write_bytes(path.read_bytes() + b"more")


def as_npz(path):
    with path.open("wb") as file:
        np.savez(file, np.zeros((3, 5), np.float32))


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (with_value(np.nan), "values that are NaN or infinite"),
        (with_value(-np.inf), "values that are NaN or infinite"),
        (with_value(70_000), r"a value of 7e\+04, float16 holds up to 65504: scale it"),
        (with_value(-70_000, np.int64), r"a value of 7e\+04, float16"),
        (saving(np.zeros(5)), r"an array of shape \(5,\), expected \(L, W\)"),
        (saving(np.zeros((1, 3, 5))), r"an array of shape \(1, 3, 5\)"),
        (saving(np.zeros((0, 5))), r"an array of shape \(0, 5\)"),
        (saving(np.zeros((3, 0))), r"an array of shape \(3, 0\)"),
        (saving(np.zeros((3, 6))), "frames of width 6, others have 5"),
        (saving(np.zeros((3, 5), bool)), "values of type bool, expected floats or integers"),
        (saving(np.zeros((3, 5), complex)), "values of type complex128"),
        (saving(np.full((3, 5), "1")), "values of type <U1"),
        (saving(np.array([[Trap()]]), allow_pickle=True), "no readable .npy .*Python objects"),
        (pickled, "no readable .npy"),
        (promising, "no readable .npy"),
        (cut, "no readable .npy"),
        (with_more, "no readable .npy file .its size is not what its header says"),
        (as_npz, "no readable .npy"),
        (lambda path: path.write_bytes(b""), "no readable .npy"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(folder, tmp_path, monkeypatch, spoil, cause):
    monkeypatch.chdir(tmp_path)
    path = folder / "wav" / "clip3.npy"
    spoil(path)
    with pytest.raises(EncoderError, match=rf"1 of 12 files cannot be used\. {path}: {cause}"):
        load_encoder(name(folder))
    assert not (tmp_path / "trap").exists()


def test_many_faults_are_counted(folder):
    for number in range(7):
        np.save(folder / "wav" / f"clip{number}.npy", np.zeros(3))
    with pytest.raises(EncoderError, match="7 of 12 files cannot be used") as caught:
        load_encoder(name(folder))
    assert str(caught.value).count("an array of shape") == 5 and "; …" in str(caught.value)


def test_hidden_files_and_others_are_not_read(folder):
    settings = load_encoder(name(folder)).settings
    (folder / "wav" / "._clip0.npy").write_bytes(b"of another system")
    (folder / "README.txt").write_text("made with emotion2vec")
    assert load_encoder(name(folder)).settings == settings


def test_no_folder_or_an_empty_one_says_what_to_do(tmp_path):
    with pytest.raises(EncoderError, match=rf"{tmp_path}/none is no folder\. Write the frames"):
        load_encoder(name(tmp_path / "none"))
    with pytest.raises(EncoderError, match="has no .npy file"):
        load_encoder(name(tmp_path))


def test_other_samples_have_no_frames(folder, sound):
    encoder = load_encoder(name(folder))
    for ask in (lambda: encoder.frames(sound(0)), lambda: encoder.n_frames(16_000)):
        with pytest.raises(EncoderError, match="makes none of other samples"):
            ask()


def test_an_at_belongs_to_the_folders_name(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("EMOSHARE_HOME", str(tmp_path))
    folder.rename(tmp_path / "hubert@6")
    assert split_layer("frames:hubert@6") == ("frames:hubert@6", None)
    (layers,) = load_encoders(["frames:hubert@6"])  # relative to the project
    assert layers[0].width == 5


@pytest.mark.usefixtures("quick_workers")
def test_processes_copy_them_too(nested, folder, tmp_path):
    here = extract(nested, load_encoder(name(folder)), tmp_path / "here")
    pytest.importorskip("distributed")
    there = extract(nested, load_encoder(name(folder)), tmp_path / "there", "local:2")
    assert here.folder.name == there.folder.name
    for clip_id in nested.clips["clip_id"]:
        np.testing.assert_array_equal(here.frames(clip_id), there.frames(clip_id))
