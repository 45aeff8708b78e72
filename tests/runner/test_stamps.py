"""What counts as a change, and whose a file is."""

import os
import platform
from contextlib import contextmanager

import pytest
from toy_notebooks import ran, write

from emoshare_utils.paths import PAPER, Run
from emoshare_utils.runner import stamps
from emoshare_utils.runner.stamps import Stamps, folder_digest
from emoshare_utils.runner.workbook import run

REAL_PACKAGE = stamps.PACKAGE


def test_a_corpus_folder_counts_by_label_content_and_audio_size(three):
    corpus = three / "corpus"
    corpus.mkdir()
    (corpus / "labels.csv").write_text("a,1")
    (corpus / "a.wav").write_bytes(b"1234")

    first = folder_digest("corpus")
    (corpus / "a.wav").write_bytes(b"4321")
    os.utime(corpus / "labels.csv", (1, 1))
    assert folder_digest("corpus") == first
    (corpus / "labels.csv").write_text("a,2")
    second = folder_digest("corpus")
    assert second != first
    (corpus / "a.wav").write_bytes(b"12345")
    third = folder_digest("corpus")
    assert third != second
    (corpus / "a.wav").rename(corpus / "b.wav")
    assert folder_digest("corpus") not in (third, None)
    assert folder_digest(None) is folder_digest("no/such/folder") is None


def test_folders_of_encoders_and_sources_count_by_content(three):
    for name in ("mine", "speech", "more"):
        (three / name).mkdir()
        (three / name / "a.json").write_text(name)

    def of():
        sources = {"a": "speech", "b": {"root": "more"}, "simulated": ""}
        parameters = {"encoder": ["fbank", "hubert-base@6", "mine@2"], "sources": sources}
        return Stamps(Run("demo")).inputs("01_data", [], parameters)["other folders"]

    first = of()
    assert first.keys() == {"mine", "speech", "more"} and None not in first.values()
    for name in first:
        (three / name / "a.json").write_text("another")
        assert [key for key, value in of().items() if value != first[key]] == [name]
        (three / name / "a.json").write_text(name)
    one = Stamps(Run("demo")).inputs("01_data", [], {"encoder": "mine"})
    assert one["other folders"].keys() == {"mine"}


@pytest.mark.parametrize("root", ["", "root: null\n", "root: ''\n", "root: voices\n"])
def test_a_simulated_corpus_needs_no_folder(project, root):
    make = (
        "(home() / (root or 'here')).mkdir()\n(home() / (root or 'here') / 'a.csv').write_text('a')"
    )
    parameters = "run = 'x'\nroot = ''\ncorpus = 'simulated'"
    write("01_data", "from emoshare_utils.paths import home\n" + make, parameters=parameters)
    (project / "profiles" / "demo.yaml").write_text("run: demo\ncorpus: simulated\n" + root)
    assert ran(run("demo")) == ["01"]
    assert ran(run("demo")) == []


def test_the_package_and_the_libraries_count(three, tmp_path, monkeypatch):
    def software(*extensions):
        return Stamps(Run("demo"), extensions).software

    for name, counts in {
        "paths.py": True,
        "results/metrics.py": True,
        "results/paper.csv": True,
        "__main__.py": False,
        "runner/stamps.py": False,
        "paths.pyc": False,
    }.items():
        before = software()
        path = stamps.PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("another")
        changed = [part for part, now in software().items() if now != before[part]]
        assert changed == (["emoshare_utils"] if counts else []), name

    first = software()
    assert first["libraries"]["python"] == platform.python_version()
    monkeypatch.setattr(stamps.metadata, "version", lambda library: "0")
    assert software()["libraries"] != first["libraries"]
    assert (REAL_PACKAGE / "paths.py").is_file() and (REAL_PACKAGE / "runner").is_dir()

    extension = tmp_path / "mine.py"
    extension.write_text("1")
    second = software(extension)["extensions"]
    extension.write_text("2")
    assert software(extension)["extensions"] != second != first["extensions"]


class Toy:
    """Stamps of a run whose notebooks are blocks of a test."""

    def __init__(self, name="demo"):
        self.run = Run(name)
        self.run.notebooks.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def running(self, name):
        """A notebook runs; `None` in place of its inputs: nothing else changes."""
        fresh = Stamps(self.run)
        (self.run.notebooks / f"{name}.ipynb").touch()
        with fresh.stamping(name, fresh.inputs(name, [], {})):
            yield

    def outdated(self):
        fresh = Stamps(self.run)
        names = sorted(path.stem for path in self.run.notebooks.glob("*.ipynb"))
        reasons = {name: fresh.outdated(name, fresh.inputs(name, [], {})) for name in names}
        return {name: reason for name, reason in reasons.items() if reason}

    def file(self, name):
        return self.run.folder / name


def test_a_file_that_a_finished_notebook_leaves_as_it_found_it_is_its_own(project):
    toy = Toy()
    with toy.running("01_data"):
        toy.file("manifest.json").write_text("made")
    toy.file("manifest.json").write_text("made again by another run of the same corpus")
    assert "manifest.json is gone or changed" in toy.outdated()["01_data"]
    with toy.running("01_data"):
        pass  # finds its part done
    assert not toy.outdated()
    toy.file("manifest.json").unlink()
    assert "manifest.json is gone or changed" in toy.outdated()["01_data"]


