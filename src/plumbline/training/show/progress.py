"""Progress: a live bar on a terminal, one line per epoch elsewhere. Neither waits for the device per step."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from plumbline.console.text import percent, seconds
from plumbline.predictors.device import wait_for_device
from plumbline.reporting import Reporter
from plumbline.training.lightning_import import Callback, LightningModule, Trainer
from plumbline.training.loop.task import CentreOfMassTask

_REFRESH_SECONDS = 0.2


class EpochLines(Callback):
    """Reports one line per epoch, with aligned columns."""

    def __init__(self, report: Reporter, *, graphs_per_step: float) -> None:
        self._report = report
        self._graphs_per_step = graphs_per_step
        self._began = self._rate = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the timer; Lightning calls no epoch hook when it resumes within an epoch."""
        self._began, self._first_step = time.perf_counter(), trainer.global_step

    on_train_epoch_start = on_train_start

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the training speed of the epoch."""
        wait_for_device(pl_module.device)
        graphs = (trainer.global_step - self._first_step) * self._graphs_per_step
        self._rate = graphs / max(time.perf_counter() - self._began, 1e-9)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the line."""
        assert isinstance(pl_module, CentreOfMassTask)
        if not trainer.is_global_zero:
            return
        row = pl_module.epoch_row
        width = len(str(trainer.max_epochs))
        self._report.step(
            f"epoch {trainer.current_epoch + 1:>{width}}/{trainer.max_epochs}"
            f"  train_loss {_four(row['train_loss_epoch']):>8}"
            f"  val_loss {_four(row['val_loss']):>8}"
            f"  val_error_rel {percent(row['val_error_rel']):>6}"
            f"  lr {row['learning_rate']:<7.2g}"
            f"  {self._rate:>7,.0f} graphs/s"
            f"  {seconds(time.perf_counter() - self._began):>7}"
        )


def _four(value: float) -> str:
    """At most eight characters: four significant digits (``0.1200``), three below 0.001 (``8.32e-04``)."""
    return f"{value:.2e}" if 0 < abs(value) < 1e-3 else f"{value:#.4g}"


class LiveBar(Callback):
    """A bar with epoch, loss, val_loss, graphs per second and time left; redrawn five times a second."""

    def __init__(self, console: Console, *, graphs_per_step: float, steps_per_epoch: int) -> None:
        self._graphs_per_step = graphs_per_step
        self._steps_per_epoch = steps_per_epoch
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[numbers]}"),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._began = self._drawn = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the empty bar."""
        self._began, self._first_step = time.perf_counter(), trainer.global_step
        self._bar.add_task("", total=self._steps_per_epoch, epoch="", numbers="")
        self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Redraw the bar if the refresh interval has passed."""
        now = time.perf_counter()
        if now - self._drawn > _REFRESH_SECONDS:
            self._drawn = now
            self._draw(trainer, pl_module, batch_idx // trainer.accumulate_grad_batches + 1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the new val_loss."""
        if time.perf_counter() - self._drawn > _REFRESH_SECONDS:
            self._draw(trainer, pl_module, self._steps_per_epoch)

    def teardown(self, *_: Any, **__: Any) -> None:
        """Remove the bar, and show the cursor again."""
        self._bar.stop()

    on_exception = teardown  # Lightning calls no teardown after an error

    def _draw(self, trainer: Trainer, pl_module: LightningModule, done: int) -> None:
        assert isinstance(pl_module, CentreOfMassTask)
        row, means = pl_module.epoch_row, pl_module.train_sums.means()
        steps = trainer.global_step - self._first_step
        elapsed = time.perf_counter() - self._began
        total = (trainer.max_epochs or 0) * self._steps_per_epoch
        if trainer.max_steps > 0:
            total = min(total, trainer.max_steps)
        left = (total - trainer.global_step) * elapsed / max(steps, 1)
        rate = steps * self._graphs_per_step / elapsed
        numbers = [f"loss {_four(means['loss'])}"] if means else []
        if row:
            numbers.append(f"val_loss {_four(row['val_loss'])}")
        numbers += [f"{rate:,.0f} graphs/s", f"{seconds(left)} left"]
        self._bar.update(
            self._bar.task_ids[0],
            completed=done,
            epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
            numbers="  ".join(numbers),
        )
        self._bar.refresh()
