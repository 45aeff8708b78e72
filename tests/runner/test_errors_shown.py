"""What the user can mend is shown as the message alone, in a notebook and on the screen."""

import nbformat
import pytest
from toy_notebooks import write

from emoshare_utils.corpora.clip_table import CorpusError
from emoshare_utils.errors import NotMadeYet, Stopped, UserError
from emoshare_utils.features.encoder import EncoderError
from emoshare_utils.files import FolderError
from emoshare_utils.names import ExtensionError, UnknownName
from emoshare_utils.paths import Run
from emoshare_utils.runner.notebooks import NotebookFailed
from emoshare_utils.runner.workbook import run

LOADS = "from emoshare_utils import corpora\ncorpora.load('table', '/no/such/folder')"


def test_a_notebook_shows_a_corpus_error_without_our_source(project, capsys):
    write("01_data", "# The clips", LOADS, parameters="run = 'x'\nroot = None\nclips = 1\nrate = 1")
    with pytest.raises(NotebookFailed) as failed:
        run("demo")
    message = "CorpusError: root = '/no/such/folder' is not a folder: give the one that holds "
    executed = nbformat.read(Run("demo").notebooks / "01_data.ipynb", as_version=4)
    (error,) = [o for cell in executed.cells for o in cell.get("outputs", []) if "ename" in o]
    assert error.ename == "CorpusError" and len(error.traceback) == 1
    assert error.traceback[0].startswith(message)
    shown = str(failed.value).splitlines()
    assert shown[1].startswith("01_data failed in cell 3/3:")
    assert shown[2].startswith(f"    {message}") and shown[3] == ""
    assert failed.value.cause.startswith(message)
    assert ".py" not in str(failed.value) and "Traceback" not in str(failed.value)


@pytest.mark.parametrize(
    "kind", [CorpusError, EncoderError, FolderError, UnknownName, ExtensionError, NotMadeYet]
)
def test_errors_of_users_are_told_alone(kind):
    error = kind("a.csv is empty: fill it")
    assert isinstance(error, UserError)
    assert error._render_traceback_() == [f"{kind.__name__}: a.csv is empty: fill it"]


def test_stopped_by_hand_is_told_alone_and_is_no_error():
    stopped = Stopped("epochs are kept")
    assert stopped._render_traceback_() == ["Stopped: epochs are kept"]
    assert isinstance(stopped, KeyboardInterrupt) and not isinstance(stopped, Exception)


def test_an_error_of_ours_keeps_its_traceback(project):
    write("01_data", "1 / 0", parameters="run = 'x'\nroot = None\nclips = 1\nrate = 1")
    with pytest.raises(NotebookFailed, match="Traceback"):
        run("demo")
