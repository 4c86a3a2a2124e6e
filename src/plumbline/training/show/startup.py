"""Start-up of a training: names, times and output lines of its phases."""

import json
import os
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from plumbline.console import STARTED
from plumbline.console.text import seconds as readable
from plumbline.reporting import Reporter
from plumbline.writing import write_atomically

PHASES = (
    "Directory Setup",
    "Dataset Loading",
    "Dataset Splitting",
    "DataLoader Creation",
    "Model Initialization",
    "Model Compilation",
    "Logging Setup",
    "Training Configuration",
)
"""The documented names, in the documented order."""
BEFORE, TOTAL, WARM_UP = "Interpreter and imports", "Total startup time", "Warm-up"
"""Names of the times reported before the first phase and after the last one."""

_REMARKS = 39  # column
_NARROW = 20  # columns; broken into lines shorter than this, a text is no easier to read
_YOUNG = 30.0  # a process older than this was not started for this training (a notebook, a test)


class Startup:
    """Times the phases and reports the end of each.

    Args:
        report: receives the end of every phase, and finally the total.
        before: seconds before the first phase: interpreter and imports.
    """

    def __init__(self, report: Reporter, *, before: float) -> None:
        self._report = report
        self._before = before
        self._records: list[dict[str, Any]] = []
        report.ended(BEFORE, before)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block; everything reported in it belongs to the phase."""
        self._next(name)
        begin = time.perf_counter()
        with self._report.phase(name):
            yield
        self._record(name, time.perf_counter() - begin)

    def skip(self, name: str, reason: str) -> None:
        """Report a phase as skipped."""
        self._next(name)
        self._record(name, 0.0, skipped=reason)

    def finish(self) -> None:
        """Report the total, without what came before the phases."""
        self._report.ended(TOTAL, self.total)

    @property
    def total(self) -> float:
        """Seconds of all phases so far."""
        return sum(record["seconds"] for record in self._records)

    def write(self, path: Path, *, warm_up: float) -> None:
        """Write all times, in seconds, as JSON."""
        content = {
            "before": self._before, "phases": self._records, "total": self.total, "warm_up": warm_up
        }  # fmt: skip
        write_atomically(
            path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode(), durable=False
        )

    def _next(self, name: str) -> None:
        expected = PHASES[len(self._records)]
        if name != expected:
            raise ValueError(f"phase {name!r} where {expected!r} comes next")

    def _record(self, name: str, seconds: float, *, skipped: str | None = None) -> None:
        self._records.append({"name": name, "seconds": seconds, "skipped": skipped})
        self._report.ended(name, seconds, skipped=skipped or "")


class StartupLines:
    """Prints one line per finished phase, with its messages."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._remarks: list[str] = []

    def remark(self, text: str) -> None:
        """Add a message to the line of the current phase."""
        self._remarks.append(text)

    def ended(self, name: str, seconds: float, skipped: str) -> None:
        """Print the line of a phase, and one more line per further message, in the same column."""
        if name == WARM_UP:  # training begins
            self._console.print()
            return
        number = f"{PHASES.index(name) + 1}." if name in PHASES else ""
        shown = "skipped" if skipped else _precise(seconds)
        line = Text.assemble((f"{number:<3}", "dim"), f"{name:<24}{shown:>9}")
        remarks, self._remarks = [skipped] if skipped else self._remarks, []
        for text in [part for remark in remarks for part in self._fitting(remark)]:
            self._console.print(line.append(" " * (_REMARKS - line.cell_len)).append(text, "dim"))
            line = Text()
        if line.plain:
            self._console.print(line)

    def _fitting(self, text: str) -> list[str]:
        """The text wrapped to the terminal; unwrapped without a terminal or if it is too narrow."""
        room = self._console.width - _REMARKS
        if not self._console.is_terminal or room < _NARROW:
            return [text]
        return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)


def _precise(value: float) -> str:
    """Format seconds, with milliseconds below 10 s."""
    return f"{value:.3f} s" if value < 10 else readable(value)


def seconds_since_start() -> float:
    """Age of this process in seconds, including the interpreter's start and all imports.

    If the start time of the process is unknown, or the process is much older than this training, it is the
    time since the program's first line.
    """
    elapsed = time.perf_counter() - STARTED
    try:
        # Field 22 of /proc/self/stat: start in clock ticks since boot; the name in field 2 may hold spaces.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError, ValueError, IndexError):
        return elapsed
    return age if elapsed <= age < _YOUNG else elapsed
