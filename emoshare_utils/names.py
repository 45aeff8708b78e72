"""What encoders, layers and architectures are called, and the registries that hold them.

A registry maps a name to what implements it. Anyone can add to one from a file of their own; the
files in the environment variable EMOSHARE_EXTENSIONS are imported before a name counts as unknown.
"""

import dataclasses
import difflib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

Settings = TypeVar("Settings")
POOLED = "pooled"  # in place of a layer: the mean over time of each
UNTRAINED = "untrained"  # the small encoders' network before its first update

# In the order of a table's rows; encoders without a label follow the paper's four.
LABELS = {
    "wav2vec2-base": "wav2vec2.0 (Base)",
    "wav2vec2-large": "wav2vec2.0 (Large)",
    "hubert-base": "HuBERT (Base)",
    "hubert-large": "HuBERT (Large)",
    "wav2vec2-mini": "wav2vec2-mini",
    "hubert-mini": "HuBERT-mini",
    "untrained": "untrained",
    "mfcc": "MFCC",
    "fbank": "Mel filterbank",
    "spectrogram": "Spectrogram",
    "egemaps": "eGeMAPS",
    "baseline": "Baseline",
}


class UnknownName(ValueError):
    """A name that no registry entry has; the message has the nearest one and all others."""


class Registry(Mapping):
    """Names and what implements them; UnknownName where a name has nothing.

    Args:
        kind: what the names are of, for messages: "corpus", "loss", ...
        entries: what is there from the start.
    """

    def __init__(self, kind: str, entries: Mapping[Any, Any] | None = None) -> None:
        self.kind, self.entries = kind, dict(entries or {})

    def register(self, name: Any, entry: Any) -> None:
        """Add an entry, in place of one of that name."""
        self.entries[name] = entry

    def __getitem__(self, name: Any) -> Any:
        if name not in self:
            raise UnknownName(f"{self.kind} = {name!r}: {nearest(name, self)}")
        return self.entries[name]

    def __contains__(self, name: Any) -> bool:
        if name not in self.entries:
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


def settings_of(cls: type[Settings], given: Mapping[str, Any]) -> Settings:
    """A dataclass of settings: its defaults, changed as `given` says.

    Raises:
        UnknownName: an entry of `given` that it does not have; the message has the nearest.
    """
    known = [field.name for field in dataclasses.fields(cls)]
    for name in given:
        if name not in known:
            raise UnknownName(
                f"{cls.__name__.lower()} has no entry {name!r}: {nearest(name, known)}"
            )
    return cls(**given)


@cache
def load_extensions() -> None:
    """Import the Python files named in EMOSHARE_EXTENSIONS (separated as PATH is), once."""
    for place in filter(None, os.environ.get("EMOSHARE_EXTENSIONS", "").split(os.pathsep)):
        name = f"emoshare_extension_{Path(place).stem}"
        spec = importlib.util.spec_from_file_location(name, Path(place).expanduser())
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


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
    },
)


def split_layer(name: str) -> tuple[str, int | str | None]:
    """ "hubert-base@6" -> ("hubert-base", 6); the layer is a number, "pooled" or None."""
    asked = re.fullmatch(rf"(.+)@(\d+|{POOLED})", name)
    if not asked:
        return name, None
    model, layer = asked.groups()
    return model, layer if layer == POOLED else int(layer)


def label(encoder: str) -> str:
    """The name of a feature set as a reader should see it; an unknown id stays itself."""
    model, layer = split_layer(encoder)
    name = LABELS.get(model, model)
    if layer is None:
        return name
    return f"{name}, all layers" if layer == POOLED else f"{name}, layer {layer}"


def system(encoder: str, architecture: int) -> str:
    """A short name for a feature set under an architecture, as "MFCC A2"."""
    return f"{label(encoder)} {ARCHITECTURES[architecture].short}"


def ordered(encoders: Iterable[str]) -> list[str]:
    """Each encoder once: the paper's four, any others by name, the small ones, acoustic ones.

    The layers of an encoder follow it by number.
    """
    rank = {name: place for place, name in enumerate(LABELS)}
    others = rank["hubert-large"] + 0.5

    def place(encoder: str) -> tuple:
        model, layer = split_layer(encoder)
        return rank.get(model, others), model, layer is not None, isinstance(layer, str), layer

    return sorted(set(encoders), key=place)


def architecture_name(architecture: int) -> str:
    """As "Architecture 1"; the challenge's baseline, 0, is "SVR"."""
    return ARCHITECTURES[architecture].name
