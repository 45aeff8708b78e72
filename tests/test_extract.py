"""Extraction goes on where it was, whatever stopped it, and ends with the same bytes."""

import dataclasses
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emoshare_utils import audio
from emoshare_utils import extract as extraction
from emoshare_utils.corpus import CorpusError
from emoshare_utils.encoders import load_encoder
from emoshare_utils.extract import extract, open_store
from emoshare_utils.store import FeatureStore, StoreError


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Three shards of four clips, each of two batches."""
    monkeypatch.setattr(FeatureStore.plan, "__defaults__", (4,))
    monkeypatch.setitem(extraction.BATCH_S, "cpu", 0.8)


class Counted:
    """An encoder that counts its clips, and may do something before each."""

    def __init__(self, encoder, before=lambda count: None):
        self.count, self.before, self.inner = 0, before, encoder
        self.encoder = dataclasses.replace(encoder, encode=self.encode)

    def encode(self, clips):
        for _ in clips:
            self.count += 1
            self.before(self.count)
        return self.inner.encode(clips)


@pytest.fixture
def fbank() -> Counted:
    return Counted(load_encoder("fbank"))


def content(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` but the lock."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_every_clips_frames_are_stored(corpus, fbank, tmp_path):
    store = extract(corpus, fbank.encoder, tmp_path)
    assert fbank.count == 12
    assert store.index["shard"].value_counts().tolist() == [4, 4, 4]
    for clip in corpus.clips.itertuples():
        samples = audio.read_audio(corpus.path(clip.path))
        expected = load_encoder("fbank").frames(samples).astype(np.float16)
        np.testing.assert_array_equal(store.frames(clip.clip_id), expected)
        assert store.index.loc[clip.clip_id, "audio_checksum"] == clip.audio_checksum
    assert store.verify() == []


def test_nothing_finished_is_computed_again(corpus, fbank, tmp_path):
    extract(corpus, fbank.encoder, tmp_path)
    before = content(tmp_path)
    extract(corpus, fbank.encoder, tmp_path)
    assert fbank.count == 12
    assert content(tmp_path) == before


def test_new_clips_are_added(corpus, fbank, tmp_path):
    extract(corpus.with_clips(corpus.clips[:7]), fbank.encoder, tmp_path)
    store = extract(corpus, fbank.encoder, tmp_path)
    assert fbank.count == 12
    assert store.missing(corpus.clips).empty


def test_changed_audio_is_extracted_again(corpus, fbank, tmp_path, sound):
    extract(corpus, fbank.encoder, tmp_path)
    changed = corpus.clips.iloc[5]
    soundfile.write(corpus.path(changed["path"]), sound(99, 5555), 16_000)
    checked, _ = audio.check(corpus)
    store = extract(checked, fbank.encoder, tmp_path)
    assert fbank.count == 13
    samples = audio.read_audio(corpus.path(changed["path"]))
    expected = load_encoder("fbank").frames(samples).astype(np.float16)
    np.testing.assert_array_equal(store.frames(changed["clip_id"]), expected)


def gone(file):
    file.unlink()


def damaged(file):
    file.write_bytes(b"no sound")


def another_sound(file):
    soundfile.write(file, np.random.default_rng(3).uniform(-1, 1, 3000), 16_000)


@pytest.mark.parametrize("happens", [gone, damaged, another_sound])
def test_audio_that_changed_since_it_was_checked_stops_with_finished_shards_kept(
    corpus, fbank, tmp_path, happens
):
    file = corpus.path(corpus.clips["path"][9])
    happens(file)
    with pytest.raises(CorpusError, match=rf"{file} was usable when notebooks/01_data.*but now"):
        extract(corpus, fbank.encoder, tmp_path)
    (folder,) = (path for path in tmp_path.glob("fbank-*"))
    left = FeatureStore(folder).missing(corpus.clips)["clip_id"].tolist()
    assert "clip9" in left and len(left) % 4 == 0  # whole shards are there, or not at all


def test_frames_that_cannot_be_stored_name_their_clip(corpus, fbank, tmp_path):
    wrong = dataclasses.replace(
        fbank.encoder, encode=lambda clips: [np.full((3, 40), 1e9) for _ in clips]
    )
    with pytest.raises(StoreError, match=r"clip clip\d+: frames are not finite"):
        extract(corpus, wrong, tmp_path)


# Which store belongs to an encoder


def test_a_store_that_was_never_extracted_names_the_notebook_to_run(corpus, fbank, tmp_path):
    message = "no frames from 'fbank': run notebooks/02_embedding_extraction.*encoder = 'fbank'"
    with pytest.raises(FileNotFoundError, match=message):
        open_store(tmp_path, "fbank")
    folder = extract(corpus, fbank.encoder, tmp_path).folder
    assert open_store(tmp_path, "fbank").folder == folder
    with pytest.raises(FileNotFoundError, match="no frames from 'mfcc'"):
        open_store(tmp_path, "mfcc")
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=message):
        open_store(tmp_path, "fbank")


def test_the_store_last_extracted_is_the_encoders(corpus, fbank, tmp_path):
    first = extract(corpus, fbank.encoder, tmp_path).folder
    changed = dataclasses.replace(fbank.encoder, settings=fbank.encoder.settings | {"version": 9})
    second = extract(corpus, changed, tmp_path).folder
    extract(corpus, load_encoder("mfcc"), tmp_path)
    assert first != second
    assert open_store(tmp_path, "fbank").folder == second
    assert extraction.stored(tmp_path).keys() == {"fbank", "mfcc"}


# Two writers, and killed ones


def test_a_second_writer_is_refused(corpus, tmp_path):
    def write_too(count):
        with pytest.raises(StoreError, match="is being written by another run: let it finish"):
            extract(corpus, load_encoder("fbank"), tmp_path)

    counted = Counted(load_encoder("fbank"), before=write_too)
    store = extract(corpus, counted.encoder, tmp_path)
    assert counted.count == 12
    assert store.verify() == []
    extract(corpus, load_encoder("fbank"), tmp_path)  # the lock is free again


KILLED = """
import dataclasses, os, signal, sys, time
from pathlib import Path
from emoshare_utils import extract
from emoshare_utils.corpus import Corpus
from emoshare_utils.encoders import load_encoder
from emoshare_utils.store import FeatureStore

