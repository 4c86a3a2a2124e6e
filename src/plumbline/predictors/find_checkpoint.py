"""Choice of the checkpoint for a given file or folder."""

import re
from pathlib import Path

from plumbline.errors import InputError

ENSEMBLE_FILE = "ensemble.ckpt"
_BEST = re.compile(r"best-model-\d+-(-?\d+(?:\.\d+)?)")


def find_best(given: Path) -> Path:
    """Find a checkpoint: the given file, or in a folder the ensemble, else the best, else the last one.

    Raises:
        InputError: there is none.
    """
    if given.is_file():
        return given
    if (given / ENSEMBLE_FILE).is_file():
        return given / ENSEMBLE_FILE
    if not given.is_dir():
        raise InputError(f"checkpoint {given}: there is no such file or folder; `plumbline train` writes one")
    named = [(_BEST.match(path.name), path) for path in sorted(given.glob("best-model-*.ckpt"))]
    best = [(float(match[1]), path) for match, path in named if match]
    if best:
        return min(best)[1]
    if (given / "last.ckpt").is_file():
        return given / "last.ckpt"
    raise InputError(
        f"checkpoint {given}: the folder has neither best-model-*.ckpt nor last.ckpt; give the file itself"
    )
