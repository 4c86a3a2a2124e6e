"""Early stopping."""

from typing import Any

from plumbline.training.lightning_import import EarlyStopping, LightningModule, Trainer
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.persistence.resume import EARLY_STOPPING


class StopEarly(EarlyStopping):
    """Stops training after ``patience`` validations without a better ``val_loss``.

    Args:
        patience: number of validations, at least 1.
        comparable: whether the ``val_loss`` of a checkpoint to resume from is measured as it is from now on;
            otherwise the validations are counted from scratch.
    """

    state_key = EARLY_STOPPING

    def __init__(self, patience: int, *, comparable: bool = True) -> None:
        super().__init__(
            "val_loss",
            patience=patience,
            check_finite=False,
            # Not at the end of the epoch: an epoch resumed at its end is not validated again.
            check_on_train_epoch_end=False,
        )
        self._comparable = comparable

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the validation, unless it is an extra one."""
        assert isinstance(pl_module, CentreOfMassTask)
        if not pl_module.extra_validation:
            super().on_validation_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the validations counted so far; the patience is that of this command."""
        if self._comparable:
            super().load_state_dict({**state_dict, "patience": self.patience, "stopped_epoch": 0})
