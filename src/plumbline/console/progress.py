"""Progress display: a bar on a terminal, a line every few seconds elsewhere."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from plumbline.console.terminal import can_redraw, print_line
from plumbline.console.text import counted, seconds

if TYPE_CHECKING:
    from rich.progress import Progress

EVERY = 10.0
"""Seconds between two lines if the output is not a terminal."""


class ProgressDisplay:
    """Shows the progress of one count at a time, and nothing before the first.

    Args:
        console: where to print.
        every: seconds between two lines if the console is not a terminal; ``inf`` for none.
    """

    def __init__(self, console: Console, *, every: float = EVERY) -> None:
        self._console, self._every = console, every
        self._pace: _Pace | None = None
        self._shown = 0.0
        self._bar: Progress | None = None

    def show(self, unit: str, done: int, total: int, *, rate: str = "", phase: str = "") -> None:
        """Show that ``done`` of ``total`` units are done; a new unit or phase starts a new count.

        Args:
            unit: what is counted, in the singular.
            done, total: number of units; total is 0 if unknown.
            rate: speed, in words.
            phase: the operation that the count is part of, in words.
        """
        now = time.perf_counter()
        if self._pace is None or (self._pace.unit, self._pace.phase) != (unit, phase):
            self.close()
            self._pace, self._shown = _Pace(unit, phase, done, now), now
        if can_redraw(self._console):
            text = self._pace.text(done, total, rate, now)
            self._bar = self._bar or _started_bar(self._console, phase)
            self._bar.update(self._bar.task_ids[0], completed=done, total=total or None, description=text)
        elif now - self._shown >= self._every:
            self._shown = now
            print_line(self._console, f"  {self._pace.text(done, total, rate, now)}")

    def close(self) -> None:
        """Remove the bar from the terminal."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._pace = None


class _Pace:
    """Start time and start value of a count, from which the remaining time is estimated."""

    def __init__(self, unit: str, phase: str, first: int, started: float) -> None:
        self.unit, self.phase, self._first, self._started = unit, phase, first, started

    def text(self, done: int, total: int, rate: str, now: float) -> str:
        if not total:
            return counted(done, self.unit)
        line = f"{done:,} of {counted(total, self.unit)}"
        if done == self._first or now == self._started:
            return line
        left = math.ceil((total - done) * (now - self._started) / (done - self._first))
        return ", ".join(
            [line, *([rate] if rate else []), f"{seconds(left) if left >= 60 else f'{left} s'} left"]
        )


def _started_bar(console: Console, phase: str) -> "Progress":
    from rich.progress import BarColumn, Progress, TextColumn

    titled = [TextColumn(phase, markup=False)] if phase else []
    columns = (*titled, BarColumn(bar_width=30), TextColumn("{task.description}", markup=False))
    bar = Progress(*columns, console=console, transient=True, refresh_per_second=4)
    bar.add_task("", total=None)
    bar.start()
    return bar


@contextmanager
def count_bar(
    console: Console, unit: str, phase: str, *, lines: bool = False
) -> Iterator[Callable[[int, int], None] | None]:
    """Provide a progress callback, or None if the console is not a terminal.

    It is called with (units done, total). The bar appears on the first call, so it is not shown for a data
    set that needs no reading.

    Args:
        console: where to print.
        unit, phase: as for :meth:`ProgressDisplay.show`.
        lines: print a line every few seconds if the console is not a terminal.
    """
    if not can_redraw(console) and not lines:
        yield None
        return
    display = ProgressDisplay(console)
    try:
        yield lambda done, total: display.show(unit, done, total, phase=phase)
    finally:
        display.close()
