"""Early stopping."""

from typing import Any

from plumbline.training.lightning_import import EarlyStopping
from plumbline.training.persistence.resume import EARLY_STOPPING


class StopEarly(EarlyStopping):
    """Stops training after ``early_stopping`` epochs without a better ``val_loss``.

    Args:
        early_stopping: number of epochs, at least 1.
        comparable: whether the ``val_loss`` of a checkpoint to resume from is measured as it is from now on;
            otherwise the epochs are counted from scratch.
    """

    state_key = EARLY_STOPPING

    def __init__(self, early_stopping: int, *, comparable: bool = True) -> None:
        super().__init__(
            "val_loss",
            patience=early_stopping,
            check_finite=False,
            # Not at the end of the epoch: an epoch resumed at its end is not validated again.
            check_on_train_epoch_end=False,
        )
        self._comparable = comparable

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the epochs counted so far; the patience is that of this command."""
        if self._comparable:
            super().load_state_dict({**state_dict, "patience": self.patience, "stopped_epoch": 0})
