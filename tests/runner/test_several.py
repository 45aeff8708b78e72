"""Studies that run at the same time: whose file is whose, on which cores, and how they stop."""

import ast
import json
import os
import signal
import subprocess
import sys
import time

import jupyter_client.launcher
import pytest
from toy_notebooks import DATA, FOLDERS, edit, ran, write

from emoshare_utils import __main__
from emoshare_utils.paths import Run
from emoshare_utils.runner import several, stamps
from emoshare_utils.runner.notebooks import NotebookFailed
from emoshare_utils.runner.workbook import run

pytestmark = pytest.mark.skipif(len(several._cores()) < 2, reason="one core runs one at a time")

# waits until the other study has begun, so that both run at the same time, then writes its files
STUDY = (
    FOLDERS
    + """
import os, time
from emoshare_utils.files import write_text
own = this.folder / mine
own.mkdir(exist_ok=True)
(own / '.begun').touch()
deadline = time.monotonic() + 60
while not (this.folder / other / '.begun').exists() and not (this.folder / '.alone').exists():
    assert time.monotonic() < deadline, 'the other study did not run at the same time'
    time.sleep(.05)
write_text(own / 'early.csv', mine)
write_text(this.figures / f'{mine}.csv', mine)
write_text(own / 'cores.txt', ' '.join(map(str, sorted(os.sched_getaffinity(0)))))
print('half', flush=True)
"""
)
LATE = "time.sleep(late)\nwrite_text(own / 'late.csv', mine)"


@pytest.fixture
def studies(project, quick_kernels):
    """The clips, and two studies that wait for each other; the second one ends later."""
    write(
        "01_data", "# The clips", DATA, parameters="run = 'x'\nroot = None\nclips = 1\nrate = 1.0"
    )
    for name, mine, other, late in (("06_a", "a", "b", 0.0), ("07_b", "b", "a", 0.4)):
        parameters = f"run = 'x'\nmine = {mine!r}\nother = {other!r}\nlate = {late}"
        write(name, STUDY, LATE, parameters=parameters)
    return project


def both(**options):
    return ran(run("demo", studies=True, at_once=2, **options))


def owned(name):
    stamp = json.loads((Run("demo").notebooks / f".{name}.json").read_text())
    return {path.removeprefix("runs/demo/") for path in stamp["outputs"]}


def test_studies_run_at_the_same_time_and_keep_their_own_files(studies, capsys):
    this = Run("demo")
    assert both() == ["01", "06", "07"]
    for name, mine in (("06_a", "a"), ("07_b", "b")):
        files = {f"{mine}/early.csv", f"{mine}/late.csv", f"{mine}/cores.txt"}
        assert owned(name) == files | {f"figures/demo/{mine}.csv"}
    assert {"06  half", "07  half"} <= set(capsys.readouterr().out.splitlines())
    assert not list(this.notebooks.glob(".*.written"))
    assert both() == []
    (this.folder / ".alone").touch()
    for number, mine in (("06", "a"), ("07", "b")):
        for file in (this.folder / mine / "early.csv", this.figures / f"{mine}.csv"):
            file.unlink()
            assert both() == [number]
            assert file.read_text() == mine
    assert both() == []


def test_no_study_starts_from_what_another_made(studies):
    assert both() == ["01", "06", "07"]
    (Run("demo").folder / ".alone").touch()
    edit("06_a", "write_text(own / 'late.csv', mine)", "write_text(own / 'late.csv', 'new')")
    assert both() == ["06"]
    assert both(overrides={"clips": 2}) == ["01", "06", "07"]


def test_each_study_keeps_to_cores_of_its_own(studies, monkeypatch):
    """Kernels of this test are forked elsewhere: their thread's cores are looked at."""
    kept = {}

    def execute(notebook, given, this, extensions, kernels):
        kept[notebook.name] = os.sched_getaffinity(0)
        time.sleep(0.5)

    monkeypatch.setattr("emoshare_utils.runner.workbook.execute", execute)
    before = os.sched_getaffinity(0)
    both(only=["06", "07"])
    assert len(kept) == 2
    assert not kept["06_a"] & kept["07_b"]
    assert kept["06_a"] | kept["07_b"] == before == os.sched_getaffinity(0)


def test_a_kernel_has_the_cores_of_its_thread(project, monkeypatch):
    real = "jupyter_client.provisioning.local_provisioner.launch_kernel"
    monkeypatch.setattr(real, jupyter_client.launcher.launch_kernel)  # none that is forked
    cores = FOLDERS + "import os\n(this.folder / mine).write_text(str(os.sched_getaffinity(0)))"
    for name in ("06_a", "07_b"):
        rest = "root = None\nclips = 1\nrate = 1.0"
        write(name, cores, parameters=f"run = 'x'\nmine = {name!r}\n{rest}")
    assert both(only=["06", "07"]) == ["06", "07"]
    kept = [ast.literal_eval((Run("demo").folder / name).read_text()) for name in ("06_a", "07_b")]
    assert kept[0] and kept[1] and not kept[0] & kept[1]


def test_a_study_that_fails_stops_no_other(studies, capsys):
    edit("06_a", LATE, f"{LATE}\nraise ValueError('no such clip')")
    assert __main__.main(["run", "demo", "--studies", "--at-once", "2"]) == 1
    said = capsys.readouterr()
    assert "06_a  failed (ValueError: no such clip): the other studies go on" in said.out
    assert "06_a failed in cell 4/4" in said.err
    assert said.err.rstrip().endswith("The other studies have run.")
    assert owned("06_a") >= {"a/early.csv", "a/late.csv"}
    (Run("demo").folder / ".alone").touch()
    edit("07_b", LATE, f"{LATE}\nraise ValueError('nor this')")
    with pytest.raises(NotebookFailed, match="06_a failed(?s:.*)These failed too: 07_b; the other"):
        both()
    for name in ("06_a", "07_b"):
        edit(name, "raise ValueError", "str")
    assert both() == ["06", "07"]


