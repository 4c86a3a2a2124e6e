"""Stack traces of a training that has stalled."""

import faulthandler
import sys
import time
from contextlib import suppress
from typing import Any

from plumbline.training.lightning_import import Callback, LightningModule, Trainer


class StallWatch(Callback):
    """Writes the stack of every thread to the error stream if no batch ends for a while.

    Args:
        stall_timeout: seconds without a finished batch.
    """

    def __init__(self, stall_timeout: float) -> None:
        self._stall_timeout = stall_timeout
        self._armed = 0.0

    def _arm(self) -> None:
        now = time.monotonic()
        if now - self._armed < min(1.0, self._stall_timeout / 4):  # arming costs more than a small step
            return
        self._armed = now
        with suppress(AttributeError, OSError, ValueError):  # there may be no error stream
            faulthandler.dump_traceback_later(self._stall_timeout, file=sys.__stderr__)  # type: ignore[arg-type]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the timer."""
        self._arm()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Restart the timer."""
        self._arm()

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Restart the timer."""
        self._arm()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop the timer after an error, since Lightning then calls no ``teardown``."""
        faulthandler.cancel_dump_traceback_later()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop the timer."""
        faulthandler.cancel_dump_traceback_later()
