"""What encoders, layers and architectures are called, and the registries that hold them.

A registry maps a name to what implements it. Anyone can add to one from a file of their own; the
files in the environment variable EMOSHARE_EXTENSIONS are run before a name counts as unknown.
"""

import dataclasses
import difflib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from threading import RLock
from types import NoneType, UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from emoshare_utils.errors import UserError
from emoshare_utils.files import checksum
from emoshare_utils.paths import resolve, shown

Settings = TypeVar("Settings")
POOLED = "pooled"  # in place of a layer: the mean over time of each
ALL = "all"  # in place of a layer: all of them, of which a network learns a weighted mean
FRAMES = "frames:"  # before a folder of frames that were made elsewhere
BESIDE = " + "  # between feature sets whose predicted shares are averaged
UNTRAINED = "untrained"  # the small encoders' network before its first update

# In the order of a table's rows; encoders without a label follow the paper's four.
LABELS = {
    "wav2vec2-base": "wav2vec2.0 (Base)",
    "wav2vec2-large": "wav2vec2.0 (Large)",
    "hubert-base": "HuBERT (Base)",
    "hubert-large": "HuBERT (Large)",
    "wav2vec2-mini": "wav2vec2-mini",
    "hubert-mini": "HuBERT-mini",
    "hubert-mini-3": "HuBERT-mini-3",
    "untrained": "untrained",
    "mfcc": "MFCC",
    "fbank": "Mel filterbank",
    "spectrogram": "Spectrogram",
    "egemaps": "eGeMAPS",
    "baseline": "Baseline",
}


class UnknownName(UserError, ValueError, KeyError):
    """A name that no registry entry has; the message has the nearest one or all there are."""

    __str__ = Exception.__str__  # a KeyError shows the repr of its message


class ExtensionError(UserError, ValueError):
    """A file in EMOSHARE_EXTENSIONS that cannot be run; the message has the cause."""


class Registry(Mapping):
    """Names and what implements them; UnknownName where a name has nothing.

    Args:
        kind: what the names are of, for messages: "corpus", "loss", ...
        entries: what is there from the start.
    """

    def __init__(self, kind: str, entries: Mapping[Any, Any] | None = None) -> None:
        self.kind, self.entries, self.built_in = kind, {}, set()
        for name, entry in (entries or {}).items():
            self.build_in(name, entry)

    def build_in(self, name: Any, entry: Any) -> None:
        """Add an entry of the package itself, which `register` does not replace."""
        self.entries[name] = entry
        self.built_in.add(name)

    def register(self, name: Any, entry: Any) -> None:
        """Add an entry, in place of one from outside the package that had the name.

        Raises:
            ValueError: the package itself has an entry of that name.
        """
        if name in self.built_in and entry is not self.entries.get(name):
            raise ValueError(
                f"{self.kind} = {name!r} comes with the package and cannot be replaced: register "
                "yours under another name"
            )
        self.entries[name] = entry

    def __getitem__(self, name: Any) -> Any:
        if name not in self:
            raise UnknownName(f"{self.kind} = {name!r}: {nearest(name, self)}")
        return self.entries[name]

    def __contains__(self, name: Any) -> bool:
        if name not in self.built_in:  # even if it is there: what half ran counts as broken
            load_extensions()
        return name in self.entries

    def __iter__(self) -> Iterator[Any]:
        load_extensions()
        return iter(self.entries)

    def __len__(self) -> int:
        return len(list(iter(self)))


def nearest(name: Any, known: Iterable[Any]) -> str:
    """ "did you mean …?", or else all there are, for messages."""
    known = [str(each) for each in known]
    near = difflib.get_close_matches(str(name), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"


def settings_of(cls: type[Settings], given: Mapping[str, Any] | None) -> Settings:
    """A dataclass of settings: its defaults, changed as `given` says.

    One number where a list of them is expected becomes a list of one.

    Raises:
        UnknownName: an entry of `given` that it does not have; the message has the nearest.
        ValueError: a value of another kind than its field's, or none where there is no default.
    """
    given, kinds = given or {}, get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in given:
        if name not in fields:
            raise UnknownName(
                f"{cls.__name__.lower()} has no entry {name!r}: {nearest(name, fields)}"
            )
    for name, field in fields.items():
        if name not in given and field.default is field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{cls.__name__.lower()} needs an entry {name!r}")
    return cls(**{name: of_kind(kinds[name], name, value) for name, value in given.items()})


# kind -> the types of its values, and its name in messages
_KINDS = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
}


