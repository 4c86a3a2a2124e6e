"""Early stopping."""

from plumbline.training.lightning_import import EarlyStopping


def stop_early(early_stopping: int) -> EarlyStopping:
    """Make a callback that stops training after ``early_stopping`` epochs without a better ``val_loss``."""
    return EarlyStopping(
        "val_loss",
        patience=early_stopping,
        check_finite=False,
        # Not at the end of the epoch: an epoch resumed at its end is not validated again.
        check_on_train_epoch_end=False,
    )
