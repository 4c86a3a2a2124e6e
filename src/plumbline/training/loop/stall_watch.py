"""A watch over trainings that stand still."""

import faulthandler
import sys
import time
from contextlib import suppress
from typing import Any

from plumbline.training.lightning_import import Callback, LightningModule, Trainer


class StallWatch(Callback):
    """Shows where every thread is, on the error stream, when no batch has ended for a while.

    Args:
        stall_timeout: seconds that this takes.
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
        """Starts the clock."""
        self._arm()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Restarts the clock."""
        self._arm()

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Restarts the clock."""
        self._arm()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Lightning does not tear callbacks down after an error."""
        faulthandler.cancel_dump_traceback_later()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stops the clock."""
        faulthandler.cancel_dump_traceback_later()