def test_a_file_that_two_notebooks_write_belongs_to_the_last(project):
    toy = Toy()
    with toy.running("01_data"):
        toy.file("log").write_text("1")
    with toy.running("02_training"):
        toy.file("log").write_text("12")
    assert not toy.outdated()
    toy.file("log").write_text("3")
    assert toy.outdated() == {"02_training": "runs/demo/log is gone or changed"}
    with toy.running("01_data"):
        toy.file("log").write_text("1")
    assert toy.outdated() == {"02_training": "what it starts from changed: 01_data"}
    with toy.running("02_training"):
        toy.file("log").write_text("12")
    assert not toy.outdated()


def test_what_a_stopped_notebook_left_stays_its_own(project):
    toy = Toy()
    with toy.running("01_data"):
        toy.file("clips").write_text("1")
    with pytest.raises(RuntimeError), toy.running("02_training"):
        toy.file("checkpoint").write_text("1")
        toy.file("weights").write_text("1")
        raise RuntimeError
    assert toy.outdated() == {"02_training": "has not run to its end yet"}
    for other in ("01_data", "03_results"):  # as with --only
        with toy.running(other):
            toy.file(other).write_text("1")
    toy.file("weights").unlink()
    assert toy.outdated().keys() == {"02_training", "03_results"}
    assert toy.outdated()["03_results"] == "what it starts from changed: 02_training"
    with toy.running("02_training"):
        toy.file("weights").write_text("1")
    assert not toy.outdated()
    toy.file("checkpoint").unlink()
    assert toy.outdated()["02_training"] == "runs/demo/checkpoint is gone or changed"


def test_a_later_failure_keeps_the_files_of_an_earlier_success(project):
    toy = Toy()
    with toy.running("01_data"):
        toy.file("clips").write_text("1")
    with pytest.raises(KeyboardInterrupt), toy.running("01_data"):
        toy.file("more").write_text("1")
        raise KeyboardInterrupt
    with toy.running("02_training"):
        toy.file("weights").write_text("1")
    for name in ("clips", "more"):
        toy.file(name).write_text("2")
        assert toy.outdated()["02_training"] == "what it starts from changed: 01_data"
        toy.file(name).write_text("1")


def test_a_failure_that_leaves_nothing_makes_no_later_notebook_run(project):
    toy = Toy()
    with toy.running("02_training"):
        toy.file("weights").write_text("1")
    with pytest.raises(RuntimeError), toy.running("01_data"):
        raise RuntimeError
    assert toy.outdated() == {"01_data": "has not run to its end yet"}


def test_a_full_disk_does_not_hide_why_a_notebook_stopped(project, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with pytest.raises(RuntimeError, match="a cell failed"), Toy().running("01_data"):
        monkeypatch.setattr(stamps, "write_json", full)
        raise RuntimeError("a cell failed")


@pytest.mark.parametrize("content", [b"", b'{"given": {', b"\xff", b"[]", b"3", b"{}"])
def test_a_damaged_stamp_counts_as_missing(project, content):
    toy = Toy()
    with toy.running("01_data"):
        toy.file("clips").write_text("1")
    (toy.run.notebooks / ".01_data.json").write_bytes(content)
    assert toy.outdated() == {"01_data": "has not run to its end yet"}
    with toy.running("01_data"):
        pass
    assert not toy.outdated()


def test_what_a_killed_runner_left_to_an_earlier_notebook_returns_to_its_maker(project):
    toy = Toy()
    with toy.running("01_data"):
        toy.file("clips").write_text("1")
    for name in ("checkpoint", "weights"):  # by 02_training, killed
        toy.file(name).write_text("1")
    with toy.running("01_data"):
        pass  # now all are its own
    with toy.running("02_training"):
        toy.file("checkpoint").unlink()
        toy.file("weights").write_text("2")
    assert not toy.outdated()
    toy.file("weights").unlink()
    assert toy.outdated() == {"02_training": "runs/demo/weights is gone or changed"}


def test_an_earlier_notebook_that_removes_a_later_one_s_file_makes_that_run(project):
    toy = Toy()
    with toy.running("01_data"):
        toy.file("clips").write_text("1")
    with toy.running("02_training"):
        toy.file("weights").write_text("1")
    with toy.running("01_data"):
        toy.file("weights").unlink()
    assert toy.outdated() == {"02_training": "runs/demo/weights is gone or changed"}


def test_pictures_do_not_make_later_notebooks_run(project):
    toy = Toy()
    for name in ("01_data", "02_training"):
        with toy.running(name):
            toy.file(f"{name}.png").write_text("1")
            toy.file(f"{name}.csv").write_text("1")
    with toy.running("01_data"):
        toy.file("01_data.png").write_text("2")
    assert not toy.outdated()
    with toy.running("01_data"):
        toy.file("01_data.csv").write_text("2")
    assert toy.outdated() == {"02_training": "what it starts from changed: 01_data"}


def test_what_all_runs_draw_alike_is_drawn_again_by_its_maker_where_it_is_gone(project):
    drawn = PAPER.figures / "means.csv"
    drawn.parent.mkdir(parents=True)
    first, second = Toy("first"), Toy("second")
    with first.running("05_paper"):
        drawn.write_text("1")
    with second.running("01_data"):
        pass  # it finds what the other run has drawn
    with first.running("05_paper"):
        pass  # and leaves it as it is
    drawn.unlink()
    assert first.outdated() == {"05_paper": "figures/paper/means.csv is gone or changed"}
    assert not second.outdated()
