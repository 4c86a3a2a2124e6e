"""The clock that is held to both programs: one Lightning callback, added from outside.

``python -m benchmarks.stopwatch OUT.json SCRIPT [ARGUMENT ...]`` runs a training script as it is, adds
the callback to the ``Trainer`` it makes, and writes what the callback saw.
"""

import functools
import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lightning
from lightning.pytorch.callbacks import Callback


class Stopwatch(Callback):
    """Wall and CPU time of whole epochs: training, validation, checkpoint, logs and progress.

    Attributes:
        starts: ``time.monotonic()`` at each epoch's start, then at the end of training.
        cpu: ``time.process_time()`` at the same moments (this process and its threads, not its workers).
        first_step: ``time.monotonic()`` after the first training step.
        losses: ``val_loss`` of each epoch.
        batches: training and validation batches of an epoch.
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
        """Plain values for JSON."""
        return {
            "epoch_seconds": [b - a for a, b in zip(self.starts, self.starts[1:], strict=False)],
            "epoch_cpu_seconds": [b - a for a, b in zip(self.cpu, self.cpu[1:], strict=False)],
            "first_step": self.first_step,
            "val_losses": self.losses,
            "batches": self.batches,
        }


def watch(script: str, arguments: list[str]) -> Stopwatch:
    """Run a script as ``__main__`` with a stopwatch in every ``lightning.Trainer`` it makes."""
    stopwatch = Stopwatch()
    original = lightning.Trainer.__init__

    @functools.wraps(original)
    def with_stopwatch(self: Any, *positional: Any, **keywords: Any) -> None:
        given = keywords.get("callbacks") or []
        keywords["callbacks"] = [*(given if isinstance(given, list) else [given]), stopwatch]
        original(self, *positional, **keywords)

    sys.argv = [script, *arguments]
    with patch.object(lightning.Trainer, "__init__", with_stopwatch):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as stop:
            if stop.code:
                raise
    return stopwatch


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(watch(sys.argv[2], sys.argv[3:]).record()), encoding="utf-8")
