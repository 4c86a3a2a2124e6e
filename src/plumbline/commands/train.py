"""``plumbline train``: the documented training program."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from rich.console import Console

from plumbline.config import TrainConfig
from plumbline.console.progress import file_bar
from plumbline.console.terminal import print_line
from plumbline.reporting import Event, Reporter
from plumbline.training.records import TrainSettings
from plumbline.training.run import train_each
from plumbline.training.show.progress import LiveBar
from plumbline.training.show.startup import StartupLines


def run(config: TrainConfig, console: Console) -> int:
    """Train as the flags say. Returns the exit code: 0 done, 130 or 143 interrupted with the state saved.

    Raises:
        InputError: the flags, the data or the machine do not allow it; the message says what to change.
    """
    settings = TrainSettings.of(config)
    live_bar = partial(LiveBar, console) if console.is_terminal else None
    exit_code = 0
    with _Screen(console, debug=settings.debug) as screen:
        for result in train_each(settings, Reporter(screen.show), live_bar=live_bar):
            exit_code = result.exit_code
            if result.table is not None or result.members:
                # Not before: it brings scipy's geometry, and the first step need not wait for it.
                from plumbline.training.show.final_report import print_report

                print_report(console, result, settings)
    return exit_code


class _Screen(ExitStack):
    """Shows on a console what a training reports."""

    def __init__(self, console: Console, *, debug: bool) -> None:
        super().__init__()
        self._console, self._debug = console, debug
        self._startup = StartupLines(console)
        self._file_bar: Callable[[int, int], None] | None = None

    def show(self, event: Event) -> None:
        """One event."""
        if event.kind == "phase":
            self.close()
            self._file_bar = None
            self._startup.ended(event.phase, event.seconds, event.text)
        elif event.kind == "progress":
            if self._file_bar is None:
                self._file_bar = self.enter_context(file_bar(self._console))
            if self._file_bar is not None:
                self._file_bar(event.done, event.total)
        elif event.kind == "detail":
            if self._debug:
                self._console.print(f"debug  {event.text}", markup=False, style="dim")
        elif event.kind == "step":
            self._console.print(event.text)
        elif event.phase:
            self._startup.remark(event.text)
        else:
            print_line(self._console, event.text)
