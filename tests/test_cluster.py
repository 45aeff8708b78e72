"""Over a Dask cluster: the same store, byte for byte, also when a worker is killed."""

import copy
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from emoshare_utils import cluster
from emoshare_utils.cluster import ClusterError, connected
from emoshare_utils.corpora.clip_table import CorpusError
from emoshare_utils.features.encoders import load_encoder, load_encoders
from emoshare_utils.features.extract import extract, extract_layers
from emoshare_utils.features.fill import Target
from emoshare_utils.features.remote import fill_over_cluster
from emoshare_utils.features.store import FeatureStore, StoreError
from emoshare_utils.models.regressor import Sizes
from emoshare_utils.training.settings import Training
from emoshare_utils.training.sweep import train_systems
from emoshare_utils.training.systems import System

pytest.importorskip("distributed", reason="needs the optional extra: emoshare-utils[cluster]")
pytestmark = pytest.mark.usefixtures("quick_workers")
ENCODER = "untrained"
SIZES = Sizes(cnn=(8, 8), lstm=8, ffnn_1=(8,), ffnn_2=(8,))


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(FeatureStore.plan, "__defaults__", (2,))


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """A scheduler and two workers in processes of their own: its address and the workers."""
    folder = tmp_path_factory.mktemp("dask")
    run = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    file = folder / "scheduler.json"
    processes = [subprocess.Popen([*run, "--scheduler-file", file], stderr=subprocess.DEVNULL)]
    while not file.is_file():
        time.sleep(0.1)
    run = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", file]
    run += ["--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", folder]
    processes += [subprocess.Popen(run, stderr=subprocess.DEVNULL) for _ in range(2)]
    from distributed import Client

    with Client(scheduler_file=str(file)) as client:
        client.wait_for_workers(2, timeout=60)
        yield client.scheduler.address, processes[1:]
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def straight(corpus, tmp_path) -> dict[str, bytes]:
    return content(extract(corpus, load_encoder(ENCODER), tmp_path / "straight").folder)


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a store but the lock, and what a killed worker has left."""
    return {file.name: file.read_bytes() for file in folder.glob("[!.]*")}


def test_local_workers_make_the_same_store(corpus, tmp_path, straight, capsys):
    store = extract(corpus, load_encoder(ENCODER), tmp_path / "local", scheduler="local:2")
    assert len(straight) == 2 + 2 * 6
    assert content(store.folder) == straight
    assert "extracting untrained, 12 clips: 4 of 4 s of audio" in capsys.readouterr().out
    extract(corpus, load_encoder(ENCODER), tmp_path / "local", scheduler="tcp://nobody:1")
    assert "nothing left to do" in capsys.readouterr().out  # and no scheduler is asked


def test_local_workers_make_all_layers_of_a_shard_in_one_task(corpus, tmp_path, straight, capsys):
    (layers,) = load_encoders(["untrained@1", ENCODER])
    first, last = extract_layers(corpus, layers, tmp_path / "local", scheduler="local:2")
    assert content(last.folder) == straight
    alone = extract(corpus, load_encoder("untrained@1"), tmp_path / "alone")
    assert content(first.folder) == content(alone.folder)
    shown = capsys.readouterr().out
    assert "extracting untrained@1 + untrained, 12 clips: 4 of 4 s of audio" in shown


def test_a_killed_workers_shard_is_made_by_another(corpus, tmp_path, straight, scheduler):
    address, workers = scheduler

    def die_at_the_second_shard(steps):
        for count, step in enumerate(steps):
            if count == 1:
                os.kill(workers[0].pid, signal.SIGKILL)
            yield step

    encoder = load_encoder(ENCODER)
    store = FeatureStore.create(tmp_path, encoder.name, encoder.width, encoder.settings)
    groups = [[Target(encoder, store, shard)] for shard in store.plan(corpus.clips)]
    steps = fill_over_cluster(corpus, [encoder], groups, address)
    assert sum(die_at_the_second_shard(steps)) == pytest.approx(corpus.clips["duration_s"].sum())
    assert workers[0].wait(10) == -signal.SIGKILL
    assert content(store.folder) == straight
    store.forget()
    assert store.verify() == [] and store.plan(corpus.clips) == []


def test_a_workers_error_arrives_as_it_is(corpus, tmp_path, scheduler):
    corpus.path(corpus.clips["path"][3]).unlink()
    with pytest.raises(CorpusError, match=r"clip3\.wav was usable when .* but now"):
        extract(corpus, load_encoder(ENCODER), tmp_path, scheduler[0])


def test_a_training_workers_error_arrives_as_it_is(corpus, tmp_path, requests, scheduler):
    clips = corpus.clips.assign(audio_checksum="changed")
    with pytest.raises(StoreError, match="lacks the frames of 12 clips"):
        train_systems(corpus.with_clips(clips), requests, tmp_path, "cpu", scheduler[0])


def test_a_worker_with_another_version_is_refused(corpus, tmp_path, scheduler):
    encoder = load_encoder(ENCODER)
    other = copy.copy(encoder)
    other.settings = encoder.settings | {"torch": "0.1"}
    with pytest.raises(ClusterError, match=r"worker tcp.* other frames.*torch is .*, not 0\.1"):
        extract(corpus, other, tmp_path, scheduler[0])


def test_a_worker_that_does_not_see_the_store_is_an_error(corpus, tmp_path, scheduler):
    encoder = load_encoder(ENCODER)
    store = FeatureStore.create(tmp_path, encoder.name, encoder.width, encoder.settings)
    groups = [[Target(encoder, store, shard)] for shard in store.plan(corpus.clips)]
    store.folder = tmp_path / "elsewhere"
    steps = fill_over_cluster(corpus, [encoder], groups, scheduler[0])
    with pytest.raises(ClusterError, match="does not see .*elsewhere: .*all workers share"):
        list(steps)


def test_workers_that_have_all_left_are_an_error(corpus, tmp_path, scheduler, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    address, workers = scheduler
    encoder = load_encoder(ENCODER)
    store = FeatureStore.create(tmp_path, encoder.name, encoder.width, encoder.settings)
    groups = [[Target(encoder, store, shard)] for shard in store.plan(corpus.clips)]
    steps = fill_over_cluster(corpus, [encoder], groups, address)
    next(steps)
    workers[1].kill()
    with pytest.raises(ClusterError, match="all workers have left: start some, then run the same"):
        list(steps)
    with pytest.raises(ClusterError, match=f"scheduler {address} has no workers: start some"):
        extract(corpus, encoder, tmp_path, address)
    assert len(FeatureStore(store.folder).index) in range(2, 12)


@pytest.mark.parametrize("scheduler", ["local:", "local:0", "local:two", "local"])
def test_a_wrong_number_of_local_workers_is_an_error(corpus, tmp_path, scheduler):
    with pytest.raises(ClusterError, match=rf"'{scheduler}': expected local:N, as local:4"):
        extract(corpus, load_encoder("fbank"), tmp_path, scheduler)


@pytest.mark.parametrize("scheduler", ["tcp://127.0.0.1:9", "nonsense"])
def test_a_scheduler_that_is_not_there_is_an_error(corpus, tmp_path, scheduler, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    with pytest.raises(ClusterError, match=f"'{scheduler}' cannot be reached"):
        extract(corpus, load_encoder("fbank"), tmp_path, scheduler)


def test_cores_are_counted_on_any_system(monkeypatch):
    assert cluster.usable_cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cluster.usable_cores() == os.cpu_count()


def test_without_dask_the_extra_is_named(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"needs Dask: pip install 'emoshare-utils\[cluster\]'"):
        extract(corpus, load_encoder("fbank"), tmp_path, "local:2")


@pytest.fixture
def requests(corpus, tmp_path) -> list[dict]:
    store = extract(corpus, load_encoder("fbank"), tmp_path / "features")
    training = Training(epochs=3, batch_size=4)
    return [
        {"store": store, "architecture": a, "seed": seed, "sizes": SIZES, "training": training}
        for a in (1, 2)
        for seed in (0, 1)
    ]


def tables(systems: list[System]) -> list:
    return [system.predictions for system in systems]


def test_systems_trained_by_local_workers_are_those_trained_in_turn(
    corpus, tmp_path, requests, capsys
):
    in_turn = train_systems(corpus, requests, tmp_path / "turn", "cpu")
    spread = train_systems(corpus, requests, tmp_path / "local", "cpu", "local:2")
    assert "training over local:2: 4 of 4 systems" in capsys.readouterr().out
    for one, other in zip(tables(in_turn), tables(spread), strict=True):
        pd.testing.assert_frame_equal(one, other)
    # what is finished is read by any call
    train_systems(corpus, requests, tmp_path / "local", "cpu")
    assert "epochs in" not in capsys.readouterr().out


def test_another_worker_resumes_the_system_of_a_killed_one(corpus, tmp_path, requests):
    requests = [request | {"training": Training(epochs=40, batch_size=4)} for request in requests]
    straight = train_systems(corpus, requests, tmp_path / "straight", "cpu")
    models = tmp_path / "killed"
    with connected("local:2") as client:
        address = client.scheduler.address
        with ThreadPoolExecutor(1) as thread:
            sweep = thread.submit(train_systems, corpus, requests, models, "cpu", address)
            while not list(models.glob("*/*/checkpoint/state.json")) and not sweep.done():
                time.sleep(0.01)
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
            killed = sweep.result(timeout=120)
    for one, other in zip(tables(straight), tables(killed), strict=True):
        pd.testing.assert_frame_equal(one, other)
