"""Stopping a training that waits for another process within torch, where Python does not see signals."""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress

from plumbline.reporting import Reporter
from plumbline.training.distributed.world import World

HANGUP = getattr(signal, "SIGHUP", None)
"""The signal of a closing terminal, which may send it twice."""
_LOOK = 0.5
"""Seconds between two looks at the time."""
_MOMENT = 2.0
"""Seconds after a second signal in which Python may see it by itself."""
_PATIENCE = 60.0
"""Seconds without any progress after which a request to stop counts as unanswered, at least."""
_SLOWER = 4
"""That many times the longest time without progress so far, at least."""
_GRACE = 30.0
"""Seconds that this process has to end after the others were killed."""


_open: list["Unanswered"] = []
"""Those that the system tells of signals: one at most."""
_mask: list[set[int]] = []
"""The signals that this thread blocked before it began to fork."""

NO_ANSWER = "the other processes of this training do not answer: stopped without them"


class Unanswered:
    """A thread that kills the other processes of this host if they keep this one from stopping.

    The system tells it of a signal at once. Python's own handlers wait until torch returns, which it does
    when the others are dead. What torchrun or srun has started is theirs to end: this process ends itself.
    Before the end of the first step, which may compile for long, and while the state is written, only a
    second signal ends the training.

    Args:
        world: the processes of the training.
        report: receives a message if this process ends itself.
        signals: those that ask to stop; a second one asks to stop at once.
        deadline: time (monotonic) that asks to stop too.
        exit_code: of a training that has not saved its state, by signal; None: the deadline.

    Attributes:
        told: the signals so far. Python merges those that arrive before it looks, and calls a handler once.
        given_up: the exit code, once the others are not waited for any longer; before that None.
    """

    def __init__(
        self,
        world: World,
        report: Reporter,
        *,
        signals: Collection[int],
        deadline: float,
        exit_code: Callable[[int | None], int],
    ) -> None:
        self._world, self._report = world, report
        self._signals, self._deadline, self._exit_code = signals, deadline, exit_code
        self._moved, self._longest = float("inf"), 0.0
        self.told: list[int] = []
        self.given_up: int | None = None
        self._closed, self._deciding = threading.Event(), threading.Lock()
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._previous = signal.set_wakeup_fd(self._inner.fileno(), warn_on_full_buffer=False)
        _open.append(self)
        threading.Thread(target=self._watch, daemon=True).start()

    def moved(self) -> None:
        """Note that the training makes progress."""
        now = time.monotonic()
        self._longest, self._moved = max(self._longest, now - self._moved), now

    def close(self) -> None:
        """End the thread; Python sees signals again."""
        with self._deciding:
            if self._closed.is_set():
                return
            self._closed.set()
        signal.set_wakeup_fd(self._previous)
        _open.remove(self)
        self._inner.close()

    def _watch(self) -> None:
        told, asked = self.told, float("inf")
        with self._outer:
            while not self._closed.is_set():
                before = len(told)
                if select.select([self._outer], [], [], _LOOK)[0]:
                    for number in self._outer.recv(64):
                        if number in self._signals and not (number == HANGUP and HANGUP in told):
                            told.append(number)
                if self._world.busy:
                    self.moved()
                now = time.monotonic()
                if len(told) > before or (asked > now > self._deadline):
                    asked = now
                patience = max(_PATIENCE, _SLOWER * self._longest)
                twice = len(told) > 1 and now - asked > _MOMENT
                if twice or now - max(asked, self._moved) > patience:
                    self._end(told[0] if told else None)
                    return

    def _end(self, signum: int | None) -> None:
        with self._deciding:
            if self._closed.is_set():
                return
            self.given_up = code = self._exit_code(signum)
        for process in self._world.others:
            process.kill()
        if not self._closed.wait(_GRACE if self._world.others else 0.0):
            # In a thread of its own: a listener that raises or blocks must not keep this process alive.
            speaker = threading.Thread(target=self._say, daemon=True)
            speaker.start()
            speaker.join(_MOMENT)
            os._exit(code)

    def _say(self) -> None:
        with suppress(Exception):
            self._report.say(f"{NO_ANSWER}; what was saved last is kept, continue with --resume")


def _hold_signals() -> None:
    """Keep signals from a new process until it has left the socket of its parent."""
    if _open:
        _mask.append(signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()))


def _release_signals() -> None:
    if _mask:
        signal.pthread_sigmask(signal.SIG_SETMASK, _mask.pop())


def _leave_to_the_parent() -> None:
    """A terminal sends Ctrl-C to all processes: the training would count it once for each."""
    if _open:
        signal.set_wakeup_fd(-1)
        _open.clear()
    _release_signals()


if hasattr(os, "register_at_fork"):  # for the life of the interpreter: nothing can unregister them
    os.register_at_fork(
        before=_hold_signals, after_in_parent=_release_signals, after_in_child=_leave_to_the_parent
    )