def of_kind(kind: Any, name: str, value: Any) -> Any:
    """The value as the setting `name`, annotated with `kind`, keeps it.

    One value where a list is expected becomes a list of one. An annotation that is none of bool,
    int, float, str, or a list or tuple of one of these, takes any value.

    Raises:
        ValueError: the value is of another kind.
    """
    parts = set(get_args(kind)) if get_origin(kind) in (Union, UnionType) else {kind}
    if len(parts - {NoneType}) != 1 or (value is None and NoneType in parts):
        return value
    (kind,) = parts - {NoneType}  # int of int | None
    container, entries = get_origin(kind) or kind, set(get_args(kind)) - {...}
    if container not in (Sequence, list, tuple):
        if not _is(value, kind):
            raise ValueError(f"{name} = {value!r}: expected {_KINDS[kind][1]}")
        return value
    if len(entries) > 1:
        return value
    (entry,) = entries or {object}
    values = value if isinstance(value, list | tuple) else [value]
    if isinstance(value, Mapping) or not all(_is(each, entry) for each in values):
        each = f", each entry {_KINDS[entry][1]}" if entry in _KINDS else ""
        raise ValueError(f"{name} = {value!r}: expected a list{each}")
    return values if container is Sequence else container(values)


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of this kind; any is where the kind has no checks. A bool is no number."""
    if kind not in _KINDS:
        return True
    return isinstance(value, _KINDS[kind][0]) and isinstance(value, bool) == (kind is bool)


_LOADED: set[Path] = set()
_RUNNING: set[Path] = set()  # the one that is being run, if any
_LOADING = RLock()


def load_extensions() -> None:
    """Run the Python files named in EMOSHARE_EXTENSIONS (separated as PATH is), each once.

    They run in that order: one may look up what those before it have registered. A relative path
    starts at the project's root (`paths.home`).

    Raises:
        ExtensionError: a file is missing or cannot be run; the next call tries again.
    """
    with _LOADING:
        for place in filter(None, os.environ.get("EMOSHARE_EXTENSIONS", "").split(os.pathsep)):
            path = resolve(place)
            if path not in _LOADED and not _RUNNING:  # else an extension looks something up
                _load(path)


def _load(path: Path) -> None:
    """Run an extension, or raise ExtensionError."""
    name = f"emoshare_extension_{path.stem}_{checksum(str(path).encode())}"
    _RUNNING.add(path)
    try:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None:
            raise ImportError("not a Python file, whose name ends in .py")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        _LOADED.add(path)
    except (Exception, SystemExit) as error:
        raise ExtensionError(
            f"the extension {shown(path)} cannot be run ({type(error).__name__}: {error}): correct "
            "it, or take it out of EMOSHARE_EXTENSIONS and the profile's `extensions:`"
        ) from error
    finally:
        _RUNNING.clear()
        if path not in _LOADED:
            sys.modules.pop(name, None)


class Look(NamedTuple):
    """How an architecture appears: in tables, in short, and in pictures."""

    name: str
    short: str
    colour: str


GREY = "#777777"
# Okabe and Ito's colours, distinct to every kind of colour vision. 0 is the challenge's baseline;
# `models.regressor.register` adds an architecture's own.
ARCHITECTURES = Registry(
    "architecture",
    {
        0: Look("SVR", "SVR", GREY),
        1: Look("Architecture 1", "A1", "#0072B2"),
        2: Look("Architecture 2", "A2", "#D55E00"),
        3: Look("Architecture 3", "A3", "#661100"),
    },
)


def split_layer(name: str) -> tuple[str, int | str | None]:
    """ "hubert-base@6" -> ("hubert-base", 6); the layer is a number, "pooled", "all" or None.

    Frames made elsewhere have no layers: an "@" belongs to the folder's name.
    """
    if name.startswith(FRAMES):
        return name, None
    asked = re.fullmatch(rf"(.+)@(\d+|{POOLED}|{ALL})", name)
    if not asked:
        return name, None
    model, layer = asked.groups()
    return model, layer if layer in (POOLED, ALL) else int(layer)


def members(encoder: str) -> list[str]:
    """ "hubert-mini + fbank" -> ["hubert-mini", "fbank"]; of a single feature set, itself."""
    return [encoder] if encoder.startswith(FRAMES) else encoder.split(BESIDE)


def all_members(encoders: Iterable[str]) -> list[str]:
    """The feature sets that these name, each once."""
    return list(dict.fromkeys(each for name in encoders for each in members(name)))


def label(encoder: str) -> str:
    """The name of a feature set as a reader should see it; an unknown id stays itself.

    "HuBERT-mini L2" is its layer 2; "HuBERT-mini + MFCC" both, their predictions averaged.
    """
    if len(parts := members(encoder)) > 1:
        return BESIDE.join(map(label, parts))
    model, layer = split_layer(encoder)
    name = LABELS.get(model, model)
    if layer is None:
        return name
    in_words = {POOLED: ", all layers", ALL: ", layers weighted"}
    return name + in_words.get(layer, f" L{layer}")


def system(encoder: str, architecture: int) -> str:
    """A short name for a feature set under an architecture, as "HuBERT-mini L2 (A2)"."""
    return f"{label(encoder)} ({ARCHITECTURES[architecture].short})"


def ordered(encoders: Iterable[str]) -> list[str]:
    """Each encoder once: the paper's four, any others by name, the small ones, acoustic ones.

    The layers of an encoder follow it by number. Several side by side come last.
    """
    rank = {name: place for place, name in enumerate(LABELS)}
    others = rank["hubert-large"] + 0.5

    def place(encoder: str) -> tuple:
        model, layer = split_layer(encoder)
        if len(members(encoder)) > 1:
            return len(rank), encoder, False, False, None
        return rank.get(model, others), model, layer is not None, isinstance(layer, str), layer

    return sorted(set(encoders), key=place)
