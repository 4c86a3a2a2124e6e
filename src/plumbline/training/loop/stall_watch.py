"""Stack traces of a training that has stalled."""

import faulthandler
import sys
import time
from contextlib import suppress
from typing import Any

from plumbline.training.lightning_import import Callback


class StallWatch(Callback):
    """Writes the stack of every thread to the error stream if no batch ends for ``stall_timeout`` seconds."""

    def __init__(self, stall_timeout: float) -> None:
        self._stall_timeout = stall_timeout
        self._armed = 0.0

    def _arm(self, *_: Any, **__: Any) -> None:
        now = time.monotonic()
        if now - self._armed < min(1.0, self._stall_timeout / 4):  # arming costs more than a small step
            return
        self._armed = now
        with suppress(AttributeError, OSError, ValueError):  # there may be no error stream
            faulthandler.dump_traceback_later(self._stall_timeout, file=sys.__stderr__)  # type: ignore[arg-type]

    on_train_start = on_train_batch_end = on_validation_batch_end = _arm

    def teardown(self, *_: Any, **__: Any) -> None:
        """Stop the timer."""
        faulthandler.cancel_dump_traceback_later()

    on_exception = teardown  # Lightning calls no teardown after an error
