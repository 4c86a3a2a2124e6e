"""Choice of the checkpoint for a given file or folder, and the one that plumbline ships."""

from math import inf
from pathlib import Path

from plumbline.errors import InputError

ENSEMBLE_FILE = "ensemble.ckpt"
BEST_FILES, LAST_FILES = "best-model-*.ckpt", "last*.ckpt"
PRETRAINED = "pretrained"
"""What the shipped checkpoint is called wherever a checkpoint is named. A file of that name, or a folder of
that name with checkpoints, takes precedence."""
SHIPPED = Path(__file__).parents[1] / "pretrained" / "plumbline.ckpt"
"""The shipped checkpoint."""


def find_best(given: Path) -> Path:
    """Find a checkpoint: the given file, or in a folder the ensemble, else the best, else the last one.

    Raises:
        InputError: there is none, or one of several best ones cannot be read.
    """
    if given.is_file():
        return given
    if (given / ENSEMBLE_FILE).is_file():
        return given / ENSEMBLE_FILE
    best = sorted(given.glob(BEST_FILES))
    if best:
        return best[0] if len(best) == 1 else min(best, key=_val_loss)
    if (given / "last.ckpt").is_file():
        return given / "last.ckpt"
    if given == Path(PRETRAINED):
        return SHIPPED
    if not given.is_dir():
        raise InputError(
            f"checkpoint {given}: there is no such file or folder; `plumbline train` writes one, and "
            f"{PRETRAINED} is the one that plumbline ships"
        )
    raise InputError(
        f"checkpoint {given}: the folder has neither {BEST_FILES} nor last.ckpt; give the file itself, or "
        f"{PRETRAINED}, the one that plumbline ships"
    )


def checkpoint_name(path: Path) -> str:
    """What a checkpoint is called on the command line: its path, or ``pretrained``."""
    return PRETRAINED if path == SHIPPED else str(path)


def _val_loss(path: Path) -> float:
    """The ``val_loss`` that a checkpoint records; the one in its name is rounded."""
    from plumbline.predictors.checkpoint import read_checkpoint

    recorded = read_checkpoint(path)["plumbline"]["metrics"].get("val_loss")
    return recorded if isinstance(recorded, float) else inf
