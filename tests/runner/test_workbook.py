"""The runner: which notebooks run, when, with what, and how a failure shows."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from emoshare_utils import __main__
from emoshare_utils.paths import Run, home, resolve
from emoshare_utils.runner import stamps as ledger
from emoshare_utils.runner.execute import NotebookFailed
from emoshare_utils.runner.notebooks import read_notebooks
from emoshare_utils.runner.profiles import WorkbookError, parse_settings, read_parameters
from emoshare_utils.runner.workbook import _locked, run

PROFILE = "run: demo\nroot: null\nclips: 3\nrate: 1e-4\n"
FOLDERS = """
from emoshare_utils.paths import Run
this = Run(run)
this.figures.mkdir(parents=True, exist_ok=True)
"""
DATA = FOLDERS + "(this.folder / 'clips.csv').write_text('clip\\n' * clips)"
TRAIN = (
    FOLDERS
    + """
import os, sys
print('0 %\\r\\033[1mtraining at\\033[0m', rate, flush=True)
n = (this.folder / 'clips.csv').read_text().count('clip')
(this.folder / 'predictions.txt').write_text(f'{n // 2}')
(this.folder / 'kernel.txt').write_text(f'{sys.executable} {os.getcwd()}')
"""
)
RESULTS = FOLDERS + (
    "(this.figures / 'table1.csv').write_text((this.folder / 'predictions.txt').read_text())"
)

package_sources = ledger._package_sources


def write(name, *cells, parameters="run = 'x'"):
    """A notebook of a parameters cell and code cells; text that starts with # is prose."""
    made = [new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    made += [new_markdown_cell(c) if c.startswith("#") else new_code_cell(c) for c in cells]
    nbformat.write(new_notebook(cells=made), str(home() / "notebooks" / f"{name}.ipynb"))


def edit(name, old, new, cell_type="code"):
    path = home() / "notebooks" / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == cell_type:
            cell.source = cell.source.replace(old, new)
    nbformat.write(notebook, str(path))


def ran(steps):
    """The numbers of the notebooks that ran."""
    return [step.notebook[:2] for step in steps if step.ran]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, in a folder whose name papermill would take for a format.

    The package counts as unchanged, whoever works on it meanwhile.
    """
    root = tmp_path / "a {strange} place"
    for name in ("notebooks", "profiles"):
        (root / name).mkdir(parents=True)
    monkeypatch.setenv("EMOSHARE_HOME", str(root))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ledger, "_package_sources", list)
    (root / "profiles" / "demo.yaml").write_text(PROFILE)
    return root


@pytest.fixture
def three(project):
    """Data, training and results; nothing has run."""
    write("01_data", "# The clips", DATA, parameters="run = 'x'\nroot = None\nclips = 1")
    write("02_training", "# Training", TRAIN, parameters="run = 'x'\nrate: float = 0.1")
    write("03_results", RESULTS)
    return project


def test_runs_what_is_out_of_date_and_nothing_else(three, tmp_path, capsys, monkeypatch):
    kernels = tmp_path / "kernels" / "python3"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text(
        json.dumps({"argv": ["false"], "display_name": "a user's own", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    this = Run("demo")

    assert ran(run("demo")) == ["01", "02", "03"]
    assert this.folder == three / "runs" / "demo"
    assert (this.figures / "table1.csv").read_text() == "1"
    where = (this.folder / "kernel.txt").read_text()
    assert where == f"{sys.executable} {three / 'notebooks'}"
    given = nbformat.read(this.notebooks / "02_training.ipynb", 4).metadata.papermill.parameters
    assert given == {"run": "demo", "rate": 1e-4}
    said = capsys.readouterr().out.splitlines()
    assert "01_data  cell 3/3  The clips" in said
    assert "    training at 0.0001" in said
    assert said[-2:] == ["figures/demo/", "  table1  csv"]

    # Nothing changed: it takes no time, and papermill is not even imported.
    command = (
        "import sys; from emoshare_utils import ledger, workbook; ledger._package_sources = list; "
        "print([step.ran for step in run('demo')]); "
        "print({'torch', 'transformers', 'pandas', 'papermill', 'nbformat'} & set(sys.modules))"
    )
    start = time.monotonic()
    again = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert time.monotonic() - start < 3
    assert again.stdout.endswith("[False, False, False]\nset()\n"), again.stderr

    # Time and prose do not count.
    for path in [*this.folder.glob("*.*"), *(three / "notebooks").iterdir()]:
        os.utime(path, (1, 1))
    edit("01_data", "The clips", "All the clips", "markdown")
    assert ran(run("demo")) == []

    # Code counts for its own notebook; for later ones, only what it leaves.
    edit("01_data", "this = Run(run)", "this = Run(run)  # of many")
    assert ran(run("demo")) == ["01"]

    # An edited or missing file reruns its maker.
    (this.figures / "table1.csv").write_text("2")
    assert ran(run("demo")) == ["03"]
    assert (this.figures / "table1.csv").read_text() == "1"
    (this.folder / "clips.csv").unlink()
    assert ran(run("demo")) == ["01"]
    (this.notebooks / "03_results.ipynb").unlink()
    assert ran(run("demo")) == ["03"]
    capsys.readouterr()

    # A parameter reruns the notebook that takes it, and the later ones if files then differ.
    assert ran(run("demo", {"clips": 4})) == ["01", "02", "03"]
    assert "02_training  what it starts from changed: runs/demo/clips.csv" in (
        capsys.readouterr().out
    )
    assert (this.figures / "table1.csv").read_text() == "2"
    assert ran(run("demo", {"clips": 4, "rate": 0.5})) == ["02"]

    # One notebook alone, whatever the others are; forced, whatever it is.
    assert ran(run("demo", only="3")) == []
    assert ran(run("demo", only="03_re", force=True)) == ["03"]
    assert ran(run("demo", only="02")) == ["02"]


def test_a_corpus_folder_counts_by_label_content_and_audio_size(three):
    corpus = three / "corpus"
    corpus.mkdir()
    (corpus / "labels.csv").write_text("a,1")
    (corpus / "a.wav").write_bytes(b"1234")
    (three / "profiles" / "demo.yaml").write_text(PROFILE.replace("null", "corpus"))

    def of(root="corpus"):
        return ledger._folder(root)

    first = of()
    (corpus / "a.wav").write_bytes(b"4321")
    os.utime(corpus / "labels.csv", (1, 1))
    assert of() == first
    (corpus / "labels.csv").write_text("a,2")
    second = of()
    assert second != first
    (corpus / "a.wav").write_bytes(b"12345")
    third = of()
    assert third != second
    (corpus / "a.wav").rename(corpus / "b.wav")
    assert of() not in (third, None)
    assert of(None) is of("no/such/folder") is None


def test_folders_of_encoders_and_sources_count_by_content(three):
    for name in ("mine", "speech", "more"):
        (three / name).mkdir()
        (three / name / "a.json").write_text(name)

    def of():
        sources = {"a": "speech", "b": {"root": "more"}, "simulated": ""}
        parameters = {"encoder": ["fbank", "hubert-base@6", "mine@2"], "sources": sources}
        return ledger.Ledger(Run("demo")).inputs("01_data", [], parameters)["other folders"]

    first = of()
    assert first.keys() == {"mine", "speech", "more"} and None not in first.values()
    for name in first:
        (three / name / "a.json").write_text("another")
        assert [key for key, value in of().items() if value != first[key]] == [name]
        (three / name / "a.json").write_text(name)
    one = ledger.Ledger(Run("demo")).inputs("01_data", [], {"encoder": "mine"})
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


def test_the_package_and_the_libraries_count(three, monkeypatch):
    names = {name for name, _ in package_sources()}
    assert {"paths.py", "progress.py"} <= names
    assert not {"workbook.py", "ledger.py", "screen.py"} & names

    def shared():
        return ledger.Ledger(Run("demo")).shared

    first = shared()
    assert first["libraries"]["python"] == platform.python_version()
    monkeypatch.setattr(ledger.metadata, "version", lambda library: "0")
    assert shared()["libraries"] != first["libraries"]
    monkeypatch.setattr(ledger, "_package_sources", lambda: [("paths.py", "another")])
    assert shared()["emoshare_utils"] != first["emoshare_utils"]


def test_a_failure_stops_the_run_and_the_next_one_resumes(project, capfd):
    make = "(this.folder / 'log').write_text('1')"
    more = "assert (this.folder / 'log').exists()\n(this.folder / 'log').write_text('12')"
    part = "if not (this.folder / 'part.npy').exists(): (this.folder / 'part.npy').write_text('p')"
    write("01_data", FOLDERS + make, parameters="run = 'x'\nroot = None")
    bad = "rate = 2\nif rate > 1:\n    raise ValueError('share 1.2 is outside [0, 1]')"
    stop = "assert not (this.folder / '.stop').exists()"
    write("02_training", "# Half", FOLDERS + part, "# The rest", bad, more, stop)
    write("03_results", FOLDERS, parameters="run = 'x'\nclips = 1\nrate = 1.0")
    this = Run("demo")

    assert __main__.main(["run", "demo"]) == 1
    said = capfd.readouterr()
    for expected in (
        "02_training failed in cell 4/6",
        "ValueError: share 1.2 is outside [0, 1]",
        "runs/demo/notebooks/02_training.ipynb",
        "the same command goes on with 02_training",
    ):
        assert expected in said.err
    assert "\x1b" not in said.err + said.out
    assert "03_results" not in said.out
    copy = nbformat.read(this.notebooks / "02_training.ipynb", 4)
    errors = [output for cell in copy.cells for output in cell.get("outputs", [])]
    assert [error.evalue for error in errors] == ["share 1.2 is outside [0, 1]"]
    assert not list(this.notebooks.glob("*running*"))

    with pytest.raises(NotebookFailed, match="02_training"):
        run("demo")
    edit("02_training", "rate = 2", "rate = 1")
    assert ran(run("demo")) == ["02", "03"]
    assert ran(run("demo")) == []

    # What the failed attempt made, and the next one found done, still belongs to the notebook.
    (this.folder / "part.npy").unlink()
    assert ran(run("demo")) == ["02"]

    # Nor does an earlier success stand once a later attempt has failed.
    (this.folder / ".stop").touch()
    with pytest.raises(NotebookFailed, match="02_training"):
        run("demo", force=True)
    (this.folder / ".stop").unlink()
    assert ran(run("demo")) == ["02"]

    # A file that two notebooks write takes both.
    (this.folder / "log").unlink()
    assert ran(run("demo")) == ["01", "02"]
    assert (this.folder / "log").read_text() == "12"
    assert ran(run("demo")) == []


@pytest.mark.parametrize(
    "cell, error",
    [
        ("import sys\nif not skip: sys.exit(0)", "SystemExit: sys.exit(0) in a notebook"),
        ("import os\nif not skip: os.kill(os.getpid(), 9)", "DeadKernelError: the kernel died"),
    ],
)
def test_a_notebook_that_ends_early_has_failed(project, cell, error):
    parameters = "run = 'x'\nroot = None\nclips = 1\nrate = 1.0\nskip = False"
    write("01_data", cell, "x = 1", parameters=parameters)
    with pytest.raises(NotebookFailed, match=r"01_data failed in cell 3/4") as caught:
        run("demo")
    assert error in str(caught.value)
    copy = nbformat.read(Run("demo").notebooks / "01_data.ipynb", 4)
    outputs = [output for c in copy.cells for output in c.get("outputs", [])]
    assert any(f"{o.ename}: {o.evalue}".startswith(error) for o in outputs if "ename" in o)
    assert run("demo", {"skip": True})[0].ran


def test_a_second_run_is_refused_and_ctrl_c_stops_the_first(project):
    slow = FOLDERS + "import time\n(this.folder / 'pid').write_text('')\ntime.sleep(60)"
    write("01_data", slow, parameters="run = 'x'\nroot = None\nclips = 1\nrate = 1.0")
    first = subprocess.Popen(
        [sys.executable, "-m", "emoshare_utils", "run", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        deadline = time.monotonic() + 30
        while not (Run("demo").folder / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(WorkbookError, match=rf"already going on \(process {first.pid}\)"):
            run("demo")
        first.send_signal(signal.SIGINT)
        said = first.communicate(timeout=30)
    finally:
        first.kill()
    assert first.returncode == 130
    assert said[1].strip() == (
        "stopped in 01_data, cell 3/3: the same command goes on with that notebook"
    )
    with _locked(Run("demo")):
        pass


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["demo", "--set", "clip=2"], "no notebook has a parameter 'clip'; did you mean 'clips'?"),
        (["demmo"], "did you mean 'demo'?"),
        (["xyz"], "there are demo"),
        (["nowhere/else.yaml"], "there are demo"),
        (["demo", "--set", "clips"], "expected name=value"),
        (["demo", "--set", "clips=[1"], "is not YAML"),
        (["demo", "--set", "clips=many"], "expected a number, as its default 1"),
        (["demo", "--set", "clips=true"], "expected a number"),
        (["demo", "--set", "shuffle=no"], "expected true or false"),
        (["demo", "--only", "07"], "the number or name of one of 01_data, 02_training"),
        (["demo", "--set", "run=../x"], "run = '../x' cannot name a folder"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_made(three, capsys, arguments, message):
    write("04_more", parameters="run = 'x'\nshuffle = True")
    assert __main__.main(["run", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (three / "runs").exists()


@pytest.mark.parametrize(
    "profile, message",
    [
        (
            PROFILE + "rat: 2\n",
            r"demo.yaml: no notebook has a parameter 'rat'; did you mean 'rate'",
        ),
        ("run: demo\n", "demo.yaml lacks root"),
        ("- run\n", "expected lines of `name: value`"),
        ("run: [", "demo.yaml is not YAML"),
    ],
)
def test_a_bad_profile_is_refused(three, profile, message):
    (three / "profiles" / "demo.yaml").write_text(profile)
    with pytest.raises(WorkbookError, match=message):
        run("demo")


def test_a_parameters_cell_may_not_compute(three):
    write("04_more", parameters="run = 'x'\nfolder = 'runs/' + run")
    with pytest.raises(WorkbookError, match=r"04_more.ipynb: `folder = 'runs/' \+ run`"):
        run("demo")
    (three / "notebooks" / "04_more.ipynb").write_text("<<<<<<< ours\n")
    with pytest.raises(WorkbookError, match="04_more.ipynb is not a notebook"):
        run("demo")


def test_one_value_for_a_list_is_a_list_of_one(three):
    write("04_more", parameters="run = 'x'\nencoders = ['fbank', 'mfcc']")
    notebooks = read_notebooks()
    for given, expected in (("mfcc", ["mfcc"]), (["mfcc"], ["mfcc"]), (None, None)):
        values = read_parameters("demo", {"encoders": given}, notebooks)
        assert values == {
            "run": "demo",
            "root": None,
            "clips": 3,
            "rate": 1e-4,
            "encoders": expected,
        }


def test_yaml_values():
    given = parse_settings(
        ["a=1e-4", "b=[no, en]", "c=true", "d=-3", "e=", "f=007", "g=a=b", "h=2.5", "i=~/clips"]
    )
    assert given == {
        "a": 1e-4, "b": ["no", "en"], "c": True, "d": -3, "e": None, "f": "007", "g": "a=b",
        "h": 2.5, "i": "~/clips",
    }  # fmt: skip


def test_run_names_and_folders(project):
    for name in ("..", "../x", "a/b", "", ".hidden", "a b", "a\n", "/tmp", None, 3):
        with pytest.raises(ValueError, match="cannot name a folder"):
            Run(name)
    assert Run("crema_d-2.1").figures == project / "figures" / "crema_d-2.1"
    assert resolve("../corpus") == project.parent / "corpus"
    assert resolve("/data/corpus") == Path("/data/corpus")
    assert resolve("~/corpus") == Path.home() / "corpus"


def test_a_file_that_a_finished_notebook_leaves_as_it_found_it_is_up_to_date(project):
    this, inputs = Run("demo"), {"code": "1"}
    this.notebooks.mkdir(parents=True)
    (this.notebooks / "01_data.ipynb").touch()
    manifest = this.folder / "manifest.json"
    with ledger.Ledger(this).recording("01_data", inputs):
        manifest.write_text("made")
    manifest.write_text("made again by another run of the same corpus")
    assert "manifest.json is gone or changed" in ledger.Ledger(this).outdated("01_data", inputs)
    with ledger.Ledger(this).recording("01_data", inputs):
        pass  # finds its part done
    record = ledger.Ledger(this)
    assert not record.outdated("01_data", record.given["01_data"])
