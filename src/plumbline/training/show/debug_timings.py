"""Timings of the first batches and epochs, for ``--debug``."""

import time
from typing import Any

from plumbline.predictors.device import wait_for_device
from plumbline.reporting import Reporter
from plumbline.training.lightning_import import Callback, LightningModule, Trainer
from plumbline.training.loop.step_parts import FETCH


class DebugTimings(Callback):
    """Reports the times of the first batches and of the first two epochs."""

    BATCHES = 5

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self._epoch_began = self._since = 0.0
        self._fetching, self._spent = False, {True: 0.0, False: 0.0}
        self._first_epoch: float | None = None
        self._seen = self._epochs = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the timer; Lightning calls no epoch hook when it resumes within an epoch."""
        self._epoch_began = time.perf_counter()

    on_train_epoch_start = on_train_start

    def begins(self, part: str, step: bool) -> None:
        """Time the part of a step that ends, in the first few batches; see ``StepParts``."""
        if self._seen >= self.BATCHES:
            return
        now = time.perf_counter()
        if step:
            self._spent = {True: 0.0, False: 0.0}
        else:
            self._spent[self._fetching] += now - self._since
        self._fetching, self._since = part == FETCH, now

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Report the time for data and step of the first few batches."""
        if self._seen >= self.BATCHES:
            return
        wait_for_device(pl_module.device)
        self.begins("", False)
        self._seen += 1
        data, step = 1e3 * self._spent[True], 1e3 * self._spent[False]
        self._report.detail(
            f"batch {self._seen}: data {data:.1f} ms, step {step:.1f} ms "
            f"({batch.num_graphs} graphs, {batch.num_nodes:,} nodes)"
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the time of the first epoch and of the second one, which needs no warm-up."""
        wait_for_device(pl_module.device)
        elapsed = time.perf_counter() - self._epoch_began
        self._epochs += 1
        if self._epochs == 1:
            self._first_epoch = elapsed
            self._report.detail(f"first epoch: {elapsed:.3f} s, validation and checkpoint included")
        elif self._epochs == 2 and self._first_epoch is not None:
            more = self._first_epoch - elapsed
            self._report.detail(f"second epoch: {elapsed:.3f} s, so the first one took {more:+.3f} s more")
