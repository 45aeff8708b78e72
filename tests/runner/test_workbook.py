"""The runner: which notebooks run, in which order, and how a failure shows."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from toy_notebooks import FOLDERS, PROFILE, edit, ran, write

from emoshare_utils import __main__
from emoshare_utils.files import FolderError, locked
from emoshare_utils.paths import Run, resolve
from emoshare_utils.runner import execute
from emoshare_utils.runner.notebooks import NotebookFailed, WorkbookError
from emoshare_utils.runner.publishing import publish
from emoshare_utils.runner.workbook import run

# `run`, in a process of its own
COMMAND = """
import sys
from pathlib import Path
from emoshare_utils.runner import stamps, workbook
stamps.PACKAGE = Path('no package')
"""


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
    command = COMMAND + (
        "print([step.ran for step in workbook.run('demo')])\n"
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
    assert "02_training  what it starts from changed: 01_data" in capsys.readouterr().out
    assert (this.figures / "table1.csv").read_text() == "2"
    assert ran(run("demo", {"clips": 4, "rate": 0.5})) == ["02"]

    # One notebook alone, whatever the others are; forced, whatever it is.
    assert ran(run("demo", only=["3"])) == []
    assert ran(run("demo", only=["03_re"], force=True)) == ["03"]
    assert ran(run("demo", only=["02"])) == ["02"]


@pytest.fixture
def five(project):
    """A quickstart, which runs where it is named, three notebooks of the paper, and a study."""
    for name in ("00_start", "01_data", "03_training", "05_results", "06_study"):
        write(name, "1", parameters="run = 'x'\nroot = None\nclips = 1\nrate = 1.0")
    return project


def test_which_notebooks_run(five, capsys):
    def chosen(**options):
        return [step.notebook[:2] for step in run("demo", **options)]

    assert chosen() == ["01", "03", "05"]
    assert ran(run("demo", studies=True)) == ["06"]
    assert chosen(studies=True) == ["01", "03", "05", "06"]
    assert chosen(only=["06", "1"]) == ["01", "06"]
    assert chosen(start="03") == ["03", "05"]
    assert chosen(start="03_tr", studies=True) == ["03", "05", "06"]
    assert chosen(start="06", studies=True) == ["06"]
    with pytest.raises(WorkbookError, match="--from 06 leaves none of 01_data, .*: add --studies"):
        run("demo", start="06")
    profile = five / "profiles" / "demo.yaml"
    for given, expected in (
        ("all", ["01", "03", "05", "06"]),
        ("[06, 01]", ["01", "06"]),
        ("3", ["03"]),
        ("[05_results]", ["05"]),
        ("[00, 01]", ["00", "01"]),
    ):
        profile.write_text(f"{PROFILE}notebooks: {given}\n")
        assert chosen() == expected
        assert chosen(studies=True) == sorted({*expected, "06"})
        assert chosen(only=["06"]) == ["06"]
    profile.write_text(PROFILE + "notebooks: [01, 05]\n")
    assert chosen(start="03") == ["05"]
    with pytest.raises(WorkbookError, match="--from 06 .* all that the profile names"):
        run("demo", start="06")
    profile.write_text(PROFILE + "notebooks: [08]\n")
    with pytest.raises(WorkbookError, match="demo.yaml: notebooks: 08: .* one of 00_start, 01"):
        run("demo")


def test_what_the_quickstart_makes_runs_no_other_notebook_again(three, capsys):
    made = FOLDERS + "(this.folder / 'quick.csv').write_text(recording)"
    write("00_start", made, parameters="run = 'x'\nrecording = 'a'")
    assert ran(run("demo")) == ["01", "02", "03"]
    assert ran(run("demo", only=["00", "01", "02", "03"])) == ["00"]
    assert ran(run("demo", {"recording": "b"}, only=["00", "01", "02", "03"])) == ["00"]


def test_the_command_line_says_the_same(five, monkeypatch, capsys):
    asked = {}
    monkeypatch.setattr("emoshare_utils.runner.workbook.run", lambda **given: asked.update(given))
    words = ["--set", "clips=2", "rate=3", "--set", "clips=4", "--only", "01", "03"]
    assert __main__.main(["run", "demo", *words, "--studies", "--force"]) == 0
    assert asked.pop("profile") == "demo" and asked.pop("overrides") == {"clips": 4, "rate": 3}
    assert asked.pop("at_once") is None
    assert asked == {"only": ["01", "03"], "start": None, "studies": True, "force": True}
    assert __main__.main(["run", "demo", "--from", "03"]) == 0
    assert asked["start"] == "03" and asked["only"] == [] and not asked["studies"]
    assert __main__.main(["run", "demo", "--at-once", "3"]) == 0 and asked["at_once"] == 3
    with pytest.raises(SystemExit):
        __main__.main(["run", "demo", "--from", "03", "--only", "03"])
    assert "not allowed with argument" in capsys.readouterr().err


def test_help_is_quick():
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        command = [sys.executable, "-m", "emoshare_utils", "--help"]
        assert "publish" in subprocess.run(command, capture_output=True, text=True).stdout
        seconds.append(time.monotonic() - start)
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", "pass"])
        seconds[-1] -= time.monotonic() - start
    assert min(seconds) < 0.3


def test_a_failure_stops_the_run_and_the_next_one_resumes(project, capfd):
    part = "if not (this.folder / 'part.npy').exists(): (this.folder / 'part.npy').write_text('p')"
    write("01_data", FOLDERS, parameters="run = 'x'\nroot = None")
    bad = "rate = 2\nif rate > 1:\n    raise ValueError('share 1.2 is outside [0, 1]')"
    stop = "assert not (this.folder / '.stop').exists()"
    write("02_training", "# Half", FOLDERS + part, "# The rest", bad, stop)
    write("03_results", FOLDERS, parameters="run = 'x'\nclips = 1\nrate = 1.0")
    this = Run("demo")

    assert __main__.main(["run", "demo"]) == 1
    said = capfd.readouterr()
    for expected in (
        "02_training failed in cell 4/5",
        "ValueError: share 1.2 is outside [0, 1]",
        "runs/demo/notebooks/02_training.ipynb",
        "Once that is fixed, the same command resumes with 02_training",
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


@pytest.mark.parametrize("failing", [1, 2])
def test_a_kernel_that_does_not_start_is_started_once_more(three, monkeypatch, capsys, failing):
    run_cells, starts = execute._run_cells, []

    def no_port(*arguments):
        starts.append(arguments)
        if len(starts) <= failing:
            raise RuntimeError("Kernel died before replying to kernel_info")
        run_cells(*arguments)

    monkeypatch.setattr(execute, "_run_cells", no_port)
    if failing == 1:
        assert ran(run("demo")) == ["01", "02", "03"]
        assert "01_data  the kernel did not start, once more (Kernel" in capsys.readouterr().out
    else:
        with pytest.raises(NotebookFailed, match="01_data failed in its start:"):
            run("demo")
    assert len(starts) == (4 if failing == 1 else 2)


def wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert path.exists()


def test_a_full_disk_says_what_to_do(three, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("emoshare_utils.runner.workbook.execute", full)
    assert __main__.main(["run", "demo"]) == 2
    assert "No space left on device): make room (" in capsys.readouterr().err
    monkeypatch.setattr("emoshare_utils.files.os.fsync", full)
    assert __main__.main(["run", "demo"]) == 2
    assert "No space left on device): make room (" in capsys.readouterr().err


def test_a_file_system_without_locks_says_what_to_do(three, monkeypatch, capsys):
    def no_flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("emoshare_utils.files.fcntl.flock", no_flock)
    assert __main__.main(["run", "demo"]) == 2
    assert "cannot lock files (flock): mount it so, or use another" in capsys.readouterr().err


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
        wait_for(Run("demo").folder / "pid")
        message = rf"runs/demo is being written by another run: .* \(process {first.pid}\)"
        message += ", or give this one another name with --set run="
        with pytest.raises(FolderError, match=message):
            run("demo")
        assert __main__.main(["run", "demo"]) == 2
        (this := Run("demo")).figures.mkdir(parents=True, exist_ok=True)
        (this.figures / "table1.csv").touch()
        with pytest.raises(FolderError, match=rf"{first.pid}\)$"):  # no other name would help
            publish("demo")
        first.send_signal(signal.SIGINT)
        said = first.communicate(timeout=30)
    finally:
        first.kill()
    assert first.returncode == 130
    assert said[1].strip() == (
        "stopped in 01_data, cell 3/3: the same command resumes with that notebook"
    )
    with locked(Run("demo").folder):
        pass


FILL = """
import time
for number in range(2):
    file = folder / f'{number}.npy'
    if not file.exists(): file.write_text(f'{run} {number}')
    if not (this.folder / '.quick').exists():
        (this.folder / '.killed').touch()
        time.sleep(60)
