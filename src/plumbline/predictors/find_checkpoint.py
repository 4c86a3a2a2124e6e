"""Choice of the checkpoint for a given file or folder."""

from math import inf
from pathlib import Path

from plumbline.errors import InputError

ENSEMBLE_FILE = "ensemble.ckpt"
BEST_FILES, LAST_FILES = "best-model-*.ckpt", "last*.ckpt"


def find_best(given: Path) -> Path:
    """Find a checkpoint: the given file, or in a folder the ensemble, else the best, else the last one.

    Raises:
        InputError: there is none, or one of several best ones cannot be read.
    """
    if given.is_file():
        return given
    if (given / ENSEMBLE_FILE).is_file():
        return given / ENSEMBLE_FILE
    if not given.is_dir():
        raise InputError(f"checkpoint {given}: there is no such file or folder; `plumbline train` writes one")
    best = sorted(given.glob(BEST_FILES))
    if best:
        return best[0] if len(best) == 1 else min(best, key=_val_loss)
    if (given / "last.ckpt").is_file():
        return given / "last.ckpt"
    raise InputError(
        f"checkpoint {given}: the folder has neither {BEST_FILES} nor last.ckpt; give the file itself"
    )


def _val_loss(path: Path) -> float:
    """The ``val_loss`` that a checkpoint records; the one in its name is rounded."""
    from plumbline.predictors.checkpoint import read_checkpoint

    recorded = read_checkpoint(path)["plumbline"]["metrics"].get("val_loss")
    return recorded if isinstance(recorded, float) else inf
