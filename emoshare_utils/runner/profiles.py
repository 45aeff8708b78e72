"""Profiles: one YAML file of parameters per experiment."""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from emoshare_utils.paths import home, shown
from emoshare_utils.runner.notebooks import Notebook, WorkbookError


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`name=value` strings as a dict, the values read as YAML; WorkbookError if one is not."""
    values = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise WorkbookError(f"--set {setting}: expected name=value, such as --set run=mine")
        values[name] = _parse_yaml(text, f"--set {setting}")
    return values


def read_parameters(
    profile: str, overrides: Mapping[str, Any], notebooks: Iterable[Notebook]
) -> dict[str, Any]:
    """The profile's values with `overrides` in their place; one value for a list is a list of one.

    Raises WorkbookError where the profile is unknown or lacks `run` or `root` (which a simulated
    corpus can do without), and where either has a name that no notebook declares, or a value of
    another kind than its default.
    """
    path = _profile_path(profile)
    values = _parse_yaml(path.read_text("utf-8"), shown(path))
    if not isinstance(values, dict):
        raise WorkbookError(f"{shown(path)}: expected lines of `name: value`")
    for name in ("run", "root"):
        if name not in values and (name, values.get("corpus")) != ("root", "simulated"):
            raise WorkbookError(f"{shown(path)} lacks {name}, which every profile has")
    known = {name: value for notebook in notebooks for name, value in notebook.parameters.items()}
    fitted = {}
    for source, given in ((shown(path), values), ("--set", overrides)):
        for name, value in given.items():
            if name not in known:
                hint = _nearest(str(name), sorted(known))
                raise WorkbookError(f"{source}: no notebook has a parameter {name!r}; {hint}")
            fitted[name] = _fit(name, value, known[name], source)
    return fitted


def _fit(name: str, value: Any, default: Any, source: str) -> Any:
    """The value, in a list where the default is one; a word for a number or a truth is refused."""
    if isinstance(default, list) and not isinstance(value, list | None):
        return [value]
    if isinstance(default, bool):
        expected, fits = "true or false", isinstance(value, bool | None)
    else:
        expected = "a number"
        fits = not isinstance(default, int | float) or not isinstance(value, str | bool)
    if not fits:
        raise WorkbookError(
            f"{source}: {name} = {value!r}: expected {expected}, as its default {default!r}"
        )
    return value


def _profile_path(profile: str) -> Path:
    path = Path(profile).expanduser()
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path.resolve()
    shelf = {path.stem: path for path in (home() / "profiles").glob("*.yaml")}
    if profile not in shelf:
        hint = _nearest(profile, sorted(shelf))
        raise WorkbookError(f"no profile {profile!r} in {home() / 'profiles'}; {hint}")
    return shelf[profile]


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}"


class _Yaml(yaml.SafeLoader):
    """YAML as of version 1.2: 1e-4 is a number, and `no` is Norwegian rather than False."""

    yaml_implicit_resolvers: dict = {}


for _kind, _pattern in {
    "null": r"~|null|",
    "bool": r"[Tt]rue|[Ff]alse",
    "int": r"[-+]?(0|[1-9][0-9]*)",
    "float": r"(?=.*[.eE])[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?",
}.items():
    _Yaml.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}", re.compile(f"(?:{_pattern})$"), [None]
    )


def _parse_yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, Loader=_Yaml)
    except yaml.YAMLError as error:
        raise WorkbookError(f"{source} is not YAML: {error}") from None
