"""Publishing: what a run has drawn becomes the record, if the run is up to date."""

from contextlib import contextmanager

import pytest
from toy_notebooks import FOLDERS, edit, write

from emoshare_utils import __main__
from emoshare_utils.files import locked
from emoshare_utils.paths import PAPER, Run
from emoshare_utils.runner.notebooks import WorkbookError
from emoshare_utils.runner.publishing import publish
from emoshare_utils.runner.workbook import run


def test_publish_makes_the_record_what_the_run_has_drawn(three, capsys):
    this = Run("demo")
    with pytest.raises(WorkbookError, match=r"'demo' has drawn nothing yet: .* run demo`"):
        publish("demo")
    assert not (three / "runs").exists()
    write("06_study", FOLDERS + "(this.figures / 'study.csv').write_text('s')")
    run("demo")
    other = three / "figures" / "published" / "other" / "table1.csv"
    for path in (other, this.published / "old.csv", this.published / "table1.csv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")

    def published():
        return {path.name: path.read_text() for path in this.published.iterdir()}

    before = {path: path.read_bytes() for path in three.rglob("*") if path.is_file()}
    with pytest.raises(
        WorkbookError, match="02_training .*parameters changed.* run demo --set rate=3`"
    ):
        publish("demo", {"rate": 3})
    assert before == {path: path.read_bytes() for path in three.rglob("*") if path.is_file()}

    assert __main__.main(["publish", "demo"]) == 0
    said = capsys.readouterr().out
    assert "removed figures/published/demo/old.csv\n1 files in figures/published/demo/" in said
    assert published() == {"table1.csv": "1"}
    changed = {path for path in before if not path.exists() or path.read_bytes() != before[path]}
    assert changed - {this.folder / ".lock"} == {
        this.published / "old.csv",
        this.published / "table1.csv",
    }

    # A study need not run; once it has, it has to be up to date as well.
    run("demo", studies=True)
    publish("demo")
    assert published() == {"table1.csv": "1", "study.csv": "s"}
    edit("06_study", "'s'", "'t'")
    assert __main__.main(["publish", "demo"]) == 2
    said = "06_study is not up to date (code changed). Finish it with `"
    said += "python -m emoshare_utils run demo --only 06`"
    assert said in capsys.readouterr().err
    assert published() == {"table1.csv": "1", "study.csv": "s"}
    run("demo", studies=True)
    publish("demo")
    assert published() == {"table1.csv": "1", "study.csv": "t"}


def test_publish_renews_what_is_the_same_for_every_run_and_removes_none_of_it(three, capsys):
    write("06_study", FOLDERS + "PAPER.figures.mkdir(); (PAPER.figures / 'p.csv').write_text('p')")
    edit("06_study", "import Run", "import PAPER, Run")
    run("demo", studies=True)
    for name in ("p.csv", "of_another_notebook.csv"):
        PAPER.published.mkdir(parents=True, exist_ok=True)
        (PAPER.published / name).write_text("old")
    publish("demo")
    published = {path.name: path.read_text() for path in PAPER.published.iterdir()}
    assert published == {"p.csv": "p", "of_another_notebook.csv": "old"}
    assert "1 files in figures/published/paper/" in capsys.readouterr().out
    assert {path.name for path in Run("demo").published.iterdir()} == {"table1.csv"}


def test_publish_lists_what_is_drawn_once_no_run_draws(three, monkeypatch):
    run("demo")
    this = Run("demo")

    @contextmanager
    def just_drawn(folder):
        with locked(folder):
            (this.figures / "late.csv").write_text("late")
            yield

    monkeypatch.setattr("emoshare_utils.runner.finished.locked", just_drawn)
    publish("demo")
    assert {path.name for path in this.published.iterdir()} == {"late.csv", "table1.csv"}
