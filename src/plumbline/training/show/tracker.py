"""A tracker in a process of its own: the training gives it rows and never waits for it, whatever it does."""

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO, Any, NamedTuple

from plumbline.reporting import Reporter

_PROGRAM = "from plumbline.training.show.tracker_program import main; main()"
FINISH_SECONDS = 15.0
"""Seconds that a tracker gets after the training to send what it has not sent."""
_START_SECONDS = 15.0  # after a training that was shorter than the start of its tracker
_SPARE_SECONDS = 5.0  # for the work of a tracker outside its bounded steps
_SOON = 1.0


class Rows:
    """Rows on their way to the trackers. Adding one never waits; every reader begins with the first."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._ended = False
        self._changed = threading.Condition()

    def add(self, message: Mapping[str, Any], *, last: bool = False) -> None:
        """Add a row, or the last message of all."""
        line = as_line(message)
        with self._changed:
            self._lines.append(line)
            self._ended |= last
            self._changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        """Each row as soon as it is there, until the last one."""
        done = 0
        while True:
            with self._changed:
                while done == len(self._lines) and not self._ended:
                    self._changed.wait()
                new = self._lines[done:]
            if not new:
                return
            yield b"".join(new)
            done += len(new)


def as_line(message: Mapping[str, Any]) -> bytes:
    """One line of JSON."""
    return json.dumps(message, default=float, allow_nan=False).encode() + b"\n"


class Tracker:
    """A tracker in a process of its own, and in a second one if the first one fails.

    Two daemon threads per process do everything that may take time: one writes rows to the process, the other
    reads its status. Messages for the user wait in ``news`` until the thread of the training reports them.

    Args:
        name: name of the tracker in messages.
        module: module of this folder that the process uses, see ``tracker_program.serve``.
        start: arguments for the module's ``open_run``.
        rows: the rows; a second process also gets all of them.
        again: additional arguments for the second process; None: there is no second one.
        instead: a tracker to start if the first process fails.
        quiet: report nothing if the tracker cannot be used.

    Attributes:
        name: name of the tracker in messages.
        news: messages for the user.
        kept: values that the checkpoints keep, such as the id of the run.
    """

    def __init__(
        self,
        name: str,
        module: str,
        start: dict[str, Any],
        rows: Rows,
        *,
        again: dict[str, Any] | None = None,
        instead: "Tracker | None" = None,
        quiet: bool = False,
    ) -> None:
        self.news: deque[str] = deque()
        self.kept: dict[str, str] = {}
        self.name, self._rows = name, rows
        self._start = {**start, "tracker": module, "argv": sys.argv or [""]}
        self._again, self._instead, self._quiet = again, instead, quiet
        self._process: subprocess.Popen[bytes] | None = None
        self._late = ""
        self._begun, self._settled, self._done = False, threading.Event(), threading.Event()

    def start(self) -> None:
        """Start the process. Does not wait for it."""
        self._begun = True
        threading.Thread(target=self._run, name=self.name, daemon=True).start()

    def wait(self, report: Reporter) -> None:
        """Wait until the tracker has ended, for a bounded time; all rows have been added."""
        if not self._begun:
            return
        if not self._done.wait(_SOON):
            report.say(f"waiting for {self.name} to receive the rest")
        finishing = FINISH_SECONDS + _SPARE_SECONDS
        for awaited, seconds, what in (
            (self._settled, _START_SECONDS, "start"),
            (self._done, finishing, "end"),
            (self._done, finishing, "end"),  # of the second process
        ):
            if not awaited.wait(seconds) and self._process is not None:
                self._late = f"it did not {what} within {seconds:.0f} s of the end of the training"
                self._process.kill()
        self._done.wait(_SOON)

    def _run(self) -> None:
        try:
            ends = [self._attempt(self._start)]
            self._settled.set()
            first = ends[0]
            if first.reason and self._instead is not None:
                self._instead.start()
            if first.reason and self._again is not None and not first.final:
                ends.append(self._attempt({**self._start, **self._again, "because": first.reason}))
            if ends[-1].reason and not self._quiet:
                reasons = "; ".join(dict.fromkeys(end.reason for end in ends))
                self.news.append(f"{self.name} cannot be used: {reasons}")
        finally:
            self._done.set()

    def _attempt(self, start: dict[str, Any]) -> "_End":
        """Run one process to its end."""
        try:
            process = self._process = subprocess.Popen(
                [sys.executable or "", "-P", "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
                start_new_session=True,  # Ctrl-C in the terminal is for the training
            )
        except OSError as error:
            return _End(f"its process cannot be started ({error.strerror})")
        assert process.stdin is not None
        assert process.stdout is not None
        threading.Thread(target=self._feed, args=(process.stdin, start), daemon=True).start()
        with process.stdout as statuses:
            end, last = self._listen(statuses)
        code = process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return end or _End(self._late or f"its process ended with {how}{last and f': {last}'}")

    def _feed(self, stream: IO[bytes], start: dict[str, Any]) -> None:
        with suppress(OSError), stream:  # the process has ended; closing fails too then
            stream.write(as_line(start))
            stream.flush()
            for lines in self._rows:
                stream.write(lines)
                stream.flush()

    def _listen(self, statuses: IO[bytes]) -> "tuple[_End | None, str]":
        """Handle the status lines of the process. Returns how it ended, if it reported that, and the last
        other text."""
        end, last = None, ""
        for line in statuses:
            if not line.startswith(b'{"'):  # Python itself, before or instead of the program
                last = line.decode("utf-8", "replace").strip() or last
                continue
            status = json.loads(line)
            self.kept |= status.get("keep", {})
            if "say" in status:
                self.news.append(status["say"])
            if "working" in status:
                self._settled.set()
            if "ended" in status:
                end = _End(status["ended"], status.get("final", False))
        return end, last


class _End(NamedTuple):
    """Why a process failed, empty if it did not; and whether a second one would fail too."""

    reason: str
    final: bool = False
