"""Every command that README, docs and notebooks give is one that the command line takes.

What the commands do is tested where each is made; here their words are, by the parser itself, and
the profiles, the parameters and the modules they name.
"""

import importlib.util
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from emoshare_utils.__main__ import _parser
from emoshare_utils.runner.notebooks import read_notebooks
from emoshare_utils.runner.profiles import parse_settings, read_profile

PROJECT = Path(__file__).parents[1]
MAKES_ITS_PROFILE = "mine"  # which `new` writes
COMMAND = re.compile(r"!?(\.venv/bin/)?(python -m (emoshare_utils|benchmarks)|make|papermill)\b")


def texts() -> dict[str, str]:
    """README, docs and the notebooks' prose, by name."""
    pages = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
    found = {page.name: page.read_text() for page in pages}
    for notebook in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        cells = json.loads(notebook.read_text())["cells"]
        prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        found[notebook.name] = "\n".join(prose)
    return found


def commands() -> list[str]:
    """Each command once: the lines of code blocks, comments off, and those within `` ` ``."""
    found: list[str] = []
    for text in texts().values():
        blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.M | re.S)
        lines = [line for block in blocks for line in block.splitlines()]
        lines += re.findall(r"`([^`\n]+)`", text)
        stripped = (line.split("  #")[0].strip() for line in lines)
        found += [line for line in stripped if COMMAND.match(f"{line} ") and "…" not in line]
    return list(dict.fromkeys(line.removeprefix("!").removeprefix(".venv/bin/") for line in found))


def expanded(words: list[str]) -> list[list[str]]:
    """What make would run."""
    printed = subprocess.run(
        ["make", "--dry-run", "--always-make", *words], cwd=PROJECT, capture_output=True, text=True
    )
    assert printed.returncode == 0, printed.stderr
    lines = [line for line in printed.stdout.splitlines() if " -m " in line]
    return [shlex.split(line.strip().rstrip("\\")) for line in lines]


def check_ours(arguments: list[str], notebooks: list) -> None:
    """The parser takes them, and the profile and its parameters are there."""
    given = vars(_parser().parse_args(arguments))
    if "set" in given:
        profile = "demo" if given["profile"] == MAKES_ITS_PROFILE else given["profile"]
        read_profile(profile, parse_settings(given["set"]), notebooks)


def test_there_are_commands():
    kinds = {command.split()[2 if command.startswith("python") else 0] for command in commands()}
    assert kinds >= {"emoshare_utils", "make", "papermill"}


@pytest.mark.parametrize("command", commands())
def test_a_command_is_one_that_there_is(command):
    notebooks, words = read_notebooks(), shlex.split(command)
    lines = expanded(words[1:]) if words[0] == "make" else [words]
    for line in lines:
        if line[0] == "papermill":
            declared = next(n for n in notebooks if f"{n.name}.ipynb" == Path(line[1]).name)
            names = [line[at + 1] for at, word in enumerate(line) if word == "-p"]
            assert names and set(names) <= set(declared.parameters)
            continue
        module, *arguments = line[line.index("-m") + 1 :]
        if module == "emoshare_utils":
            check_ours(arguments, notebooks)
        assert importlib.util.find_spec(module), module
