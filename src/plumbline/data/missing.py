"""The message for a folder that is not a data set, with the command that makes one from its contents."""

from pathlib import Path

from plumbline.console.text import command, counted
from plumbline.data.store.writer import MANIFEST
from plumbline.files import visible_files

PARTS = ".parts"
"""Subfolder that `plumbline prepare` keeps until the data set is finished."""


def no_data(folder: Path) -> str:
    """Say why ``folder`` is not a data set, and which command makes one.

    The command writes to ``folder`` itself where possible, otherwise to a new folder.
    """
    if not folder.exists():
        made = _prepare("--solids", 200, out=folder)
        return f"the data folder {folder} does not exist: make one with {made}"
    if not folder.is_dir():
        return f"{folder} is a file, not a data set: name the folder that `plumbline prepare` made"
    if (folder / PARTS).is_dir():
        return (
            f"{folder} is not a data set yet, because its preparation did not finish: "
            "run the same `plumbline prepare` command again"
        )
    meshes, scans = _count(folder)
    them = "it" if (meshes or scans) == 1 else "them"
    their_centres = "its centre" if scans == 1 else "their centres"
    if meshes:
        noun, made = "mesh" if meshes == 1 else "meshes", _prepare(folder, out="data/NAME")
        return f"{folder} holds {meshes:,} {noun}, not a data set: prepare {them} with {made}"
    if scans:
        asked, made = command("plumbline", "predict", folder), _prepare("--labels", "CSV", out="data/NAME")
        return (
            f"{folder} holds {counted(scans, 'scan')}, not a data set: `{asked}` predicts {their_centres} of "
            f"mass, and {made} makes a data set from {them} and a table of centres of mass"
        )
    out = "data/NAME" if any(folder.iterdir()) else folder  # prepare leaves a folder with other files alone
    return (
        f"no data set in {folder}: found neither {MANIFEST} (packed) nor *.pt files; "
        f"make one with {_prepare('--solids', 200, out=out)}"
    )


def _count(folder: Path) -> tuple[int, int]:
    """Count the meshes and the scans in a folder; a ply file may be either."""
    from plumbline.geometry.clouds import SEARCHED_SUFFIXES
    from plumbline.geometry.headers import is_ply_of_points
    from plumbline.geometry.mesh_formats.reading import MESH_SUFFIXES

    files = visible_files(folder, SEARCHED_SUFFIXES | MESH_SUFFIXES)
    meshes = sum(
        file.lower().endswith(tuple(MESH_SUFFIXES))
        and not (file.lower().endswith(".ply") and is_ply_of_points(folder / file))
        for file in files
    )
    return meshes, len(files) - meshes


def _prepare(*what: object, out: Path | str) -> str:
    return f"`{command('plumbline', 'prepare', *what, '--out', out)}`"
