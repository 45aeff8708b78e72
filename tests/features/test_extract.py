"""Extraction resumes where it was, whatever stopped it, and ends with the same bytes."""

import copy
import errno
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile

from emoshare_utils.corpora import audio
from emoshare_utils.corpora.clip_table import CorpusError
from emoshare_utils.features import extract as extraction
from emoshare_utils.features import fill as filling
from emoshare_utils.features.encoder import Encoder
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.extract import extract
from emoshare_utils.features.small_network import MiniConfig
from emoshare_utils.features.store import FeatureStore, StoreError, open_store, stored
from emoshare_utils.files import FolderError


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Three shards of four clips, each of two batches."""
    monkeypatch.setattr(FeatureStore.plan, "__defaults__", (4,))
    monkeypatch.setitem(filling.BATCH_S, "cpu", 0.8)


def altered(encoder: Encoder, **attributes) -> Encoder:
    """The same encoder with other settings, or another `encode`."""
    other = copy.copy(encoder)
    other.__dict__.update(attributes)
    return other


class Counted:
    """An encoder that counts its clips, and may do something before each."""

    def __init__(self, encoder, before=lambda count: None):
        self.count, self.before, self.inner = 0, before, encoder
        self.encoder = altered(encoder, encode=self.encode)

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
    wrong = altered(fbank.encoder, encode=lambda clips: [np.full((3, 40), 1e9) for _ in clips])
    with pytest.raises(StoreError, match=r"clip clip\d+: frames are not finite"):
        extract(corpus, wrong, tmp_path)


def test_the_number_of_workers_does_not_change_the_bytes(corpus, tmp_path):
    encoder, shards = load_encoder("untrained"), []
    for workers in (1, 3):
        folder = tmp_path / str(workers)
        store = FeatureStore.create(folder, encoder.name, encoder.width, encoder.settings)
        groups = [[filling.Target(encoder, store, shard)] for shard in store.plan(corpus.clips)]
        for _ in filling.fill(corpus, groups, workers):
            pass
        shards.append(content(folder))
    assert shards[0] == shards[1]


def batches(clips: pd.DataFrame, device: str) -> list[pd.DataFrame]:
    rows = list(filling._batches(clips, device))
    assert pd.concat(rows)["clip_id"].tolist() == clips["clip_id"].tolist()
    return rows


def test_a_gpus_batches_count_the_padding(table):
    """One long clip must not pull forty short ones up to its length."""
    found = batches(table(60).assign(duration_s=[200.0, *[1.0] * 59]), "cuda")
    assert [len(rows) for rows in found] == [1, 59]
    found = batches(table(60).assign(duration_s=9.0), "cuda")
    assert [len(rows) for rows in found] == [26, 26, 8]  # 240 s at most


def test_a_cpus_batches_become_shorter_towards_the_end(table, monkeypatch):
    monkeypatch.setitem(filling.BATCH_S, "cpu", 8.0)
    found = batches(table(100).assign(duration_s=[20.0, *[1.0] * 99]), "cpu")
    sizes = [len(rows) for rows in found]
    assert sizes[:6] == [1, 8, 8, 8, 8, 8]
    assert sizes[-1] <= sizes[-2] <= 2 and sizes[1:] == sorted(sizes[1:], reverse=True)


def test_a_shard_is_written_while_the_next_is_encoded(corpus, fbank, tmp_path):
    def wait_for_the_first(count):
        if count > 8:  # the third shard
            until = time.monotonic() + 20
            while not list(tmp_path.glob("*/shard-00000.parquet")):
                assert time.monotonic() < until, "nothing is written before all is encoded"
                time.sleep(0.01)

    fbank.before = wait_for_the_first
    extract(corpus, fbank.encoder, tmp_path)


def test_progress_tells_clips_audio_rate_and_time_left(corpus, fbank, tmp_path, capsys):
    extract(corpus, fbank.encoder, tmp_path)
    line = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(
        r"extracting fbank, 12 clips: 4 of 4 s of audio in \d+ s \([\d.]+ s of audio per second\)",
        line,
    )
    extract(corpus, fbank.encoder, tmp_path)
    assert "extracting fbank, 0 clips: nothing left to do" in capsys.readouterr().out


# Damage, a full disk, a read-only folder, Ctrl-C


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[150 if file.suffix == ".npy" else 40] ^= (
        4  # among the frames; in the index's first page
    )
    file.write_bytes(content)


def truncate(file):
    file.write_bytes(file.read_bytes()[:-50])


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, gone, damaged])
@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_a_damaged_shard_is_named_and_made_again(corpus, fbank, tmp_path, capsys, damage, ending):
    folder = extract(corpus, fbank.encoder, tmp_path).folder
    before = content(tmp_path)
    damage(folder / f"shard-00001.{ending}")
    assert content(tmp_path) != before
    extract(corpus, fbank.encoder, tmp_path)
    assert content(tmp_path) == before
    assert fbank.count == 12 + 4
    named = f"{folder}/shard-00001 is damaged and will be made again" in capsys.readouterr().out
    assert named or (damage, ending) == (gone, "parquet")  # then it was never finished


def test_a_full_disk_says_so_and_keeps_what_is_finished(corpus, fbank, tmp_path, monkeypatch):
    extract(corpus, load_encoder("fbank"), tmp_path / "straight")
    sync, count = os.fsync, itertools.count(1)

    def full(file):
        if next(count) > 5:  # settings, plan, a shard's two files and half of the next shard
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    message = r"fbank-\w+ cannot be written \(No space left on device\): make room .*is kept"
    with pytest.raises(FolderError, match=message):
        extract(corpus, fbank.encoder, tmp_path / "full")
    monkeypatch.undo()
    monkeypatch.setattr(FeatureStore.plan, "__defaults__", (4,))
    monkeypatch.setitem(filling.BATCH_S, "cpu", 0.8)
    again = Counted(load_encoder("fbank"))
    extract(corpus, again.encoder, tmp_path / "full")
    assert again.count == 8
    assert content(tmp_path / "full") == content(tmp_path / "straight")


def test_a_disk_that_cannot_hold_the_frames_is_refused_at_once(
    corpus, fbank, tmp_path, monkeypatch
):
    monkeypatch.setattr(extraction.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(StoreError, match=r"needs 0\.0 MB for frames from fbank, but 0\.0 MB are"):
        extract(corpus, fbank.encoder, tmp_path)
    assert fbank.count == 0
    needed = 2 * 40 * sum(fbank.encoder.n_frames(2000 + 500 * i) for i in range(12))
    monkeypatch.setattr(extraction.shutil, "disk_usage", lambda path: SimpleNamespace(free=needed))
    extract(corpus, fbank.encoder, tmp_path)


def test_pooled_has_a_frame_per_layer(corpus, tmp_path):
    layers, pooled = 1 + MiniConfig().layers, load_encoder("untrained@pooled")
    assert extract(corpus, pooled, tmp_path).index["length"].tolist() == [layers] * 12
    assert pooled.n_frames(16_000) == layers


def test_a_folder_that_cannot_be_written_says_so(corpus, fbank):
    with tempfile.TemporaryDirectory() as folder:
        extract(corpus, fbank.encoder, Path(folder))  # a store that was once written
        for path in (*Path(folder).rglob("*"), Path(folder)):
            path.chmod(0o555)
        root = os.geteuid() == 0
        try:
            if root:  # who may write everywhere
                os.seteuid(65534)
            for lies in (Path(folder) / "new", Path(folder)):
                with pytest.raises(FolderError, match=rf"{folder}/.* cannot be written \(Permiss"):
                    extract(corpus, fbank.encoder, lies)
        finally:
            if root:
                os.seteuid(0)
            for path in (Path(folder), *Path(folder).rglob("*")):
                path.chmod(0o755)


@pytest.mark.parametrize("name", ["fbank", "wav2vec2-mini", "untrained"])
def test_ctrl_c_keeps_what_is_finished_and_says_so(corpus, tmp_path, name):
    # A shell's job in the background ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt(count):
        if count == 9:
            while not list(tmp_path.rglob("shard-*.parquet")):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    counted = Counted(load_encoder(name), before=interrupt)
    with pytest.raises(KeyboardInterrupt, match=f"{name} was stopped by hand: finished shards ar"):
        extract(corpus, counted.encoder, tmp_path / "stopped")
    assert not list(tmp_path.rglob("*.tmp"))
    assert 0 < len(list(tmp_path.glob("*/*/shard-*.parquet"))) < 3
    extract(corpus, load_encoder(name), tmp_path / "stopped")
    extract(corpus, load_encoder(name), tmp_path / "straight")
    assert content(tmp_path / "stopped") == content(tmp_path / "straight")


# Which store belongs to an encoder


def test_a_store_that_was_never_extracted_names_the_notebook_to_run(corpus, fbank, tmp_path):
    message = "no frames from 'fbank': run notebooks/02_embedding_extraction.*encoder = 'fbank'"
    with pytest.raises(FileNotFoundError, match=message):
        open_store(tmp_path, "fbank")
    folder = extract(corpus, fbank.encoder, tmp_path).folder
    assert open_store(tmp_path, "fbank").folder == folder
    assert extract(corpus, fbank.encoder, str(tmp_path)).folder == folder
    assert open_store(str(tmp_path), "fbank").folder == folder
    assert stored(str(tmp_path)) == {"fbank": folder.name}
    with pytest.raises(FileNotFoundError, match="no frames from 'mfcc'"):
        open_store(tmp_path, "mfcc")
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=message):
        open_store(tmp_path, "fbank")


def test_the_store_last_extracted_is_the_encoders(corpus, fbank, tmp_path):
    first = extract(corpus, fbank.encoder, tmp_path).folder
    changed = altered(fbank.encoder, settings=fbank.encoder.settings | {"version": 9})
    second = extract(corpus, changed, tmp_path).folder
    extract(corpus, load_encoder("mfcc"), tmp_path)
    assert first != second
    assert open_store(tmp_path, "fbank").folder == second
    assert stored(tmp_path).keys() == {"fbank", "mfcc"}


# Two writers, and killed ones


def test_a_second_writer_is_refused(corpus, tmp_path):
    def write_too(count):
        with pytest.raises(FolderError, match="is being written by another run: let it finish"):
            extract(corpus, load_encoder("fbank"), tmp_path)

    counted = Counted(load_encoder("fbank"), before=write_too)
    store = extract(corpus, counted.encoder, tmp_path)
    assert counted.count == 12
    assert store.verify() == []
    extract(corpus, load_encoder("fbank"), tmp_path)  # the lock is free again


KILLED = """
import copy, os, signal, sys, time
from pathlib import Path
from emoshare_utils.corpora.clip_table import Corpus
from emoshare_utils.features import extract, fill
from emoshare_utils.features.encoders import load_encoder
from emoshare_utils.features.store import FeatureStore

corpus, encoder = Corpus.load(Path(sys.argv[1])), load_encoder("fbank")
FeatureStore.plan.__defaults__, fill.BATCH_S["cpu"], sync = (4,), 0.8, os.fsync

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
    other = copy.copy(encoder)
    other.encode = encode
    return other

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
TIMES = [f"after-{ms}" for ms in sorted(random.Random(0).sample(range(700), 20))]


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
        with pytest.raises(FolderError, match="is being written by another run"):
            extract(corpus, load_encoder("fbank"), tmp_path)
        holder.send_signal(signal.SIGKILL)
    extract(corpus, load_encoder("fbank"), tmp_path)
