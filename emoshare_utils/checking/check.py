"""`check`: what a profile's run will meet, in plain words, before it starts."""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Mapping
from typing import Any

import torch

from emoshare_utils.checking.corpus_facts import (
    read_corpus,
    say_audio,
    say_identical,
    say_labels,
    say_shares,
)
from emoshare_utils.checking.cost import say_cost
from emoshare_utils.checking.report import Report
from emoshare_utils.device import choose_device
from emoshare_utils.files import size
from emoshare_utils.paths import Run, home
from emoshare_utils.runner.notebooks import WorkbookError, read_notebooks
from emoshare_utils.runner.profiles import read_profile

PACKAGES = ("torch", "transformers", "numpy", "emoshare-utils")


def check(profile: str, overrides: Mapping[str, Any] | None = None) -> bool:
    """Print what the run of a profile will meet, and what to do about it.

    Args:
        profile, overrides: as `runner.workbook.run` takes them.

    Returns:
        Whether nothing was found that would stop the run.

    Raises:
        WorkbookError: no such profile, or a value in it that no notebook takes.
    """
    notebooks = read_notebooks()
    read = read_profile(profile, overrides or {}, notebooks)
    parameters = {name: value for each in notebooks for name, value in each.parameters.items()}
    parameters |= read.parameters
    try:
        this = Run(parameters["run"])
    except ValueError as error:
        raise WorkbookError(str(error)) from None
    os.environ["EMOSHARE_EXTENSIONS"] = os.pathsep.join(map(str, read.extensions))
    report = Report()
    report.section(f"Profile {profile}, run {this.name}")
    corpus, clips = read_corpus(parameters, report), None
    if corpus is not None:
        say_labels(corpus, report)
        clips = say_audio(corpus, parameters, report)
        say_identical(corpus, report)
        say_shares(corpus, report)
    usable = _say_machine(parameters, report)
    if usable and corpus is not None and len(clips):
        encodes = not read.notebooks or any(n.name.startswith("02") for n in read.notebooks)
        if encodes:
            say_cost(corpus, clips, this, parameters, report)
    return report.close()


def _say_machine(parameters: Mapping[str, Any], report: Report) -> bool:
    """Versions, devices and free disk; whether the device that the profile names is here."""
    report.section("This machine")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    report.row("versions", f"Python {platform.python_version()}, " + ", ".join(versions))
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    report.row(
        "devices", f"CPU, {torch.get_num_threads()} threads; " + (", ".join(gpus) or "no GPU")
    )
    report.row("free disk", f"{size(shutil.disk_usage(home()).free)} in {home()}")
    try:
        choose_device(parameters["device"])
    except ValueError as error:
        report.problem(str(error), "write device: auto in the profile")
        return False
    return True
