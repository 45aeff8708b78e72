"""The options of a corpus: that its adapter knows them, and that they are of the right kind."""

import inspect
from collections.abc import Callable
from typing import Any

from emoshare_utils.corpora.clip_table import CorpusError
from emoshare_utils.names import nearest, of_kind


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
    checked = dict(options)
    for option, value in options.items():
        if option in known:
            try:
                checked[option] = of_kind(_kind(known[option]), option, value)
            except ValueError as error:
                raise CorpusError(f"corpus {corpus!r}: {error}") from error
        elif not takes_any:
            takes = f"{', '.join(known)}: {nearest(option, known)}" if known else "none"
            raise CorpusError(f"corpus {corpus!r} has no option {option!r}; it takes {takes}")
    return checked


def _kind(parameter: inspect.Parameter) -> Any:
    if parameter.annotation is parameter.empty or isinstance(parameter.annotation, str):
        kind = type(parameter.default)
        return float if kind is int else kind  # 1 may stand for any number
    return parameter.annotation
