"""A project of three notebooks that take a second each."""

import pytest
from toy_notebooks import DATA, PROFILE, RESULTS, TRAIN, write

from emoshare_utils.runner import stamps


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, in a folder whose name papermill would take for a format.

    The package counts as unchanged, whoever works on it meanwhile.
    """
    root = tmp_path / "a {strange} place"
    for name in ("notebooks", "profiles"):
        (root / name).mkdir(parents=True)
    monkeypatch.setenv("EMOSHARE_HOME", str(root))
    monkeypatch.delenv("EMOSHARE_EXTENSIONS", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stamps, "PACKAGE", tmp_path / "no package")
    (root / "profiles" / "demo.yaml").write_text(PROFILE)
    return root


@pytest.fixture
def three(project):
    """Data, training and results; nothing has run."""
    write("01_data", "# The clips", DATA, parameters="run = 'x'\nroot = None\nclips = 1")
    write("02_training", "# Training", TRAIN, parameters="run = 'x'\nrate: float = 0.1")
    write("03_results", RESULTS)
    return project
