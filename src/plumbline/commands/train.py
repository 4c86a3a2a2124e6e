"""``plumbline train``: the documented training program."""

import os
from functools import partial

from rich.console import Console

from plumbline.config.train import TrainConfig
from plumbline.console.listener import ConsoleListener
from plumbline.console.terminal import can_redraw
from plumbline.errors import InputError
from plumbline.reporting import Event, Reporter
from plumbline.training.distributed.place import given_place
from plumbline.training.distributed.world import ProcessLost
from plumbline.training.records import TrainSettings
from plumbline.training.run import train, train_each
from plumbline.training.show.profile_table import print_profile
from plumbline.training.show.progress import LiveBar
from plumbline.training.show.startup import StartupLines


def run(config: TrainConfig, console: Console) -> int:
    """Train a model. Returns the exit code: 0 done, 130 or 143 interrupted with the state saved.

    Raises:
        InputError: flags, data or machine do not allow the training; the message says what to change.
    """
    settings = TrainSettings.of(config)
    place = given_place()
    if place is not None and place.rank > 0:
        # Nothing is left to write, and threads of torch that free memory while an interpreter ends abort it.
        os._exit(_silent(settings))
    live_bar = partial(LiveBar, console) if can_redraw(console) else None
    exit_code = 0
    with _TrainingListener(console, debug=settings.debug) as listener:
        for result in train_each(settings, Reporter(listener), live_bar=live_bar):
            exit_code = result.exit_code
            if result.profile is not None:
                print_profile(console, result.profile)
            if result.table is not None or result.members:
                # Imported late: it imports scipy's geometry, which would delay the first step.
                from plumbline.training.show.final_report import print_report

                print_report(console, result, settings)
    return exit_code


def _silent(settings: TrainSettings) -> int:
    """Train as another process than the first one, which talks to the user for all."""
    try:
        return train(settings, Reporter()).exit_code
    except ProcessLost:
        raise
    except InputError:
        return 2


class _TrainingListener(ConsoleListener):
    """Prints messages of a start-up phase on the line of that phase."""

    def __init__(self, console: Console, *, debug: bool) -> None:
        super().__init__(console, debug=debug)
        self._startup = StartupLines(console)

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if event.kind == "phase":
            self._progress.close()
            self._startup.ended(event.phase, event.seconds, event.text)
        elif event.kind == "message" and event.phase:
            self._startup.remark(event.text)
        elif event.kind == "detail" and self._debug:
            self._console.print(f"debug  {event.text}", markup=False, style="dim")
        else:
            super().__call__(event)
