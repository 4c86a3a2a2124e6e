"""What happens beside the training steps: records, a clean stop, timings for ``--debug``."""

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import torch

from plumbline.training.lightning_import import Callback, EarlyStopping, LightningModule, Trainer
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.persistence.saving import BestAndLast
from plumbline.training.show.tracking import Trackers

LOG_EVERY = 50
"""Steps between two rows of step metrics; only these, and the ends of epochs, wait for the device."""


class Recorder(Callback):
    """Hands the metrics of every fiftieth step and of every epoch to the trackers."""

    def __init__(self, trackers: Trackers) -> None:
        self.trackers = trackers

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """A row of step metrics now and then."""
        if trainer.global_step % LOG_EVERY == 0:
            assert isinstance(pl_module, CentreOfMassTask)
            row = pl_module.step_row()
            pl_module.check_finite(row)
            self.trackers.log(row | {"epoch": trainer.current_epoch}, trainer.global_step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The epoch's row; the checkpoint of the epoch is written after it."""
        assert isinstance(pl_module, CentreOfMassTask)
        self.trackers.log(pl_module.epoch_row, trainer.global_step)


HANGUP = getattr(signal, "SIGHUP", None)
STOPPING = [
    signal.SIGINT,
    signal.SIGTERM,
    *(getattr(signal, name) for name in ("SIGUSR1", "SIGHUP") if hasattr(signal, name)),
]
"""Signals that end a training."""


class TrainingInterrupted(Exception):
    """A signal, or a deadline (None), ended the training after a step; the last checkpoint is written.

    Attributes:
        exit_code: for the program: 130 for Ctrl-C, 129 for the end of the terminal, 143 for SIGTERM and
            SIGUSR1, 0 for the deadline.
    """

    def __init__(self, signum: int | None) -> None:
        super().__init__("deadline" if signum is None else signal.Signals(signum).name)
        codes = {None: 0, signal.SIGINT: 130, HANGUP: 129}
        self.exit_code = codes.get(signum, 143)


class StoppedAtOnce(KeyboardInterrupt):
    """A second signal ended the training in the midst of a step.

    Attributes:
        exit_code: as of :class:`TrainingInterrupted`.
    """

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.exit_code = TrainingInterrupted(signum).exit_code


class StallWatch(Callback):
    """Shows where every thread is, on the error stream, when no batch has ended for a while.

    Args:
        seconds: how long that is.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._armed = 0.0

    def _arm(self) -> None:
        now = time.monotonic()
        if now - self._armed < min(1.0, self._seconds / 4):  # arming costs more than a small step
            return
        self._armed = now
        with suppress(AttributeError, OSError, ValueError):  # there may be no error stream
            faulthandler.dump_traceback_later(self._seconds, file=sys.__stderr__)  # type: ignore[arg-type]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._arm()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Starts it anew."""
        self._arm()

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Starts it anew."""
        self._arm()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Lightning does not tear callbacks down after an error."""
        faulthandler.cancel_dump_traceback_later()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stops the clock."""
        faulthandler.cancel_dump_traceback_later()


class GracefulStop(Callback):
    """Ends a training between two steps, with ``last.ckpt`` written: on a signal or at a deadline.

    The signals are Ctrl-C, SIGTERM, SIGUSR1, which batch systems send ahead of a job's end, and SIGHUP, by
    which a terminal ends, unless ``nohup`` keeps it away; a second one ends the training at once. What ends
    within an epoch is not validated: it would be another training.

    Args:
        checkpoints: who writes the last checkpoint; None for a trial run that saves nothing.
        say: told what is going on.
        max_time: seconds from the start of training, or None.
        save_every: steps after which ``last.ckpt`` is written also within an epoch; 0 for never.
    """

    def __init__(
        self,
        checkpoints: BestAndLast | None,
        say: Callable[[str], None],
        *,
        max_time: float | None = None,
        save_every: int = 0,
    ) -> None:
        self._checkpoints, self._say = checkpoints, say
        self._save_every = save_every
        self._max_time = max_time
        self._deadline = float("inf")
        self._signum: int | None = None
        self._previous: dict[int, Any] = {}
        self._process = os.getpid()
        self._terminal: list[int] = []
        self.out_of_time = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes over the signals; Lightning has just set its own handlers."""
        if self._max_time is not None:
            self._deadline = time.monotonic() + self._max_time
        if threading.current_thread() is threading.main_thread():
            self._terminal = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]
            wanted = [signum for signum in STOPPING if signal.getsignal(signum) != signal.SIG_IGN]
            self._previous = {signum: signal.signal(signum, self._receive) for signum in wanted}

    def _receive(self, signum: int, frame: Any) -> None:
        if os.getpid() != self._process:  # a reader process; a terminal sends Ctrl-C to all of them
            return
        if signum == HANGUP == self._signum:  # a terminal that ends may say so twice
            return
        if self._signum is not None:
            raise StoppedAtOnce(self._signum)
        self._signum = signum
        if signum == HANGUP:
            for descriptor in self._terminal:  # gone: what is written to it would be an error
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        self._say("stopping after this step (once more stops at once)")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Looks at the flag and the clock."""
        self.out_of_time = time.monotonic() > self._deadline
        # After its last batch an epoch is validated and saved as a whole first.
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            trainer.should_stop |= self.out_of_time
            return
        due = self._save_every and trainer.global_step % self._save_every == 0
        ends = self.out_of_time or self._signum is not None
        if self._checkpoints is not None and (due or ends):
            assert isinstance(pl_module, CentreOfMassTask)
            pl_module.check_weights()
            self._checkpoints.save_last_now(trainer)
        if ends:
            raise TrainingInterrupted(self._signum)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The epoch's checkpoint is written by now."""
        if self._signum is not None:
            raise TrainingInterrupted(self._signum)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Lightning does not tear callbacks down after an error."""
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives the signals back, unless Lightning did so before: these are its own, which keep all alive."""
        for signum, handler in self._previous.items():
            if signal.getsignal(signum) == self._receive:
                signal.signal(signum, handler)
        self._previous = {}


