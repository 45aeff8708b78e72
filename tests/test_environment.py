"""One set of pinned packages, whichever way it is installed, and the commands the README names."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from emoshare_utils.paths import Run
from emoshare_utils.runner.stamps import LIBRARIES

PROJECT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((PROJECT / "environment.yml").read_text())["dependencies"]
DEPENDENCIES = [
    Requirement(text)
    for text in PYPROJECT["dependencies"] + PYPROJECT["optional-dependencies"]["dev"]
]
LOCK = [
    Requirement(line)
    for line in (PROJECT / "requirements.lock").read_text().splitlines()
    if line.strip() and not line.lstrip().startswith("#")
]


def target(name):
    """The recipe of a target of the Makefile."""
    makefile = (PROJECT / "Makefile").read_text()
    return re.search(rf"^{name}:.*\n((?:\t.*\n)*)", makefile, re.M).group(1)


def test_the_lock_pins_everything():
    assert len(LOCK) > 50
    for requirement in LOCK:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement


@pytest.mark.parametrize("dependency", DEPENDENCIES, ids=lambda dependency: dependency.name)
def test_the_lock_has_every_dependency(dependency):
    pins = [pin for pin in LOCK if pin.name == dependency.name]
    assert pins, f"make lock: {dependency} is not in requirements.lock"
    for python in ("3.11", "3.12", "3.13"):
        on_linux = {"python_version": python, "python_full_version": f"{python}.1"}
        chosen = [
            pin
            for pin in pins
            if pin.marker is None
            or pin.marker.evaluate(on_linux | {"sys_platform": "linux", "platform_system": "Linux"})
        ]
        assert len(chosen) == 1, f"{dependency} on Python {python}: {chosen}"
        (pin,) = chosen[0].specifier
        assert dependency.specifier.contains(pin.version)


def test_conda_installs_the_same_lock():
    (pip,) = (part["pip"] for part in CONDA if isinstance(part, dict))
    assert pip == ["-r requirements.lock", "-e ."]
    named = [part for part in CONDA if isinstance(part, str)]
    assert sorted(part.partition("=")[0] for part in named) == ["pip", "python"]
    (python,) = (part.partition("=")[2] for part in named if part.startswith("python="))
    assert SpecifierSet(PYPROJECT["requires-python"]).contains(python)
    assert "install" in target(r"\$\(READY\)") and "-r requirements.lock" in target(r"\$\(READY\)")


@pytest.fixture
def make_env(tmp_path):
    """Run `make env` in a copy whose Python only prints what it is asked; returns that."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / "venv").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "bin" / "python").chmod(0o755)

    def run(*flags):
        command = ["make", "env", "PYTHON=true", "VENV=venv", "BIN=bin", *flags]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout

    return run


def test_the_environment_is_the_lock(make_env, tmp_path):
    assert "-r requirements.lock\n" in make_env()
    assert not (tmp_path / "venv" / "requirements.txt").exists()


def test_without_a_gpu_it_is_the_lock_less_what_only_a_gpu_uses(make_env, tmp_path):
    assert "--no-deps -r venv/requirements.txt\n" in make_env("CPU=1")
    kept = (tmp_path / "venv" / "requirements.txt").read_text().splitlines()
    kept = [str(Requirement(line)) for line in kept if line.strip() and line[0] not in " #"]
    left_out = [pin.name for pin in LOCK if str(pin) not in kept]
    assert len(kept) + len(left_out) == len(LOCK)
    named = re.search(r"^GPU_ONLY := (.*)$", (PROJECT / "Makefile").read_text(), re.M).group(1)
    assert sorted(left_out) == sorted(named.split("|"))
    # torch's build for Linux is linked against the other libraries and does not load without them
    assert all(re.match("triton|cuda-|nvidia-", name) for name in left_out)


def test_one_command_tests_everything():
    check = PROJECT / ".ci" / "run"
    assert os.access(check, os.X_OK)
    commands = [line for line in check.read_text().splitlines() if line.startswith("make ")]
    assert commands == ["make lint", "make test"]
    assert "pytest" in target("test") and "ruff check" in target("lint")
    assert "nbstripout --verify" in target("lint")
    assert re.search(r"^make test\b", (PROJECT / "README.md").read_text(), re.M)


TARGETS = "env figures studies report publish test bench lab lint format lock clean help"


@pytest.mark.parametrize("name", TARGETS.split())
def test_the_makefile_documents_itself(name):
    assert re.search(rf"^{name}:.* ## \w", (PROJECT / "Makefile").read_text(), re.M)


def test_figures_and_studies_run_the_same_profile():
    run = "\t$(BIN)/python -m emoshare_utils"
    assert target("figures") == f"{run} run $(PROFILE) $(ARGS)\n"
    assert target("studies") == f"{run} run $(PROFILE) --studies $(ARGS)\n"
    assert target("report") == f"{run} report $(PROFILE) $(ARGS)\n"
    assert target("publish") == f"{run} publish $(PROFILE) $(ARGS)\n"
    assert target("lab") == f"{run} lab $(PROFILE) $(ARGS)\n"


def test_what_a_run_draws_is_ignored_and_the_record_is_not():
    def ignored(path):
        command = ["git", "check-ignore", "--quiet", "--no-index", path]
        return subprocess.run(command, cwd=PROJECT, capture_output=True).returncode

    if ignored("README.md") == 128:
        pytest.skip("no git checkout")
    assert ignored("figures/demo/table1.csv") == ignored("figures/mine/fig2.png") == 0
    assert ignored("figures/published/demo/table1.csv") == 1
    assert Run("demo").published.is_dir() and Run("crema_d").published.is_dir()


def test_the_runner_watches_libraries_that_are_dependencies():
    assert set(LIBRARIES) <= {Requirement(text).name for text in PYPROJECT["dependencies"]}


def test_a_user_id_without_a_name_can_use_torch():
    """As in a container that runs as a number of its own."""
    script = """
import os, pwd
for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
    os.environ.pop(name, None)
def nobody(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = nobody
import emoshare_utils
import torch
torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]).step()
import torch._inductor.runtime.cache_dir_utils as places
places.default_cache_dir()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
