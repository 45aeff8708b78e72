"""Progress that reads well in a terminal, in JupyterLab and in an executed notebook."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def track(
    items: Iterable[Item],
    label: str,
    total: int | None = None,
    unit: str = "clips",
    every_s: float = 10.0,
) -> Iterator[Item]:
    """Yield `items`, reporting count, rate and time left.

    A terminal gets a moving bar. Anywhere else (a notebook, a log) gets a plain line at most
    every `every_s` seconds and one at the end: bars that redraw themselves do not survive in an
    executed notebook.
    """
    total = len(items) if total is None and hasattr(items, "__len__") else total
    if sys.stderr.isatty():
        yield from tqdm(items, desc=label, total=total, unit=f" {unit}")
        return
    start = last = time.monotonic()
    done = 0
    try:
        for item in items:
            yield item
            done += 1
            now = time.monotonic()
            if now - last >= every_s and done != total:
                last = now
                _report(label, done, total, unit, now - start, going_on=True)
    finally:  # whoever iterates may stop early
        _report(label, done, total, unit, time.monotonic() - start, going_on=False)


def _report(
    label: str, done: int, total: int | None, unit: str, elapsed_s: float, going_on: bool
) -> None:
    if total == 0:
        print(f"{label}: nothing left to do", flush=True)
        return
    each_s = elapsed_s / max(done, 1)
    pace = f"{1 / each_s:.1f} a second" if 0 < each_s < 1 else f"{each_s:.1f} s each"
    left = f", {(total - done) * each_s:.0f} s left" if going_on and total else ""
    of = f" of {total}" if total else ""
    print(f"{label}: {done}{of} {unit} in {elapsed_s:.0f} s ({pace}{left})", flush=True)
