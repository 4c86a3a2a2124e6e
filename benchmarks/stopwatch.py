"""Lightning callback that measures the time of epochs, the same for all compared programs."""

import time
from typing import Any

from lightning.pytorch.callbacks import Callback


class Stopwatch(Callback):
    """Measures wall and CPU time of whole epochs: training, validation, checkpoint, logs and progress.

    Attributes:
        starts: ``time.monotonic()`` at each epoch's start, then at the end of training.
        cpu: ``time.process_time()`` at the same times (this process and its threads, not its workers).
        first_step: ``time.monotonic()`` after the first training step.
        losses: ``val_loss`` of each epoch.
        batches: numbers of training and validation batches of an epoch.
    """

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.cpu: list[float] = []
        self.first_step: float | None = None
        self.losses: list[float] = []
        self.batches: tuple[int, int] = (0, 0)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._mark()

    def on_train_batch_end(self, *arguments: Any, **keywords: Any) -> None:
        if self.first_step is None:
            self.first_step = time.monotonic()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.losses.append(float(trainer.callback_metrics["val_loss"]))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._mark()
        self.batches = (int(trainer.num_training_batches), sum(int(n) for n in trainer.num_val_batches))

    def _mark(self) -> None:
        self.starts.append(time.monotonic())
        self.cpu.append(time.process_time())

    def record(self) -> dict[str, Any]:
        """Return the measurements as plain values for JSON."""
        return {
            "epoch_seconds": [b - a for a, b in zip(self.starts, self.starts[1:], strict=False)],
            "epoch_cpu_seconds": [b - a for a, b in zip(self.cpu, self.cpu[1:], strict=False)],
            "first_step": self.first_step,
            "val_losses": self.losses,
            "batches": self.batches,
        }
