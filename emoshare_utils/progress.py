"""Progress that reads well in a terminal, in JupyterLab and in an executed notebook."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def track(
    items: Iterable[Item],
    label: str,
    total: float | None = None,
    unit: str = "clips",
    every_s: float = 10.0,
    amount: Callable[[Item], float] | None = None,
) -> Iterator[Item]:
    """Yield `items`, reporting how many are done, the rate and the time left.

    A terminal gets a moving bar. Anywhere else (a notebook, a log) gets a plain line at most
    every `every_s` seconds and one at the end: bars that redraw themselves do not survive in an
    executed notebook.

    Args:
        total: the sum of all amounts; None: the number of items, where it is known.
        unit: what is counted, in the plural.
        amount: how much of `total` an item is, such as its seconds of audio; None: 1.
    """
    total = len(items) if total is None and hasattr(items, "__len__") else total
    terminal, whole = sys.stderr.isatty(), None if total is None else round(total)
    bar = tqdm(desc=label, total=whole, unit=f" {unit}", disable=not terminal)
    start = last = time.monotonic()
    done = 0
    try:
        for item in items:
            yield item
            done += amount(item) if amount else 1
            bar.update(round(done) - bar.n)
            now = time.monotonic()
            if not terminal and now - last >= every_s and (total is None or done < total):
                last = now
                print(_line(label, done, total, unit, now - start, running=True), flush=True)
    finally:  # the caller may stop early
        bar.close()
        if not terminal:
            seconds = time.monotonic() - start
            print(_line(label, done, total, unit, seconds, running=False), flush=True)


def _line(
    label: str, done: float, total: float | None, unit: str, elapsed_s: float, running: bool
) -> str:
    if total == 0:
        return f"{label}: nothing left to do"
    each_s = elapsed_s / (done or 1)
    pace = f"{each_s:.1f} s each"
    if 0 < each_s < 1:
        pace = f"{1 / each_s:.{0 if each_s < 0.1 else 1}f} {unit} per second"
    left = f", {(total - done) * each_s:.0f} s left" if running and total else ""
    of = f" of {total:.0f}" if total else ""
    if total == done == 1 and elapsed_s < 1:  # of one quick item a rate says nothing
        return f"{label}: 1{of} {unit} in {elapsed_s:.1f} s"
    return f"{label}: {done:.0f}{of} {unit} in {elapsed_s:.0f} s ({pace}{left})"
