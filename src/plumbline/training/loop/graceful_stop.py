"""A training that ends between two steps, with its state saved: on a signal or at a deadline."""

import os
import signal
import threading
import time
from typing import Any

from plumbline.reporting import Reporter
from plumbline.training.lightning_import import Callback, LightningModule, Trainer
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.persistence.saving import BestAndLast

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


class GracefulStop(Callback):
    """Ends a training between two steps, with ``last.ckpt`` written: on a signal or at a deadline.

    The signals are Ctrl-C, SIGTERM, SIGUSR1, which batch systems send ahead of a job's end, and SIGHUP, by
    which a terminal ends, unless ``nohup`` keeps it away; a second one ends the training at once. What ends
    within an epoch is not validated: it would be another training.

    Args:
        checkpoints: who writes the last checkpoint; None for a trial run that saves nothing.
        report: told when a signal arrives.
        max_time: seconds from the start of training, or None.
        checkpoint_every_n_steps: steps after which ``last.ckpt`` is also written within an epoch; 0 never.
    """

    def __init__(
        self,
        checkpoints: BestAndLast | None,
        report: Reporter,
        *,
        max_time: float | None = None,
        checkpoint_every_n_steps: int = 0,
    ) -> None:
        self._checkpoints, self._report = checkpoints, report
        self._checkpoint_every_n_steps = checkpoint_every_n_steps
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
        self._report.say("stopping after this step (once more stops at once)")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Looks at the flag and the clock."""
        self.out_of_time = time.monotonic() > self._deadline
        # After its last batch an epoch is validated and saved as a whole first.
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            trainer.should_stop |= self.out_of_time
            return
        every = self._checkpoint_every_n_steps
        due = every and trainer.global_step % every == 0
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
