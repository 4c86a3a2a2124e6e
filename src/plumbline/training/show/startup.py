"""The start of a training, phase by phase, with the time that each one takes."""

import json
import os
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from plumbline.console import STARTED
from plumbline.console.text import seconds

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

_REMARKS = 39  # column
_NARROW = 20  # columns; broken into lines shorter than this, a text is no easier to read
_YOUNG = 30.0  # a process older than this was not started for this training (a notebook, a test)


class Startup:
    """Times the phases and prints one line for each.

    Args:
        console: where the lines go.
        before: seconds that passed before the first phase: interpreter and imports.
    """

    def __init__(self, console: Console, *, before: float) -> None:
        self._console = console
        self._before = before
        self._records: list[dict[str, object]] = []
        self._remarks: list[str] = []
        self._say_line("", "Interpreter and imports", _precise(before), [])

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Times what happens inside and prints its line, with what :meth:`remark` was told meanwhile."""
        self._next(name)
        begin = time.perf_counter()
        yield
        self._record(name, time.perf_counter() - begin, None)

    def skip(self, name: str, reason: str) -> None:
        """A phase that has nothing to do."""
        self._next(name)
        self._record(name, 0.0, reason)

    def remark(self, text: str) -> None:
        """Something to say about the phase that is running; shown on its line."""
        self._remarks.append(text)

    def finish(self) -> float:
        """Prints the total and returns it, in seconds, without what came before the phases."""
        total = self.total
        self._say_line("", "Total startup time", _precise(total), [])
        return total

    @property
    def total(self) -> float:
        """Seconds of all phases so far."""
        return sum(float(str(record["seconds"])) for record in self._records)

    def write(self, path: Path, **more: float) -> None:
        """Writes all times, in seconds, as JSON."""
        content = {"before": self._before, "phases": self._records, "total": self.total, **more}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def _next(self, name: str) -> None:
        expected = PHASES[len(self._records)]
        if name != expected:
            raise ValueError(f"phase {name!r} where {expected!r} comes next")

    def _record(self, name: str, elapsed: float, reason: str | None) -> None:
        number = len(self._records) + 1
        self._records.append({"name": name, "seconds": elapsed, "skipped": reason})
        remarks = [reason] if reason else self._remarks
        self._say_line(f"{number}.", name, "skipped" if reason else _precise(elapsed), remarks)
        self._remarks = []

    def _say_line(self, number: str, name: str, shown: str, remarks: list[str]) -> None:
        """One line, and one more for every further remark, in the same column."""
        line = Text.assemble((f"{number:<3}", "dim"), f"{name:<24}{shown:>9}")
        for text in [part for remark in remarks for part in self._fitting(remark)]:
            self._console.print(line.append(" " * (_REMARKS - line.cell_len)).append(text, "dim"))
            line = Text()
        if line.plain:
            self._console.print(line)

    def _fitting(self, text: str) -> list[str]:
        """The text in lines that a terminal does not break; whole where it is wide or no terminal."""
        room = self._console.width - _REMARKS
        if not self._console.is_terminal or room < _NARROW:
            return [text]
        return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)


def _precise(value: float) -> str:
    """Most phases take a few milliseconds."""
    return f"{value:.3f} s" if value < 10 else seconds(value)


def seconds_since_start() -> float:
    """Age of this process: the interpreter's own start and all imports.

    Where the system does not say when the process began, or the process is much older than this training,
    it is the time since the program's first line.
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
