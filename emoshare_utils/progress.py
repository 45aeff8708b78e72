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


def track_audio(
    steps: Iterable[tuple[int, float]],
    label: str,
    clips: int,
    audio_s: float,
    every_s: float = 10.0,
) -> None:
    """Run through `steps`, each (clips, seconds of audio) done, reporting as `track` does.

    A line tells clips, seconds of audio, how many of those a second, and the time left, which
    follows from the audio: a long clip takes longer.
    """
    if not clips:
        print(f"{label}: nothing left to do", flush=True)
        return
    terminal = sys.stderr.isatty()
    bar = tqdm(desc=label, total=round(audio_s), unit=" s of audio", disable=not terminal)
    start = last = time.monotonic()
    done, done_s = 0, 0.0
    try:
        for step_clips, step_s in steps:
            done, done_s = done + step_clips, done_s + step_s
            bar.set_postfix_str(f"{done} of {clips} clips", refresh=False)
            bar.update(step_s)
            now = time.monotonic()
            if not terminal and now - last >= every_s and done != clips:
                last = now
                left_s = (audio_s - done_s) * (now - start) / done_s
                _report_audio(label, done, clips, done_s, audio_s, now - start, left_s)
    finally:
        bar.close()
        if not terminal:
            _report_audio(label, done, clips, done_s, audio_s, time.monotonic() - start)


def _report_audio(
    label: str,
    done: int,
    clips: int,
    done_s: float,
    audio_s: float,
    elapsed_s: float,
    left_s: float | None = None,
) -> None:
    pace = f"{done_s / max(elapsed_s, 1e-3):.0f} s of audio a second"
    left = "" if left_s is None else f", {left_s:.0f} s left"
    print(
        f"{label}: {done} of {clips} clips, {done_s:.0f} of {audio_s:.0f} s of audio "
        f"in {elapsed_s:.0f} s ({pace}{left})",
        flush=True,
    )


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
