"""Brings the meshes of ``sources.csv`` into one folder, as links: ``python -m pretrained.link MESHES``.

``plumbline prepare`` then names each object ``source/name``, wherever the meshes lie.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from plumbline.errors import InputError
from pretrained.sources import Mesh, read_sources

OUT = Path("data/pretrained-meshes")
"""The folder of links, which ``prepare.yaml`` names."""


def link(meshes: Sequence[Mesh], folder: Path, out: Path = OUT) -> None:
    """Make ``out`` a folder of links to the meshes below ``folder``; older links that are not needed go.

    Args:
        meshes: what to look for, as ``folder/source/name.ply`` or ``folder/set/source/name.ply``.
        folder: the collected meshes.
        out: the folder of links, which may exist.

    Raises:
        InputError: there is no such folder, or a mesh is missing.
    """
    if not folder.is_dir():
        raise InputError(
            f"MESHES={folder}: there is no such folder; give the one with the meshes of sources.csv"
        )
    found = {mesh.file: _find(mesh, folder) for mesh in meshes}
    missing = [file for file, place in found.items() if place is None]
    if missing:
        raise InputError(
            f"MESHES={folder}: {len(missing):,} of the {len(meshes):,} meshes of sources.csv are missing, "
            f"the first is {missing[0]}; docs/model-card.md says how to get them"
        )
    for old in out.rglob("*"):
        if old.is_symlink():
            old.unlink()
    for file, place in found.items():
        assert place is not None
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (out / file).symlink_to(place.resolve())


def _find(mesh: Mesh, folder: Path) -> Path | None:
    return next(
        (place for place in (folder / mesh.file, folder / mesh.set / mesh.file) if place.is_file()), None
    )


def main() -> int:
    """Link the meshes below the folder that is named."""
    try:
        if len(sys.argv) != 2 or not sys.argv[1]:
            raise InputError("give the folder with the meshes of sources.csv: make pretrained MESHES=FOLDER")
        meshes = read_sources()
        link(meshes, Path(sys.argv[1]))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{OUT} has links to {len(meshes):,} meshes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
