"""The options of a corpus: that its adapter knows them, and that they are of the right kind."""

import inspect
from collections.abc import Callable
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from emoshare_utils.corpora.clip_table import CorpusError
from emoshare_utils.names import nearest

# kind: the types of its values, and its name in messages
_KINDS = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
    list: (list, "a list"),
    NoneType: (NoneType, "null"),
}


def check_options(corpus: str, read: Callable, options: dict[str, Any]) -> dict[str, Any]:
    """The options as `read` takes them: a single value for a list becomes a list of one.

    The kind of an option follows from its annotation, or else from its default value; an option
    for which neither says it is passed on as it is.

    Raises:
        CorpusError: `read` has no such option, or the value is of another kind.
    """
    _, *parameters = inspect.signature(read).parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    known = {p.name: p for p in parameters if p.kind is not p.VAR_KEYWORD}
    checked = {}
    for option, value in options.items():
        if option in known:
            checked[option] = _as_taken(corpus, known[option], value)
        elif takes_any:
            checked[option] = value
        else:
            takes = f"{', '.join(known)}: {nearest(option, known)}" if known else "none"
            raise CorpusError(f"corpus {corpus!r} has no option {option!r}; it takes {takes}")
    return checked


def _as_taken(corpus: str, parameter: inspect.Parameter, value: Any) -> Any:
    kinds = _kinds(parameter)
    if not kinds <= _KINDS.keys() or kinds == {NoneType}:
        return value
    if any(_is(value, kind) for kind in kinds):
        return value
    if list in kinds and isinstance(value, str | Real | tuple):
        return list(value) if isinstance(value, tuple) else [value]
    expected = " or ".join(_KINDS[kind][1] for kind in _KINDS if kind in kinds)
    raise CorpusError(f"corpus {corpus!r}: {parameter.name} = {value!r}: expected {expected}")


def _kinds(parameter: inspect.Parameter) -> set[type]:
    """As {list, NoneType} for `list[str] | None`."""
    annotation = parameter.annotation
    if annotation is parameter.empty or isinstance(annotation, str):
        kind = type(parameter.default)
        return {float if kind is int else kind}  # 1 may stand for any number
    union = get_origin(annotation) in (Union, UnionType)
    return {get_origin(part) or part for part in (get_args(annotation) if union else [annotation])}


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, _KINDS[kind][0]) and (kind is bool or not isinstance(value, bool))
