"""Stopping a training between two steps with its state saved, on a signal or at a deadline."""

import os
import signal
import threading
import time
from typing import Any

from plumbline.reporting import Reporter
from plumbline.training.distributed.world import ALONE, World
from plumbline.training.lightning_import import Callback, LightningModule, Trainer
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.loop.unanswered import HANGUP, Unanswered
from plumbline.training.loop.validations import Validations
from plumbline.training.optim.accumulation import within_group
from plumbline.training.persistence.saving import BestAndLast

_ASK = 0.25
"""Seconds between two questions of the processes of a training to each other whether to stop."""
_MOST = 1000
"""Steps between two questions, at most."""

STOPPING = [
    signal.SIGINT,
    signal.SIGTERM,
    *(getattr(signal, name) for name in ("SIGUSR1", "SIGHUP") if hasattr(signal, name)),
]
"""Signals that stop a training."""


class TrainingInterrupted(Exception):
    """A signal, or the deadline (None), stopped the training after a step; the last checkpoint is written.

    Attributes:
        exit_code: of the program: 130 for Ctrl-C, 129 for a closed terminal, 143 for SIGTERM and
            SIGUSR1, 0 for the deadline.
    """

    def __init__(self, signum: int | None) -> None:
        super().__init__("deadline" if signum is None else signal.Signals(signum).name)
        codes = {None: 0, signal.SIGINT: 130, HANGUP: 129}
        self.exit_code = codes.get(signum, 143)


class StoppedAtOnce(KeyboardInterrupt):
    """A second signal stopped the training in the middle of a step.

    Attributes:
        exit_code: as for :class:`TrainingInterrupted`.
    """

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.exit_code = TrainingInterrupted(signum).exit_code


class GracefulStop(Callback):
    """Stops a training between two steps, with ``last.ckpt`` written, on a signal or at a deadline.

    The signals are Ctrl-C, SIGTERM, SIGUSR1, which batch systems send before a job ends, and SIGHUP, which a
    closing terminal sends, unless ``nohup`` blocks it; a second signal stops the training at once. A stop
    within an epoch runs no validation, which would make it a different training.

    Args:
        checkpoints: writer of the last checkpoint; None for a trial run, which saves nothing.
        report: receives a message when a signal arrives.
        validations: tells whether validation follows a step, after which the state is saved.
        max_time: seconds from the start of training, or None.
        checkpoint_every_n_steps: ``last.ckpt`` is also written every this many steps; 0: never.
        world: the processes of the training, which stop after the same step.
    """

    def __init__(
        self,
        checkpoints: BestAndLast | None,
        report: Reporter,
        validations: Validations,
        *,
        max_time: float | None = None,
        checkpoint_every_n_steps: int = 0,
        world: World = ALONE,
    ) -> None:
        self._world = world
        self._since, self._ask_at, self._asked = 0, 0, time.monotonic()
        self._checkpoints, self._report, self._validations = checkpoints, report, validations
        self._checkpoint_every_n_steps = checkpoint_every_n_steps
        self._max_time = max_time
        self._deadline = float("inf")
        self._signum: int | None = None
        self._told: int | None = None
        self._due = False
        self._previous: dict[int, Any] = {}
        self._process = os.getpid()
        self._terminal: list[int] = []
        self._unanswered: Unanswered | None = None
        self.out_of_time = False

    @property
    def given_up(self) -> int | None:
        """The exit code, if the other processes did not answer and this one stops without them."""
        return None if self._unanswered is None else self._unanswered.given_up

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the signal handlers; Lightning has just installed its own."""
        if self._max_time is not None:
            self._deadline = time.monotonic() + self._max_time
        if threading.current_thread() is threading.main_thread():
            self._terminal = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]
            wanted = [signum for signum in STOPPING if signal.getsignal(signum) != signal.SIG_IGN]
            self._previous = {signum: signal.signal(signum, self._receive) for signum in wanted}
            # The first process ends those that it has started.
            if self._world.size > 1 and (self._world.first or self._world.place.starter != "plumbline"):
                self._unanswered = Unanswered(
                    self._world, self._report, signals=wanted, deadline=self._deadline,
                    exit_code=lambda signum: TrainingInterrupted(signum).exit_code or 1,
                )  # fmt: skip

    def _receive(self, signum: int, frame: Any) -> None:
        if os.getpid() != self._process:  # a reader process; a terminal sends Ctrl-C to all of them
            return
        if signum == HANGUP == self._signum:  # a closing terminal may send it twice
            return
        twice = self._unanswered is not None and len(self._unanswered.told) > 1
        if self._signum is not None or twice:
            raise StoppedAtOnce(self._signum or signum)
        self._signum = signum
        if signum == HANGUP:
            for descriptor in self._terminal:  # closed: writing to it would fail
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        if self.given_up is None:
            self._report.say("stopping after this step (a second signal stops at once)")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Stop if a signal arrived or the time is over; write ``last.ckpt`` when it is due."""
        self._move()
        if within_group(trainer):  # a gradient that waits for more batches is in no checkpoint
            return
        ends = self._agreed(trainer)
        every = self._checkpoint_every_n_steps
        self._due |= every > 0 and trainer.global_step % every == 0
        if self._validations.follow:  # the state is saved after it
            self._due = False
            trainer.should_stop |= self.out_of_time
            return
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return  # Lightning cannot resume between two epochs without validation: after the next step
        if self._checkpoints is not None and (self._due or ends):
            assert isinstance(pl_module, CentreOfMassTask)
            pl_module.check_weights()
            self._checkpoints.save_last_now(trainer)
            self._due = False
        if ends:
            raise TrainingInterrupted(self._signum if self._world.size == 1 else self._told)

    def _move(self, *_: Any, **__: Any) -> None:
        if self._unanswered is not None:
            self._unanswered.moved()

    on_validation_batch_end = _move

    def _agreed(self, trainer: Trainer) -> bool:
        """Whether all processes stop here: because one of them was told to, or the time of the first is over.

        They ask each other after some steps only, about four times a second, and at the end of an epoch.
        """
        late, step = time.monotonic() > self._deadline, trainer.global_step
        if self._world.size == 1:
            self.out_of_time = late
            return late or self._signum is not None
        self._world.step = step
        whole = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if step < self._ask_at and not whole and not self._validations.follow:
            return False
        now = time.monotonic()
        steps = max(self._ask_at - self._since, 1) * _ASK / max(now - self._asked, 1e-3)
        first = self._world.first
        signum, over, wait = self._world.most(
            [self._signum or 0, int(late and first), max(1, int(steps)) if first else 0]
        )
        self._told, self.out_of_time = signum or None, over > 0
        self._since, self._ask_at, self._asked = step, step + min(wait, _MOST), now
        return self.out_of_time or self._told is not None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if a signal arrived and the epoch's checkpoint is written, which validation did."""
        told = self._signum if self._world.size == 1 else self._told
        if told is not None and self._validations.follow:
            raise TrainingInterrupted(told)

    def teardown(self, *_: Any, **__: Any) -> None:
        """Restore the previous signal handlers, unless Lightning has already restored them."""
        if self._unanswered is not None:
            self._unanswered.close()
        for signum, handler in self._previous.items():
            if signal.getsignal(signum) == self._receive:
                signal.signal(signum, handler)
        self._previous = {}

    on_exception = teardown  # Lightning calls no teardown after an error