corpus, encoder = Corpus.load(Path(sys.argv[1])), load_encoder("fbank")
FeatureStore.plan.__defaults__, extract.BATCH_S["cpu"], sync = (4,), 0.8, os.fsync

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def die_writing(moment):
    '''At the moment-th file, when half of it is on disk under its temporary name.'''
    count = 0
    def fsync(file):
        nonlocal count
        count += 1
        if count == moment:
            os.ftruncate(file, os.fstat(file).st_size // 2)
            die()
        sync(file)
    os.fsync = fsync
    return encoder

def slow(_):
    '''Takes about .5 s in all, in which its parent kills it.'''
    def encode(clips):
        time.sleep(0.16)
        return encoder.encode(clips)
    return dataclasses.replace(encoder, encode=encode)

for moment in sys.argv[3:]:
    what, number = moment.split("-")
    child = os.fork()
    if not child:
        how = {"write": die_writing, "after": slow}[what](int(number))
        extract.extract(corpus, how, Path(sys.argv[2]) / moment)
        os._exit(0)
    if what == "after":
        time.sleep(int(number) / 1000)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert status == signal.SIGKILL or (what == "after" and not status), moment  # it was done
"""
# files in order: settings; plan; frames and index of three shards; the list of stores
WRITES = [f"write-{i}" for i in range(1, 10)]
TIMES = [f"after-{ms}" for ms in sorted(random.Random(0).sample(range(350), 20))]


@pytest.fixture(scope="module")
def kill(tmp_path_factory):
    """Extract in a process that is killed at each of the moments, in a folder each."""

    def run(corpus) -> Path:
        folder = tmp_path_factory.mktemp("killed")
        corpus.save(folder / "run")
        command = [sys.executable, "-c", KILLED, folder / "run", folder, *WRITES, *TIMES]
        subprocess.run(command, check=True, timeout=100)
        return folder

    return run


def test_a_killed_extraction_goes_on_and_ends_with_the_same_bytes(corpus, kill, tmp_path):
    killed = kill(corpus)
    extract(corpus, load_encoder("fbank"), tmp_path / "straight")
    expected = content(tmp_path / "straight")
    assert len(expected) == 9
    finished = []
    for moment in WRITES + TIMES:
        finished.append(len(list((killed / moment).glob("*/shard-*.parquet"))))
        fbank = Counted(load_encoder("fbank"))
        store = extract(corpus, fbank.encoder, killed / moment)
        assert fbank.count == 12 - 4 * finished[-1], moment
        assert store.verify() == []
        assert content(killed / moment) == expected, moment
    assert finished[: len(WRITES)] == [0, 0, 0, 0, 1, 1, 2, 2, 3]
    assert len(set(finished[len(WRITES) :])) > 1  # the moments do differ


def test_the_lock_of_a_killed_writer_is_free(corpus, tmp_path):
    script = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX);"
    script += "print('held', flush=True); time.sleep(60)"
    store = extract(corpus, load_encoder("fbank"), tmp_path)
    command = [sys.executable, "-c", script, store.folder / ".lock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="is being written by another run"):
            extract(corpus, load_encoder("fbank"), tmp_path)
        holder.send_signal(signal.SIGKILL)
    extract(corpus, load_encoder("fbank"), tmp_path)
