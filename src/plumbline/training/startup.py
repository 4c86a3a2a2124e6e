"""The start of a training, phase by phase, with the time that each one takes."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from plumbline.console import STARTED, seconds

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
        console.print(f"[dim]   [/]{'Interpreter and imports':<24}{seconds(before):>9}")

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
        self._console.print(f"[dim]   [/]{'Total startup time':<24}{seconds(total):>9}")
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
        time_shown = "skipped" if reason else seconds(elapsed)
        first, *others = [reason] if reason else self._remarks or [""]
        self._console.print(f"[dim]{number}. [/]{name:<24}{time_shown:>9}   [dim]{_plain(first)}[/]".rstrip())
        for text in others:
            self._console.print(f"{'':<39}[dim]{_plain(text)}[/]")
        self._remarks = []


def _plain(text: str | None) -> str:
    """Text in which rich finds no markup."""
    return (text or "").replace("[", "\\[")


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
