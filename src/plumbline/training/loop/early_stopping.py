"""The end of a training that no longer improves."""

from plumbline.training.lightning_import import EarlyStopping


def stop_early(early_stopping: int) -> EarlyStopping:
    """Ends the training after ``early_stopping`` epochs without a better ``val_loss``."""
    return EarlyStopping(
        "val_loss",
        patience=early_stopping,
        check_finite=False,
        # Not at the end of the epoch: a resumed one ends without having been validated again.
        check_on_train_epoch_end=False,
    )
