"""The sweep: trials are drawn, trained, pruned and recorded until all are done or a signal ends it."""

import errno
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plumbline.console.text import percent
from plumbline.errors import InputError
from plumbline.files import check_out_folder
from plumbline.locks import LockedError, sole_owner
from plumbline.reporting import Reporter
from plumbline.sweeping.files import RECORD, with_copies, write_files
from plumbline.sweeping.records import SweepResult, SweepSettings, Trial
from plumbline.sweeping.study import Study
from plumbline.sweeping.trials import (
    CLOSED,
    EXIT_CODES,
    RunningTrial,
    TakenError,
    is_taken,
    lacks_room,
    was_interrupted,
)
from plumbline.writing import write_atomically

_POLL = 0.1
"""Seconds between two looks at the trials."""
_LOOK = 5.0
"""Seconds until a command with free workers asks again whether there are trials to take."""
_MOST_ATTEMPTS = 3
"""Times that the process of a trial may be ended from outside before the trial counts as failed."""
_DECIDING = ".deciding.lock"
"""File that is locked while a command takes a trial."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
_PATIENCE = 60.0
"""Seconds to wait for another command that takes a trial, which takes it a moment."""


def sweep(settings: SweepSettings, report: Reporter) -> SweepResult:
    """Run a sweep, or resume it. Writes ``sweep.json``, ``sweep.csv``, ``sweep.png`` and a folder per trial.

    Args:
        settings: what to try.
        report: receives a sentence for each trial that ends, and the progress.

    Raises:
        InputError: the folder holds something else, or another sweep; the message names the difference.
    """
    settings = _open_folder(settings)
    for item in settings.space.parameters:
        report.say(f"varied   {item}")
    report.say(f"trials   {settings.count}, {settings.workers} at a time, in {settings.out}")
    with _signals() as told:
        ours = _Sweep(settings, report, told)
        try:
            ours.run()
            with _deciding(settings.out):
                trials = tuple(ours.study.trials())
                running = [trial for trial in trials if trial.state == "running"]
                interrupted = sum(not is_taken(settings.folder(trial.number)) for trial in running)
                write_files(settings, trials)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise InputError(
                f"--out {settings.out}: cannot write there any more ({error.strerror}); the trials were "
                "stopped: make room, and give the same command again"
            ) from error
        finally:
            ours.close()
    complete = any(trial.state == "complete" for trial in trials)
    return SweepResult(
        settings=settings,
        trials=trials,
        interrupted=interrupted,
        exit_code=EXIT_CODES[told[0]] if told else 0 if complete or running else 1,
    )


class _Sweep:
    """The trials of this command.

    Args:
        settings, report: as for :func:`sweep`.
        told: the signals that arrived.
    """

    def __init__(self, settings: SweepSettings, report: Reporter, told: list[signal.Signals]) -> None:
        self._settings, self._report, self._told = settings, report, told
        self.study = Study(settings)
        self._running: list[RunningTrial] = []
        self._heard, self._look_at = 0, 0.0

    def run(self) -> None:
        """Train until no trial is left, or a signal arrived and every trial has saved its state."""
        self._say_progress()
        while True:
            self._pass_on_signals()
            for trial in list(self._running):
                if self._told and not trial.started:
                    trial.close()
                    self._running.remove(trial)
            if not self._told:
                self._take()
            if not self._running:
                return
            for trial in list(self._running):
                self._look_after(trial)
            time.sleep(_POLL)

    def close(self) -> None:
        """End every process that still runs, after an error."""
        if any(trial.lives for trial in self._running):
            self._report.say("stopping the other trials after this step")
        for trial in self._running:
            trial.stop()
        while any(trial.lives for trial in self._running):
            self._pass_on_signals()
            time.sleep(_POLL)
        for trial in self._running:
            trial.close()

    def _pass_on_signals(self) -> None:
        if len(self._told) > self._heard:
            self._report.say("stopping the trials after this step (a second signal stops at once)")
            for trial in self._running:
                trial.stop(at_once=self._heard > 0)
            self._heard = len(self._told)

    def _take(self) -> None:
        """Take trials until enough run or none is left; then ask again when one ends, or after a while."""
        while len(self._running) < self._settings.workers and time.monotonic() >= self._look_at:
            new = self._taken()
            if new is None:
                self._look_at = time.monotonic() + _LOOK
            else:
                self._running.append(new)

    def _taken(self) -> RunningTrial | None:
        """A trial that no command trains: an interrupted one, or a new one. None if there is none."""
        slot = min(set(range(self._settings.workers)) - {trial.slot for trial in self._running})
        with _deciding(self._settings.out):
            trials = self.study.trials()
            for trial in trials:
                mine = trial.number in [running.trial.number for running in self._running]
                if trial.state != "running" or mine:
                    continue
                try:
                    found = RunningTrial(self._settings, trial, slot)
                except TakenError:
                    continue
                if self.study.trials()[trial.number].state != "running":  # it has just ended
                    found.close()
                    continue
                if self._was_to_be_pruned(trial, found):
                    self.study.pruned(trial.number)
                    found.close()
                    self._say_end(self.study.trials()[trial.number])
                    continue
                self._report.say(f"trial {trial.number} resumes")
                return found
            new = self.study.add() if len(trials) < self._settings.trials else None
            return None if new is None else RunningTrial(self._settings, new, slot)

    def _was_to_be_pruned(self, trial: Trial, running: RunningTrial) -> bool:
        """Whether the command before stored the last epoch, and ended before it decided."""
        last = max(trial.errors, default=None)
        return last is not None and not running.is_last(last) and self.study.is_worse(trial.number)

    def _look_after(self, running: RunningTrial) -> None:
        exit_code = running.advance()
        number = running.trial.number
        for epoch, missed in running.new_errors().items():
            if running.pruned:  # how many epochs follow until the process stops depends on its speed
                break
            if self.study.report(number, epoch, missed) and not running.is_last(epoch):
                running.pruned = True
                running.stop()
        if exit_code is None and (running.started or not running.pruned):
            return
        if running.pruned:
            self.study.pruned(number)
        elif exit_code == 0:
            self._completed(number, running.result())
        elif exit_code is None or not was_interrupted(exit_code):
            self._failed(running)
        elif not self._told:  # otherwise it is resumed by the next command
            self._was_killed(running.trial, exit_code)
        running.close()
        self._running.remove(running)
        self._look_at = 0.0
        self._say_end(self.study.trials()[number])

    def _completed(self, number: int, error: float | None) -> None:
        if error is None:
            self.study.failed(number, "val_error_rel is not known or not finite")
        else:
            self.study.complete(number, error)

    def _failed(self, running: RunningTrial) -> None:
        """Store why a trial failed.

        Raises:
            InputError, OSError: the cause is not its values; another trial would fail in the same way, and
                this one is left to be resumed.
        """
        trouble, number = running.said(), running.trial.number
        running.write_something()
        try:
            self._settings.refuse_data(self._settings.flags, running.trial.values)
            if lacks_room(trouble):
                raise InputError(trouble)
        except InputError as error:
            raise InputError(
                f"trial {number}: {error}; the trials were stopped, and the same command again resumes them"
            ) from error
        self.study.failed(number, trouble)

    def _was_killed(self, trial: Trial, exit_code: int) -> None:
        """Leave a trial whose process was ended from outside to be resumed, unless that happened before."""
        how = signal.Signals(-exit_code).name if exit_code < 0 else f"a signal (exit code {exit_code})"
        attempts = trial.attempts + 1
        self.study.interrupted(trial.number, attempts)
        if attempts < _MOST_ATTEMPTS:
            self._report.say(f"trial {trial.number} was ended by {how}")
            return
        self.study.failed(
            trial.number,
            f"its process was ended {attempts} times, last by {how}; was there enough memory?",
        )

    def _say_end(self, trial: Trial) -> None:
        """Report a trial in one line, unless it is to be resumed."""
        if trial.state == "running":
            return
        how = percent(trial.error or 0.0) if trial.state == "complete" else trial.state
        values = "  ".join(f"{name} {value}" for name, value in trial.values.items())
        why = f": {trial.trouble}" if trial.trouble else ""
        self._report.say(f"trial {trial.number:<4} {how:<8}  {values}{why}")
        self._say_progress()

    def _say_progress(self) -> None:
        trials = self.study.trials()
        ended = [trial for trial in trials if trial.state != "running"]
        errors = [trial.error for trial in ended if trial.state == "complete" and trial.error is not None]
        best = f"best {percent(min(errors))}" if errors else ""
        self._report.progress("trial", len(ended), self._settings.count, rate=best)


def _open_folder(settings: SweepSettings) -> SweepSettings:
    """Make the folder, or check that it holds this sweep. Raises InputError.

    Returns:
        The settings, with copies in the folder of the files that the flags name by ``--config``.
    """
    out, path = settings.out, settings.out / RECORD
    check_out_folder(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        names = sorted(item.name for item in out.iterdir() if not item.name.startswith("."))
        if names and RECORD not in names:
            raise InputError(f"--out {out} holds other files ({names[0]}): name a new or an empty folder")
        with _deciding(out):
            if path.exists():
                _check_same(path, settings.record())
            else:
                text = json.dumps(settings.record(), indent=1, allow_nan=False) + "\n"
                write_atomically(path, text.encode())
            return with_copies(settings)
    except OSError as error:
        raise InputError(f"--out {out}: cannot write there ({error.strerror})") from error


@contextmanager
def _deciding(out: Path) -> Iterator[None]:
    """Keep others from taking trials. Raises InputError: one holds the lock too long, or locks fail."""
    try:
        with sole_owner(out / _DECIDING, patience=_PATIENCE) as locked:
            if not locked:
                raise InputError(
                    f"--out {out}: locks do not work there, by which the commands of a sweep find out which "
                    "trials are taken; choose a folder on another file system, on Linux or macOS"
                )
            yield
    except LockedError as error:
        raise InputError(
            f"--out {out}: another command of this sweep holds {_DECIDING} for a minute: end it if it hangs"
        ) from error


def _check_same(path: Path, record: dict[str, Any]) -> None:
    try:
        before = json.loads(path.read_bytes())
        kept = {**before["shared"], **before["space"], "seed of the sweep": before["seed"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: restore it, or name another --out") from error
    now = {**record["shared"], **record["space"], "seed of the sweep": record["seed"]}
    different = [
        f"{name} {now.get(name, 'not varied')} here, {kept.get(name, 'not varied')} there"
        for name in dict.fromkeys((*record["space"], *kept))
        if now.get(name) != kept.get(name)
    ]
    if different:
        raise InputError(
            f"--out {path.parent} holds another sweep ({'; '.join(different)}): give the same flags, or "
            "another folder"
        )


@contextmanager
def _signals() -> Iterator[list[signal.Signals]]:
    """Collect the signals that stop a sweep, in the main thread; other threads leave signals alone."""
    told: list[signal.Signals] = []
    before: dict[int, Any] = {}
    terminal = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def receive(signum: int, _: Any) -> None:
        told.append(signal.Signals(signum))
        if EXIT_CODES[told[-1]] == CLOSED:
            for descriptor in terminal:  # closed: writing to it would fail
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)

    if threading.current_thread() is threading.main_thread():
        wanted = [signum for signum in EXIT_CODES if signal.getsignal(signum) != signal.SIG_IGN]
        before = {signum: signal.signal(signum, receive) for signum in wanted}
    try:
        yield told
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
