"""Systems trained side by side: the same bits, and what is left when a process or the run ends."""

import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest
import torch

from emoshare_utils.errors import Stopped
from emoshare_utils.models.regressor import Sizes
from emoshare_utils.studies.layers import OneLayer
from emoshare_utils.training import side_by_side, sweep
from emoshare_utils.training.losses import LOSSES
from emoshare_utils.training.settings import Job, Training
from emoshare_utils.training.side_by_side import can_go_apart
from emoshare_utils.training.sweep import train_systems, train_variants

SIZES = Sizes(cnn=(4,), pool=2, lstm=4, ffnn_1=(4,), ffnn_2=(4,))
QUICK = Training(learning_rate=1e-2, batch_size=16, epochs=2)


@pytest.fixture
def asked(heard, tmp_path):
    corpus, store = heard(tmp_path / "store", train=24, devel=12, test=4)
    about = {"store": store, "sizes": SIZES, "training": QUICK}
    return corpus, [about | {"architecture": 1, "seed": seed} for seed in range(3)]


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def shares(systems) -> list[float]:
    return [x for system in systems for x in system.predictions["prediction"]]


def test_side_by_side_is_in_turn_to_the_bit(asked, tmp_path, two_threads, capsys):
    corpus, requests = asked
    apart = train_systems(corpus, requests, tmp_path / "apart", "cpu")
    said = capsys.readouterr().out
    assert "training, 2 at a time: 3 of 3 systems" in said
    assert "fbank, Architecture 1, seed 2: 2 of 2 epochs" in said
    torch.set_num_threads(1)
    in_turn = train_systems(corpus, requests, tmp_path / "turn", "cpu")
    assert "at a time" not in capsys.readouterr().out
    assert shares(apart) == shares(in_turn)
    assert apart[0].history.equals(in_turn[0].history)


def test_the_last_one_left_has_the_same_bits(heard, tmp_path, two_threads):
    corpus, store = heard(tmp_path / "store", train=24, devel=12, test=4)
    wide = {"store": store, "architecture": 1, "sizes": Sizes(cnn=(64, 64), lstm=32)}
    requests = [wide | {"training": QUICK, "seed": seed} for seed in (0, 1)]
    whole = train_systems(corpus, requests, tmp_path / "whole", "cpu")
    stopped = train_systems(corpus, requests, tmp_path / "stopped", "cpu")
    (stopped[1].folder / "system.json").unlink()
    assert shares(train_systems(corpus, requests, tmp_path / "stopped", "cpu")) == shares(whole)


def test_variants_keep_folders_and_names_apart(asked, tmp_path):
    corpus, (first, *_) = asked
    variants = {
        name: {"store": first["store"], "architecture": 1, "sizes": SIZES, "training": training}
        for name, training in {"a": QUICK, "b": Training(learning_rate=0.1, epochs=1)}.items()
    }
    found = train_variants(corpus, variants, [0, 1], tmp_path, "cpu")
    assert list(found.groupby(["encoder", "seed"]).size().index) == list(product("ab", [0, 1]))
    alone = train_systems(corpus, [variants["b"] | {"seed": 1}], tmp_path / "alone", "cpu")
    of_b = found.query("encoder == 'b' and seed == 1")["prediction"]
    assert list(of_b) == shares(alone)
    assert len(list(tmp_path.glob("*/fbank/*/system.json"))) == 4 + 1


def test_what_cannot_go_apart_is_trained_in_turn(asked, tmp_path, two_threads, monkeypatch):
    corpus, (first, *_) = asked
    job = Job(corpus, **first)
    assert can_go_apart(job)
    monkeypatch.setitem(LOSSES.entries, "own", lambda p, s: (p - s).abs().mean())
    own = {**first, "training": Training(loss="own", epochs=1)}
    assert not can_go_apart(Job(corpus, **own))  # the other process has not registered it
    assert not can_go_apart(Job(corpus, **{**first, "sizes": Sizes()}))  # the paper's
    monkeypatch.setattr(sweep, "train_side_by_side", lambda tasks: pytest.fail("went apart"))
    train_systems(corpus, [own, {**own, "seed": 1}], tmp_path / "models", "cpu")
    train_systems(corpus, [first], tmp_path / "one", "cpu")


def test_a_killed_process_leaves_the_rest_for_this_one(asked, tmp_path, two_threads, monkeypatch):
    corpus, requests = asked
    monkeypatch.setattr(side_by_side, "_train", _die)
    said = []
    monkeypatch.setattr("builtins.print", lambda *text, **_: said.append(text[0]))
    assert len(train_systems(corpus, requests, tmp_path / "models", "cpu")) == 3
    assert any("killed (out of memory?)" in line for line in said)


def _die(task: dict, parent: int) -> str:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # loky's own
def test_an_interruption_stops_all(asked, tmp_path, two_threads, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(side_by_side, "track", interrupted)
    corpus, requests = asked
    with pytest.raises(Stopped, match="resumes from there"):
        train_systems(corpus, requests, tmp_path / "models", "cpu")
    monkeypatch.undo()
    assert len(train_systems(corpus, requests, tmp_path / "models", "cpu")) == 3


def test_a_process_ends_with_its_parent():
    code = f"from {side_by_side.__name__} import _end_with; _end_with(1)"  # its parent is not 1
    child = subprocess.run([sys.executable, "-c", code], timeout=60)
    assert child.returncode == 1
    code = f"import os; from {side_by_side.__name__} import _end_with; _end_with(os.getppid())"
    child = subprocess.Popen([sys.executable, "-c", code])
    time.sleep(0.2)
    assert child.poll() is None
    child.kill()
    child.wait()


def test_stores_open_again_in_another_process(asked, tmp_path):
    import pickle

    _, (first, *_) = asked
    again = pickle.loads(pickle.dumps(first["store"]))
    assert again.folder == first["store"].folder.resolve()
    assert (again.frames("clip0") == first["store"].frames("clip0")).all()
    call, given = OneLayer.__reduce__(_layer(Path("/features"), 2))
    assert (call, given) == (OneLayer, (Path("/features"), 2))


def _layer(folder: Path, layer: int) -> OneLayer:
    view = OneLayer.__new__(OneLayer)
    view.folder, view.settings = folder, {"layer": layer}
    return view
