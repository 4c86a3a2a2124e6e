"""Progress reports of long operations: events that are passed to one optional callback."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a long operation.

    Attributes:
        kind: ``"message"``, a sentence; ``"detail"``, a sentence for ``--debug``; ``"step"``, a sentence for
            listeners without a progress bar; ``"progress"``, a count; ``"phase"``, the end of a phase.
        text: the sentence; or the counted unit, in the singular (``"object"``); or why a phase was skipped,
            empty if it was not.
        done: number of finished units.
        total: number of all units; 0 if nothing is counted or the number is unknown.
        phase: the current phase, such as ``"Dataset Loading"``; empty outside of phases.
        seconds: duration of the phase that ended.
        rate: speed, such as ``"403 scans/s"``; empty if unknown.
    """

    kind: Literal["message", "detail", "step", "progress", "phase"]
    text: str
    done: int = 0
    total: int = 0
    phase: str = ""
    seconds: float = 0.0
    rate: str = ""


def scans_per_second(rate: float) -> str:
    """Format the speed of a preparation: ``"403 scans/s"``, ``"0.42 scans/s"``."""
    return f"{rate:,.0f} scans/s" if rate >= 9.5 else f"{rate:.2g} scans/s"


class Reporter:
    """Sends the events of one operation to a listener, each with the current phase.

    Args:
        listener: called with every event, in order, in the thread of the operation; None to drop all events.
    """

    def __init__(self, listener: Callable[[Event], None] | None = None) -> None:
        self._listener = listener
        self._phase = ""

    def say(self, text: str) -> None:
        """Report a sentence."""
        self._tell(Event("message", text, phase=self._phase))

    def detail(self, text: str) -> None:
        """Report a sentence that is shown with ``--debug`` only."""
        self._tell(Event("detail", text, phase=self._phase))

    def step(self, text: str) -> None:
        """Report a sentence that repeats what a progress bar shows."""
        self._tell(Event("step", text, phase=self._phase))

    def progress(self, unit: str, done: int, total: int, rate: str = "") -> None:
        """Report that ``done`` of ``total`` units are finished, and at what rate."""
        self._tell(Event("progress", unit, done, total, self._phase, rate=rate))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Assign every event reported within the block to a phase."""
        before, self._phase = self._phase, name
        try:
            yield
        finally:
            self._phase = before

    def ended(self, phase: str, seconds: float, *, skipped: str = "") -> None:
        """Report the end of a phase: its duration, or why it was skipped."""
        self._tell(Event("phase", skipped, phase=phase, seconds=seconds))

    def _tell(self, event: Event) -> None:
        if self._listener is not None:
            self._listener(event)