def test_in_turn_too_a_study_that_fails_stops_no_other(studies, capsys):
    (Run("demo").folder).mkdir(parents=True)
    (Run("demo").folder / ".alone").touch()
    edit("06_a", LATE, f"{LATE}\nraise ValueError('no such clip')")
    with pytest.raises(NotebookFailed, match="06_a"):
        run("demo", studies=True, at_once=1)
    assert "    half" in capsys.readouterr().out.splitlines()
    assert owned("07_b") >= {"b/early.csv", "b/late.csv"}
    assert ran(run("demo", studies=True, at_once=1, only=["07"])) == []


def test_what_a_study_says_to_run_again_is_run_again(studies, capsys):
    both()
    (Run("demo").folder / ".alone").touch()
    check = "import os\nassert os.path.exists(this.folder / 'mark'), 'run 01_data.ipynb again'"
    edit("07_b", LATE, f"{check}\n{LATE}")
    edit("06_a", LATE, f"{LATE}\n")
    stamp = Run("demo").notebooks / ".01_data.json"
    edit("01_data", "this = Run(run)", "this = Run(run)\nmark = this.folder / 'mark'")
    assert ran(run("demo")) == ["01"]
    edit("01_data", "mark = this.folder / 'mark'", "(this.folder / 'mark').touch()")
    record = json.loads(stamp.read_text())
    record.pop("checksum")
    record["given"]["code"] = _code_of("01_data")
    stamp.write_text(json.dumps(record))
    assert both() == ["01", "06", "07"]
    assert "07_b  needs 01_data again: AssertionError" in capsys.readouterr().out


def _code_of(name):
    from emoshare_utils.runner.notebooks import read_notebooks
    from emoshare_utils.runner.stamps import Stamps

    (notebook,) = [n for n in read_notebooks() if n.name == name]
    return Stamps(Run("demo")).inputs(name, notebook.cells, {})["code"]


COMMAND = """
import sys
from pathlib import Path
from emoshare_utils import __main__
from emoshare_utils.runner import stamps
stamps.PACKAGE = Path('no package')
sys.exit(__main__.main(['run', 'demo', '--studies', '--at-once', '2']))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_and_killed_runs_leave_no_kernel_and_resume(studies, how):
    """Also whose file is whose survives a kill."""
    for name in ("06_a", "07_b"):
        edit(name, "time.sleep(late)", "(own / '.pid').write_text(str(os.getpid()))\nSLEEP")
        edit(name, "SLEEP", "if not (this.folder / '.alone').exists(): time.sleep(60)")
    this = Run("demo")
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    files = [this.folder / mine / ".pid" for mine in "ab"]
    try:
        deadline = time.monotonic() + 60
        while not all(file.exists() and file.read_text() for file in files):
            assert time.monotonic() < deadline and process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        process.send_signal(how)
        said = process.communicate(timeout=30)[1]
    finally:
        process.kill()
        process.wait()
    kernels = [int(file.read_text()) for file in files]
    deadline = time.monotonic() + 30
    while any(map(alive, kernels)):
        assert time.monotonic() < deadline, "a kernel outlives its run"
        time.sleep(0.1)
    if how != signal.SIGKILL:
        assert process.returncode == 130
        assert "stopped in 06_a, cell 4/4 and in 07_b, cell 4/4: the same command resumes" in said
    (this.folder / ".alone").touch()
    assert both() == ["06", "07"]
    for name, mine in (("06_a", "a"), ("07_b", "b")):
        files = {f"{mine}/early.csv", f"{mine}/late.csv", f"{mine}/cores.txt"}
        assert owned(name) == files | {f"figures/demo/{mine}.csv"}


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_how_many_go_at_once(monkeypatch):
    assert several.how_many({}) == several.how_many({"scheduler": "", "device": "cpu"}) == 2
    assert several.how_many({"scheduler": "local:4"}) == 1
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert several.how_many({"device": "auto"}) == 1
    assert several.how_many({"device": "cpu"}) == 2
    monkeypatch.setattr(several, "_cores", lambda: [3])
    assert several.how_many({"device": "cpu"}) == 1


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5"])
def test_a_number_of_studies_that_is_none_is_refused(given, capsys):
    with pytest.raises(SystemExit):
        __main__.main(["run", "demo", f"--at-once={given}"])
    assert "expected a whole number from 1 on" in capsys.readouterr().err


def test_where_cores_cannot_be_named_kernels_have_fewer_threads(monkeypatch):
    assert several.Kernels(3).environment == {}
    monkeypatch.delattr(os, "sched_setaffinity")
    assert several.Kernels(3).environment == {"OMP_NUM_THREADS": "3"}


def test_a_file_that_goes_while_a_study_runs_is_nobody_s(studies, monkeypatch):
    """As a checkpoint does, between the look at a folder and the look at its files."""
    (Run("demo").folder).mkdir(parents=True)
    (Run("demo").folder / ".alone").touch()
    listed = stamps.files_below
    monkeypatch.setattr(stamps, "files_below", lambda folder: [*listed(folder), folder / "gone"])
    assert both() == ["01", "06", "07"]
    assert owned("06_a") == {"a/early.csv", "a/late.csv", "a/cores.txt", "figures/demo/a.csv"}
