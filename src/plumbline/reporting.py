"""What a long operation says while it works: through one callback, and nothing unless asked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a long operation reports.

    Attributes:
        kind: ``"message"``, a sentence; ``"detail"``, a sentence for who wants to know more (``--debug``);
            ``"step"``, a sentence for who sees no progress bar; ``"progress"``, a count;
            ``"phase"``, the end of a phase.
        text: the sentence; or what is counted, in the singular (``"object"``); or why a phase was skipped,
            empty if it was not.
        done: how many of ``total`` are done.
        total: 0 where nothing is counted or nobody knows.
        phase: the phase of the operation, such as ``"Dataset Loading"``; empty outside of phases.
        seconds: how long the phase took that ended.
        rate: how fast, such as ``"403 scans/s"``; empty if that is unknown.
    """

    kind: Literal["message", "detail", "step", "progress", "phase"]
    text: str
    done: int = 0
    total: int = 0
    phase: str = ""
    seconds: float = 0.0
    rate: str = ""


class Reporter:
    """Takes what an operation says to whoever listens. One per operation; it knows the current phase.

    Args:
        listener: called with every event, in the order of events, in the thread of the operation; None for
            nobody.
    """

    def __init__(self, listener: Callable[[Event], None] | None = None) -> None:
        self._listener = listener
        self._phase = ""

    def say(self, text: str) -> None:
        """Report one sentence."""
        self._tell(Event("message", text, phase=self._phase))

    def detail(self, text: str) -> None:
        """Report one sentence that only some listeners want."""
        self._tell(Event("detail", text, phase=self._phase))

    def step(self, text: str) -> None:
        """Report in one sentence what a progress bar shows already."""
        self._tell(Event("step", text, phase=self._phase))

    def progress(self, unit: str, done: int, total: int, rate: str = "") -> None:
        """Report that ``done`` of ``total`` units are done, and how fast."""
        self._tell(Event("progress", unit, done, total, self._phase, rate=rate))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Mark everything that is reported within the block as of one phase."""
        before, self._phase = self._phase, name
        try:
            yield
        finally:
            self._phase = before

    def ended(self, phase: str, seconds: float, *, skipped: str = "") -> None:
        """Report that a phase took this long, or why it was skipped."""
        self._tell(Event("phase", skipped, phase=phase, seconds=seconds))

    def _tell(self, event: Event) -> None:
        if self._listener is not None:
            self._listener(event)
