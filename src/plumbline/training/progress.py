"""Progress: a live bar on a terminal, one line per epoch elsewhere. Neither waits for the device per step."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from plumbline.console import seconds
from plumbline.training.task import CentreOfMassTask

_REFRESH_SECONDS = 0.2


class _Pace(Callback):
    """Measures graphs per second and epochs; what both kinds of progress share."""

    def __init__(self, console: Console, *, graphs_per_epoch: int) -> None:
        self._console = console
        self._graphs_per_epoch = graphs_per_epoch
        self._epoch_began = time.perf_counter()
        self._rate = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._epoch_began = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training of the epoch is over."""
        self._rate = self._graphs_per_epoch / max(time.perf_counter() - self._epoch_began, 1e-9)


class EpochLines(_Pace):
    """One line per epoch, for logs and pipes."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the line."""
        assert isinstance(pl_module, CentreOfMassTask)
        if not trainer.is_global_zero:
            return
        row = pl_module.epoch_row
        width = len(str(trainer.max_epochs))
        self._console.print(
            f"epoch {trainer.current_epoch + 1:>{width}}/{trainer.max_epochs}"
            f"  train_loss {row['train_loss_epoch']:.4g}"
            f"  val_loss {row['val_loss']:.4g}"
            f"  val_error_rel {100 * row['val_error_rel']:.3g} %"
            f"  lr {row['learning_rate']:.2g}"
            f"  {self._rate:,.0f} graphs/s"
            f"  {seconds(time.perf_counter() - self._epoch_began)}"
        )


class LiveBar(_Pace):
    """A bar with epoch, loss, val_loss, graphs per second and time left; redrawn five times a second."""

    def __init__(self, console: Console, *, graphs_per_epoch: int, steps_per_epoch: int) -> None:
        super().__init__(console, graphs_per_epoch=graphs_per_epoch)
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
        """Shows the empty bar."""
        self._began, self._first_step = time.perf_counter(), trainer.global_step
        self._bar.add_task("", total=self._steps_per_epoch, epoch="", numbers="")
        self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Redraws if it is time to."""
        now = time.perf_counter()
        if now - self._drawn > _REFRESH_SECONDS:
            self._drawn = now
            self._draw(trainer, pl_module, batch_idx + 1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the new val_loss."""
        if time.perf_counter() - self._drawn > _REFRESH_SECONDS:
            self._draw(trainer, pl_module, self._steps_per_epoch)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes the bar away, also after an error."""
        self._bar.stop()

    def _draw(self, trainer: Trainer, pl_module: LightningModule, done: int) -> None:
        assert isinstance(pl_module, CentreOfMassTask)
        row, means = pl_module.epoch_row, pl_module.train_sums.means()
        steps = trainer.global_step - self._first_step
        elapsed = time.perf_counter() - self._began
        steps_left = (trainer.max_epochs or 0) * self._steps_per_epoch - trainer.global_step
        left = steps_left * elapsed / max(steps, 1)
        rate = steps * self._graphs_per_epoch / self._steps_per_epoch / elapsed
        numbers = [f"loss {means['loss']:.4g}"] if means else []
        if row:
            numbers.append(f"val_loss {row['val_loss']:.4g}")
        numbers += [f"{rate:,.0f} graphs/s", f"{seconds(left)} left"]
        self._bar.update(
            self._bar.task_ids[0],
            completed=done,
            epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
            numbers="  ".join(numbers),
        )
        self._bar.refresh()


def make_progress(console: Console, *, graphs_per_epoch: int, steps_per_epoch: int) -> Callback:
    """The progress that fits where the console writes to."""
    if console.is_terminal:
        return LiveBar(console, graphs_per_epoch=graphs_per_epoch, steps_per_epoch=steps_per_epoch)
    return EpochLines(console, graphs_per_epoch=graphs_per_epoch)
