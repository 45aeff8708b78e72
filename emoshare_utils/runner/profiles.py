"""Profiles: one YAML file of parameters per experiment, which may say only what differs."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from emoshare_utils.names import nearest
from emoshare_utils.paths import Run, home, resolve, shown
from emoshare_utils.runner.notebooks import Notebook, WorkbookError, find

NO_PARAMETERS = ("base", "extensions", "notebooks")
REPLACED = ("options", "sources", "heard")  # mappings whose entries mean nothing elsewhere


@dataclass(frozen=True)
class Profile:
    """An experiment.

    Attributes:
        parameters: the values it gives, for each notebook that declares them.
        notebooks: what it consists of, studies apart; empty: the paper's.
        extensions: Python files that every kernel imports for the names they register.
    """

    parameters: dict[str, Any]
    notebooks: list[Notebook]
    extensions: list[Path]

    @property
    def run(self) -> Run:
        """Where its files lie; WorkbookError where its `run` can name no folder."""
        try:
            return Run(self.parameters["run"])
        except ValueError as error:
            raise WorkbookError(str(error)) from None

    def chosen(self, notebooks: list[Notebook], studies: bool = False) -> list[Notebook]:
        """Its notebooks, or the paper's if it names none; and if asked for, the studies."""
        paper = [n for n in notebooks if not n.is_quickstart and not n.is_study]
        asked = [n for n in notebooks if studies and n.is_study]
        return [n for n in notebooks if n in (self.notebooks or paper) + asked]

    def given(self, notebook: Notebook) -> dict[str, Any]:
        """The values it gives to a notebook."""
        return {n: self.parameters[n] for n in notebook.parameters if n in self.parameters}


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` strings, the values as YAML; the last one counts where two have one name.

    Raises WorkbookError where one is not of that form.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise WorkbookError(f"--set {setting}: expected name=value, such as --set run=mine")
        values.pop(name, None)  # so that it comes last
        values[name] = _parse_yaml(text, f"--set {setting}")
    return values


def read_profile(profile: str, overrides: Mapping[str, Any], notebooks: list[Notebook]) -> Profile:
    """Lay the profile's values over its base's, and `overrides` over both.

    What none of them gives is as in the notebooks' parameter cells. A mapping, such as `sizes`, is
    laid entry by entry over the base's, or else over the notebook's default; an entry that is null
    is left out, so that the package's default holds, and null for the mapping leaves out all. Only
    `options`, `sources` and `heard`, whose entries belong to one corpus or encoder, are replaced
    whole; a dotted name (`sources.simulated.n_clips`) gives one entry of any mapping and keeps the
    others.

    Where a notebook expects a list, one value is a list of one. The notebooks that a profile names
    replace its base's; its extensions add to them.

    Raises WorkbookError where the profile or its base is unknown or a base of itself; where it
    lacks `run`, or `root`, which a simulated corpus can do without; and where a value has a name
    that no notebook declares or is of another kind than the notebook's default.
    """
    known = {name: value for notebook in notebooks for name, value in notebook.parameters.items()}
    parameters: dict[str, Any] = {}
    named: list[Notebook] = []
    extensions: list[Path] = []
    layers = _layers(profile, Path.cwd())
    for path, layer in layers:
        if asked := _as_list(layer.get("notebooks")):
            named = find(asked, notebooks, f"{shown(path)}: notebooks:")
        extensions += _files(_as_list(layer.get("extensions")), f"{shown(path)}: extensions:")
        given = {name: value for name, value in layer.items() if name not in NO_PARAMETERS}
        parameters = _laid(parameters, given, known, shown(path))
    path, layer = layers[-1]
    if "run" not in layer:
        raise WorkbookError(f"{shown(path)} lacks run, which every profile has, also with a base")
    if "root" not in parameters and parameters.get("corpus") != "simulated":
        raise WorkbookError(f"{shown(path)} lacks root, the folder of the corpus")
    everywhere = filter(None, os.environ.get("EMOSHARE_EXTENSIONS", "").split(os.pathsep))
    extensions += _files(everywhere, "EMOSHARE_EXTENSIONS:")
    parameters = _laid(parameters, overrides, known, "--set")
    return Profile(parameters, named, list(dict.fromkeys(extensions)))


def _layers(profile: str, folder: Path, above: tuple[Path, ...] = ()) -> list[tuple[Path, dict]]:
    """The files of a profile with their values: its base's, if it has one, then its own."""
    path = _profile_path(profile, folder)
    if path in above:
        names = " -> ".join(each.stem for each in (*above, path))
        raise WorkbookError(f"{shown(path)} is a base of itself ({names}): remove one `base:`")
    values = _parse_yaml(path.read_text("utf-8"), shown(path))
    if not isinstance(values, dict):
        raise WorkbookError(f"{shown(path)}: expected lines of `name: value`")
    base = values.get("base")
    below = _layers(str(base), path.parent, (*above, path)) if base else []
    return [*below, (path, values)]


def _profile_path(profile: str, folder: Path) -> Path:
    path = folder / Path(profile).expanduser()
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path.resolve()
    shelf = {path.stem: path.resolve() for path in (home() / "profiles").glob("*.yaml")}
    if profile not in shelf:
        hint = nearest(profile, sorted(shelf))
        raise WorkbookError(f"no profile {profile!r} in {home() / 'profiles'}; {hint}")
    return shelf[profile]


def _laid(
    under: Mapping[str, Any], values: Mapping[str, Any], known: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """The parameters `under` with `values` laid over them, of names and kinds as in `known`."""
    laid = dict(under)
    for dotted, value in values.items():
        name, *entries = str(dotted).split(".")
        if name not in known:
            raise WorkbookError(
                f"{source}: no notebook has a parameter {name!r}; {_hint(name, known)}"
            )
        for entry in reversed(entries):
            value = {entry: value}
        value = _fit(name, value, known[name], source)
        if isinstance(known[name], Mapping):
            replaced = value is None or (name in REPLACED and not entries)
            below = {} if replaced else laid.get(name, known[name])
            value = _merged(below, value or {})
        laid[name] = value
    return laid


def _hint(name: str, known: Mapping[str, Any]) -> str:
    entries = [p for p in known if isinstance(known[p], Mapping) and name in known[p]]
    meant = " or ".join(f"{p}.{name}" for p in entries)
    return f"did you mean {meant}?" if meant else nearest(name, sorted(known))


def _merged(under: Any, over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `under` entry by entry; None leaves an entry out."""
    merged = dict(under) if isinstance(under, Mapping) else {}
    for name, value in over.items():
        merged[name] = _merged(merged.get(name), value) if isinstance(value, Mapping) else value
    return {name: value for name, value in merged.items() if value is not None}


def _fit(name: str, value: Any, default: Any, source: str) -> Any:
    """The value, in a list where the default is one; a value of another kind is refused."""
    if isinstance(default, Mapping):
        expected, fits = "entries, such as {name: value}", isinstance(value, Mapping | None)
    elif isinstance(default, list):
        expected, fits = "a list", not isinstance(value, Mapping)
        value = value if value is None else _as_list(value)
    elif isinstance(default, bool):
        expected, fits = "true or false", isinstance(value, bool | None)
    else:
        expected = "a number"
        fits = not isinstance(default, int | float) or not isinstance(value, str | bool | Mapping)
    if not fits:
        raise WorkbookError(
            f"{source}: {name} = {value!r}: expected {expected}, as its default {default!r}"
        )
    if value and isinstance(default, Mapping) and name not in REPLACED:
        return {k: _fit(f"{name}.{k}", v, default.get(k), source) for k, v in value.items()}
    return value


def _as_list(value: Any) -> list:
    """One value as a list of one; None, as of a line left blank, as none."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _files(places: Iterable[str], source: str) -> list[Path]:
    files = [resolve(str(place)) for place in places]
    for file in files:
        if not file.is_file():
            raise WorkbookError(f"{source} {file} is not a file")
    return files


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