"""


@pytest.mark.parametrize("between", ["", "wav/0.npy"])
def test_a_killed_run_resumes_and_files_still_have_their_maker(project, between):
    """`between`: a file of the notebook before, lost after the kill."""
    make = FOLDERS + "folder = this.folder / '{0}'\nfolder.mkdir(exist_ok=True)\n"
    rest = "run = 'x'\nroot = None\nclips = 1\nrate = 1.0"
    quick = FILL[: FILL.index("    if not (this.folder")]
    write("01_data", make.format("wav") + quick, parameters=rest)
    write("02_features", make.format("features") + FILL)
    write("03_results", FOLDERS + "(this.figures / 'table.csv').write_text('1')")
    this = Run("demo")
    command = [sys.executable, "-c", COMMAND + "workbook.run('demo')"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(this.folder / ".killed")
    finally:
        first.kill()
        first.wait()
    assert (this.folder / "features" / "0.npy").exists()
    (this.folder / ".quick").touch()
    if between:
        (this.folder / between).unlink()

    assert ran(run("demo")) == (["01"] if between else []) + ["02", "03"]
    assert ran(run("demo")) == []
    for number in (1, 0):
        shard = this.folder / "features" / f"{number}.npy"
        shard.unlink()
        assert "02" in ran(run("demo"))
        assert shard.read_text() == f"demo {number}"
        assert ran(run("demo")) == []
    (this.folder / "wav" / "1.npy").unlink()
    assert ran(run("demo")) == ["01"]
    assert ran(run("demo")) == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["demo", "--set", "clip=2"], "no notebook has a parameter 'clip'; did you mean 'clips'?"),
        (["demo", "--set", "lstm=2"], "a parameter 'lstm'; did you mean sizes.lstm?"),
        (["demmo"], "did you mean 'demo'?"),
        (["xyz"], "expected one of demo"),
        (["nowhere/else.yaml"], "expected one of demo"),
        (["demo", "--set", "clips"], "expected name=value"),
        (["demo", "--set", "clips=[1"], "is not YAML"),
        (["demo", "--set", "clips=many"], "expected a number, as its default 1"),
        (["demo", "--set", "clips=true"], "expected a number"),
        (["demo", "--set", "clips.more=1"], "expected a number"),
        (["demo", "--set", "shuffle=no"], "expected true or false"),
        (["demo", "--set", "sizes=3"], "sizes = 3: expected entries, such as {name: value}"),
        (["demo", "--set", "sizes.lstm.x=1"], "sizes.lstm = {'x': 1}: expected a number"),
        (["demo", "--set", "sizes.lstm=wide"], "sizes.lstm = 'wide': expected a number"),
        (["demo", "--set", "sizes.cnn.first=2"], "expected a list, as its default [4]"),
        (["demo", "--only", "07"], "--only 07: expected the number or name of one of 01_data"),
        (["demo", "--only", "01", "4", "more"], "--only more: expected the number or name"),
        (["demo", "--from", "07"], "--from 07: expected the number or name of one of 01_data"),
        (["demo", "--set", "run=../x"], "run = '../x' cannot name a folder"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_made(three, capsys, arguments, message):
    write("04_more", parameters="run = 'x'\nshuffle = True\nsizes = {'lstm': 8, 'cnn': [4]}")
    assert __main__.main(["run", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (three / "runs").exists()


def test_a_parameters_cell_may_not_compute(three):
    write("04_more", parameters="run = 'x'\nfolder = 'runs/' + run")
    with pytest.raises(WorkbookError, match=r"04_more.ipynb: `folder = 'runs/' \+ run`"):
        run("demo")
    (three / "notebooks" / "04_more.ipynb").write_text("<<<<<<< ours\n")
    with pytest.raises(WorkbookError, match="04_more.ipynb is not a notebook"):
        run("demo")


def test_run_names_and_folders(project):
    for name in ("..", "../x", "a/b", "", ".hidden", "a b", "a\n", "/tmp", None, 3):
        with pytest.raises(ValueError, match="cannot name a folder"):
            Run(name)
    assert Run("crema_d-2.1").figures == project / "figures" / "crema_d-2.1"
    assert Run("demo").published == project / "figures" / "published" / "demo"
    assert resolve("../corpus") == project.parent / "corpus"
    assert resolve("/data/corpus") == Path("/data/corpus")
    assert resolve("~/corpus") == Path.home() / "corpus"


def test_what_an_error_says_to_run_again_is_run_again(three, capfd):
    """As for a shard of features that is damaged: its maker had seen nothing."""
    assert ran(run("demo")) == ["01", "02", "03"]
    clips = Run("demo").folder / "clips.csv"
    made = clips.read_text()
    check = "assert here.exists(), 'damaged: run notebooks/01_data.ipynb again'"
    edit("03_results", "this = Run(run)", f"this = Run(run)\nhere = this.folder / 'mark'\n{check}")
    edit("01_data", "this = Run(run)", "this = Run(run)\n(this.folder / 'mark').touch()")
    assert ran(run("demo", only=["01"])) == ["01"]
    (Run("demo").folder / "mark").unlink()
    stamp = Run("demo").notebooks / ".01_data.json"
    record = json.loads(stamp.read_text())
    record["outputs"] = {k: v for k, v in record["outputs"].items() if "mark" not in k}
    record.pop("checksum")
    stamp.write_text(json.dumps(record))
    capfd.readouterr()
    assert ran(run("demo")) == ["01", "03"]
    assert "03_results  needs 01_data again: AssertionError: damaged" in capfd.readouterr().out
    assert clips.read_text() == made
    # once: the second time it is an error, and the next run begins with the maker
    edit("03_results", check, "raise ValueError('run notebooks/01_data.ipynb again')")
    with pytest.raises(NotebookFailed):
        run("demo")
    capfd.readouterr()
    with pytest.raises(NotebookFailed):
        run("demo", only=["03"])
    assert "01_data  has not run to its end yet" in _said(run, capfd)


def _said(run, capfd) -> str:
    with pytest.raises(NotebookFailed):
        run("demo")
    return capfd.readouterr().out
