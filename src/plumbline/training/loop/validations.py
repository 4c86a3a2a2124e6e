"""Which steps validation follows."""

from typing import Any

from plumbline.training.lightning_import import Callback, LightningModule, Trainer
from plumbline.training.loop.task import CentreOfMassTask


class Validations(Callback):
    """Validates after every ``val_every_n_epochs``-th epoch, and at the end of the training.

    A longer training would not have validated at that end if it lies within an epoch, or after one that is
    left out. Such an extra validation measures and saves the model, and changes nothing else: a training that
    is resumed there continues with the bits of one that was never stopped.

    Args:
        val_every_n_epochs: number of epochs between two validations.

    Attributes:
        follow: whether validation follows the step just taken.
    """

    def __init__(self, val_every_n_epochs: int) -> None:
        self.val_every_n_epochs = val_every_n_epochs
        self.follow = False

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Decide, after each step."""
        assert isinstance(pl_module, CentreOfMassTask)
        whole, epochs = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch, trainer.current_epoch + 1
        regular = whole and epochs % self.val_every_n_epochs == 0
        out_of_steps = trainer.global_step == trainer.max_steps
        self.follow = regular or out_of_steps or (whole and epochs == trainer.max_epochs)
        pl_module.extra_validation = self.follow and not regular
        # Lightning validates an epoch whose number this divides: at its end, or where training is to stop.
        trainer.check_val_every_n_epoch = 1 if self.follow else self.val_every_n_epochs
        trainer.should_stop |= out_of_steps
