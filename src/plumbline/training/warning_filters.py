"""Filters for library messages that do not apply to this program; real warnings stay visible."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_CHATTY = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")

_HARMLESS = (
    # Runs of their own are moved away first (run_folder.py); what is left belongs to somebody else.
    r"Checkpoint directory .* exists and is not empty",
    # The checkpoint callback finds the best file in a moved folder itself (saving.py).
    r"The dirpath has changed from",
    # The number of workers is the user's, and resident loaders have none.
    r"The '.*_dataloader' does not have many workers",
    # The program says it in its own words (data/batches/loader.py).
    r"This DataLoader will create",
    # Lightning steps the schedule itself; ours is stepped by the task (task.py).
    r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`",
    # On a CPU, autocast to bfloat16 is what was asked for.
    r"User provided device_type of 'cuda', but CUDA is not available",
    # The task has summed it over all processes already (task.py).
    r"It is recommended to use `self.log\(.val_loss., ..., sync_dist=True\)`",
    # Lightning 2.6 still imports these.
    r"pkg_resources is deprecated",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide known harmless warnings, and only those, while the block runs."""
    levels = {name: logging.getLogger(name).level for name in _CHATTY}
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for pattern in _HARMLESS:
            warnings.filterwarnings("ignore", message=pattern)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
