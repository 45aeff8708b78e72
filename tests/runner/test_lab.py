"""`lab`: working copies of the notebooks with a profile's parameters; edited ones are kept."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import nbformat
import pytest
from toy_notebooks import TRAIN, edit, write

from emoshare_utils import __main__, paths
from emoshare_utils.paths import Run, home
from emoshare_utils.runner.lab import lab
from emoshare_utils.runner.notebooks import WorkbookError

PROJECT = Path(__file__).parents[2]


def copy(name: str) -> Path:
    return home() / "lab" / "demo" / f"{name}.ipynb"


def sources(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


def change(path: Path, old: str, new: str) -> None:
    """What a user does in JupyterLab, where running a cell leaves an output."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace(old, new)
    code = next(cell for cell in notebook.cells if cell.cell_type == "code")
    code.outputs, code.execution_count = [nbformat.v4.new_output("stream", text="hello")], 1
    nbformat.write(notebook, path)


@pytest.fixture
def copies(three):
    """The copies that `lab` makes, and a quickstart that no run takes."""
    write("00_start", "1", parameters="run = 'x'\nrecording = ''")
    write("04_alone", "2", parameters="mine = 1")
    lab("demo", show=False)
    return sorted((three / "lab" / "demo").iterdir())


def test_each_notebook_gets_a_copy_with_the_parameters_it_declares(copies, capsys):
    assert [path.name[:2] for path in copies] == ["00", "01", "02", "03", "04"]
    assert sources(copy("04_alone")) == ["mine = 1", "2"]
    assert sources(copy("00_start"))[1] == '# From the profile demo\nrun = "demo"\n'
    given = '# From the profile demo\nrun = "demo"\nroot = None\nclips = 3\n'
    assert sources(copy("01_data"))[:2] == ["run = 'x'\nroot = None\nclips = 1", given]
    filled = nbformat.read(copy("01_data"), as_version=4)
    assert filled.cells[1].metadata.tags == ["injected-parameters"]
    nbformat.validate(filled)
    profile = home() / "profiles" / "demo.yaml"
    profile.write_text(profile.read_text() + "notebooks: [02]\n")
    lab("demo", {"run": "other", "rate": 2.0}, show=False)
    assert "lab/other/ has 5 notebooks with the parameters of demo" in capsys.readouterr().out
    given = '# From the profile demo\nrun = "other"\nrate = 2.0\n'
    assert sources(home() / "lab" / "other" / "02_training.ipynb")[1] == given


def test_what_a_user_edited_is_never_lost(copies, capsys):
    change(copy("01_data"), "clips = 3", "clips = 9")
    change(copy("02_training"), "nothing", "changes")  # it ran: outputs alone
    before = [path.read_bytes() for path in copies]
    lab("demo", show=False)  # neither notebooks nor profile changed
    assert [path.read_bytes() for path in copies] == before
    edit("01_data", "(this", "1\n(this")
    edit("02_training", "import os", "import re, os")
    capsys.readouterr()
    lab("demo", show=False)
    aside = f"01_data_{date.today()}.ipynb"
    kept = copy(Path(aside).stem)
    assert sorted(path.name for path in copy("01_data").parent.iterdir()) == sorted(
        [*(path.name for path in copies), aside]
    )
    assert kept.read_bytes() == before[1] and "clips = 9" in sources(kept)[1]
    made = sources(copy("01_data"))
    assert "clips = 3" in made[1] and "1\n(this" in made[-1]
    assert "import re, os" in sources(copy("02_training"))[-1]
    said = capsys.readouterr().out
    assert f"since you edited its copy: yours is now lab/demo/{aside}" in said
    assert said.count("yours is now") == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "mine"])
def test_another_profile_moves_edited_copies_aside_whatever_they_are(copies, content):
    for number in ("", "_2", "_3"):
        copy("03_results").write_text(content)
        lab("demo", {"rate": 2, "run": "demo"}, show=False)
        assert copy(f"03_results_{date.today()}{number}").read_text() == content
        assert sources(copy("03_results"))[1] == '# From the profile demo\nrun = "demo"\n'


def test_the_command_opens_jupyterlab_at_the_project_on_the_copies(three, monkeypatch, capsys):
    called = []
    monkeypatch.setattr(os, "execve", lambda *given: called.append(given))
    words = ["lab", "demo", "--set", "rate=2", "run=mine"]
    assert __main__.main([*words, "--no-open"]) == 0 and not called
    assert __main__.main([*words, "--", "--no-browser", "--port", "1234"]) == 0
    ((program, command, environment),) = called
    assert program == sys.executable and command[:3] == [program, "-m", "jupyterlab"]
    assert command[3] == f"--ServerApp.root_dir={three}"
    assert command[4] == "--LabApp.default_url=/lab/tree/lab/mine"
    assert command[5:] == ["--no-browser", "--port", "1234"]
    assert environment["EMOSHARE_HOME"] == str(three)
    assert str(PROJECT) in environment["PYTHONPATH"].split(os.pathsep)
    with pytest.raises(WorkbookError, match="did you mean 'demo'"):
        lab("demmo", show=False)
    assert __main__.main(["lab", "demo", "--set", "clip=1"]) == 2


def test_a_copy_runs_from_its_folder_and_finds_the_project(copies, monkeypatch):
    """As a kernel of JupyterLab does, whose folder is the notebook's."""
    import papermill

    Run("demo").folder.mkdir(parents=True)
    (Run("demo").folder / "clips.csv").write_text("clip\n" * 6)
    assert TRAIN in sources(copy("02_training"))
    papermill.execute_notebook(
        str(copy("02_training")).replace("{", "{{").replace("}", "}}"), None,
        cwd=copy("02_training").parent, progress_bar=False, kernel_name="python3",
    )  # fmt: skip
    assert (Run("demo").folder / "predictions.txt").read_text() == "3"


def test_the_project_is_found_from_a_folder_in_it(three, tmp_path, monkeypatch):
    """Where the package is installed apart from the checkout, as by pip without -e."""
    monkeypatch.delenv("EMOSHARE_HOME")
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "site-packages" / "paths.py"))
    for inside in ("lab/demo", "notebooks", "."):
        (three / inside).mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(three / inside)
        assert home() == three
    monkeypatch.chdir(tmp_path)
    assert home() == tmp_path


def test_working_copies_are_none_of_git_s_or_the_linter_s_business(tmp_path):
    ignored = ["git", "check-ignore", "--quiet", "--no-index", "lab/demo/01_data_preparation.ipynb"]
    done = subprocess.run(ignored, cwd=PROJECT, capture_output=True)
    if done.returncode == 128:
        pytest.skip("no git checkout")
    assert done.returncode == 0
    other = ["git", "check-ignore", "--quiet", "--no-index", "emoshare_utils/runner/lab.py"]
    assert subprocess.run(other, cwd=PROJECT, capture_output=True).returncode == 1
