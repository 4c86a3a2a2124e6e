"""Stopping a training that waits for another process within torch, where Python does not see signals."""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection

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


class Unanswered:
    """A thread that kills the other processes of this host if they keep this one from stopping.

    The system tells it of a signal at once. Python's own handlers wait until torch returns, which it does
    when the others are dead. What torchrun or srun has started is theirs to end: this process ends itself.

    Args:
        world: the processes of the training.
        report: receives a message.
        signals: those that ask to stop; a second one asks to stop at once.
        deadline: time (monotonic) that asks to stop too.
        exit_code: of a process that ends itself, by signal; None: the deadline.

    Attributes:
        told: the signals so far. Python merges those that arrive before it looks, and calls a handler once.
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
        self._moved, self._longest = time.monotonic(), 0.0
        self.told: list[int] = []
        self._closed = threading.Event()
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._previous = signal.set_wakeup_fd(self._inner.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True).start()

    def moved(self) -> None:
        """Note that the training makes progress."""
        now = time.monotonic()
        self._longest, self._moved = max(self._longest, now - self._moved), now

    def close(self) -> None:
        """End the thread; Python sees signals again."""
        if not self._closed.is_set():
            self._closed.set()
            signal.set_wakeup_fd(self._previous)
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
                now = time.monotonic()
                if len(told) > before or (asked > now > self._deadline):
                    asked = now
                patience = max(_PATIENCE, _SLOWER * self._longest)
                twice = len(told) > 1 and now - asked > _MOMENT
                if twice or now - max(asked, self._moved) > patience:
                    self._end(told[0] if told else None)
                    return

    def _end(self, signum: int | None) -> None:
        if self._closed.is_set():
            return
        self._report.say(
            "the other processes of this training do not answer: stopping without them; what was saved last "
            "is kept, continue with --resume"
        )
        for process in self._world.others:
            process.kill()
        if not self._closed.wait(_GRACE if self._world.others else 0.0):
            os._exit(self._exit_code(signum))
