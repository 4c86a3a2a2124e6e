"""The callback that passes metrics from the training task to the trackers."""

from typing import Any

from plumbline.training.lightning_import import Callback, LightningModule, Trainer
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.optim.accumulation import within_group
from plumbline.training.show.tracking import Trackers

_FEWEST_ROWS = 10


class Recorder(Callback):
    """Passes the metrics of some steps and of every epoch to the trackers.

    Args:
        trackers: receive the rows.
        log_every_n_steps: steps between two rows of step metrics; only these rows and the ends of epochs wait
            for the device. By default 50, or fewer where an epoch would have fewer than ten rows.
        steps_per_epoch: number of steps in an epoch.
    """

    def __init__(self, trackers: Trackers, log_every_n_steps: int | None, *, steps_per_epoch: int) -> None:
        self.trackers = trackers
        self._every = log_every_n_steps or max(1, min(50, steps_per_epoch // _FEWEST_ROWS))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Report messages of the trackers; log a row when it is due, unless the step was skipped."""
        self.trackers.tell()
        if within_group(trainer):
            return
        if trainer.global_step % self._every == 0:
            assert isinstance(pl_module, CentreOfMassTask)
            row = pl_module.step_row()
            pl_module.check_finite(row)
            if row:
                self.trackers.log(row | {"epoch": trainer.current_epoch}, trainer.global_step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's row; the epoch's checkpoint is written after it."""
        assert isinstance(pl_module, CentreOfMassTask)
        self.trackers.log(pl_module.epoch_row, trainer.global_step)
