"""The terminal: calm, aligned, and plain when it is not one."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

STARTED = time.perf_counter()
"""The first moment the program knows of; this file is imported before anything large."""


def make_console(*, stderr: bool = False) -> Console:
    """A console that never wraps or colours what is piped into a file."""
    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        return Console(stderr=stderr, highlight=False)
    width = int(os.environ.get("COLUMNS", "120"))
    return Console(stderr=stderr, highlight=False, width=width, soft_wrap=True, color_system=None)


@contextmanager
def file_bar(console: Console) -> Iterator[Callable[[int, int], None] | None]:
    """A bar for files being read, on a terminal: call it with (files read, files in all); else None.

    It appears with the first call: a data set that is ready shows none.
    """
    if not console.is_terminal:
        yield None
        return
    from rich.progress import Progress

    bar = Progress(console=console, transient=True)

    def advance(done: int, total: int) -> None:
        if not bar.tasks:
            bar.start()
            bar.add_task("reading files")
        bar.update(bar.task_ids[0], completed=done, total=total)

    try:
        yield advance
    finally:
        if bar.tasks:
            bar.stop()


def seconds(value: float) -> str:
    """A duration as people read it: ``0.03 s``, ``12.4 s``, ``3:07``, ``1:02:03``."""
    if value < 10:
        return f"{value:.2f} s"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def percent(value: float) -> str:
    """A fraction as per cent with three significant digits, e.g. ``18.2 %``."""
    return "–" if value != value else f"{length(100 * value)} %"


def length(value: float) -> str:
    """A length with three significant digits and no exponent within reason."""
    if value != value:
        return "–"
    if value and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.2e}"
    digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}"
