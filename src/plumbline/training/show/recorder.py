"""The callback that passes metrics from the training task to the trackers."""

from typing import Any

from plumbline.training.lightning_import import Callback, LightningModule, Trainer
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.loop.trainer import LOG_EVERY
from plumbline.training.show.tracking import Trackers


class Recorder(Callback):
    """Passes the metrics of every fiftieth step and of every epoch to the trackers."""

    def __init__(self, trackers: Trackers) -> None:
        self.trackers = trackers

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Log a row of step metrics every fiftieth step; say what the trackers have to say."""
        self.trackers.tell()
        if trainer.global_step % LOG_EVERY == 0:
            assert isinstance(pl_module, CentreOfMassTask)
            row = pl_module.step_row()
            pl_module.check_finite(row)
            self.trackers.log(row | {"epoch": trainer.current_epoch}, trainer.global_step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's row; the epoch's checkpoint is written after it."""
        assert isinstance(pl_module, CentreOfMassTask)
        self.trackers.log(pl_module.epoch_row, trainer.global_step)