def stop_early(patience: int) -> EarlyStopping:
    """Ends the training after ``patience`` epochs without a better ``val_loss``."""
    return EarlyStopping(
        "val_loss",
        patience=patience,
        check_finite=False,
        # Not at the end of the epoch: a resumed one ends without having been validated again.
        check_on_train_epoch_end=False,
    )


def parse_max_time(text: str | None) -> float | None:
    """``DD:HH:MM:SS`` in seconds."""
    if text is None:
        return None
    days, hours, minutes, seconds = (int(part) for part in text.split(":"))
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()


class DebugTimings(Callback):
    """For ``--debug``: times of the first batches, and of the first epoch beside the second."""

    BATCHES = 5

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._epoch_began = self._batch_began = self._batch_ended = 0.0
        self._first_epoch: float | None = None
        self._seen = self._epochs = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clocks; Lightning starts no epoch when it goes on within one."""
        self._epoch_began = self._batch_ended = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts them again."""
        self._epoch_began = self._batch_ended = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """The batch is there."""
        self._batch_began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Says how long data and step took, for the first few batches."""
        if self._seen >= self.BATCHES:
            return
        wait_for_device(pl_module.device)
        now = time.perf_counter()
        self._seen += 1
        self._say(
            f"batch {self._seen}: data {1e3 * (self._batch_began - self._batch_ended):.1f} ms, "
            f"step {1e3 * (now - self._batch_began):.1f} ms "
            f"({batch.num_graphs} graphs, {batch.num_nodes:,} nodes)"
        )
        self._batch_ended = now

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says how long the first epoch took, and the second, which has nothing left to warm up."""
        wait_for_device(pl_module.device)
        elapsed = time.perf_counter() - self._epoch_began
        self._epochs += 1
        if self._epochs == 1:
            self._first_epoch = elapsed
            self._say(f"first epoch: {elapsed:.3f} s, validation and checkpoint included")
        elif self._epochs == 2 and self._first_epoch is not None:
            more = self._first_epoch - elapsed
            self._say(f"second epoch: {elapsed:.3f} s, so the first one took {more:+.3f} s more")


def wait_for_device(device: torch.device) -> None:
    """Until a GPU has done all that it was told, so that a clock shows the work and not the telling."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
