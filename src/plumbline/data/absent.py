"""What is said of a folder that is no data set, and the command that makes one of what is in it."""

import shlex
from pathlib import Path

from plumbline.data.packing import MANIFEST
from plumbline.files import visible_files

PARTS = ".parts"
"""What `plumbline prepare` keeps in a folder that is not finished."""


def no_data(folder: Path) -> str:
    """Why there is no data set, and the command that makes one there, or elsewhere if it cannot be there."""
    if not folder.exists():
        return f"the data folder {folder} does not exist: make one with {_command('--solids 200', folder)}"
    if not folder.is_dir():
        return f"{folder} is a file, not a data set: name the folder that `plumbline prepare` made"
    if (folder / PARTS).is_dir():
        return (
            f"{folder} is not a data set yet, its preparation was not finished: "
            "run the same `plumbline prepare` command again"
        )
    from plumbline.geometry.meshes import MESH_SUFFIXES

    if num := len(visible_files(folder, MESH_SUFFIXES)):
        meshes = "1 mesh" if num == 1 else f"{num:,} meshes"
        command = _command(shlex.quote(str(folder)), "data/NAME")
        return (
            f"{folder} holds {meshes}, not a data set: prepare {'it' if num == 1 else 'them'} with {command}"
        )
    out = "data/NAME" if any(folder.iterdir()) else folder  # prepare leaves a folder with other files alone
    return (
        f"no data set in {folder}: looked for {MANIFEST} (packed) and for *.pt files; "
        f"make one with {_command('--solids 200', out)}"
    )


def _command(what: str, out: Path | str) -> str:
    return f"`plumbline prepare {what} --out {shlex.quote(str(out))}`"
