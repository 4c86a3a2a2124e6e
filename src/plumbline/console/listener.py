"""Console output of the events that a long operation reports."""

from types import TracebackType

from rich.console import Console

from plumbline.console.progress import EVERY, ProgressDisplay
from plumbline.console.terminal import can_redraw, print_line
from plumbline.console.text import folded
from plumbline.reporting import Event


class ConsoleListener:
    """Shows the events of a :class:`plumbline.reporting.Reporter`: messages as lines, progress as a bar.

    Used in a ``with`` statement, it removes the bar from the terminal at the end.

    Args:
        console: where to print.
        debug: also show details.
        every: seconds between two lines of progress if the console is not a terminal; ``inf`` for none.
    """

    def __init__(self, console: Console, *, debug: bool = False, every: float = EVERY) -> None:
        self._console, self._debug = console, debug
        self._progress = ProgressDisplay(console, every=every)

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "progress":
            self._progress.show(event.text, event.done, event.total, rate=event.rate, phase=event.phase)
        elif (
            event.kind == "message"
            or (event.kind == "detail" and self._debug)
            or (event.kind == "step" and not can_redraw(self._console))
        ):
            print_line(self._console, self._folded(event.text))

    def _folded(self, text: str) -> str:
        """Fold a sentence on a terminal, its later lines indented further than the first."""
        if not self._console.is_terminal:
            return text
        start = len(text) - len(text.lstrip(" "))
        return "\n".join(folded(text, self._console.width, indent=" " * (start + 2)))

    def __enter__(self) -> "ConsoleListener":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.close()
