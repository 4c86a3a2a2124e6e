"""Mesh files in folders, the names of their objects, and the files that belong to a mesh file."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from plumbline.errors import InputError
from plumbline.files import visible_files
from plumbline.geometry.clouds import CLOUD_SUFFIXES
from plumbline.geometry.mesh_formats.gltf_buffers import buffer_files
from plumbline.geometry.mesh_formats.reading import MESH_SUFFIXES, suffix_list


@dataclass(frozen=True, slots=True)
class MeshFile:
    """A mesh on disk and the name of its object."""

    path: Path
    name: str


def find_meshes(paths: Sequence[Path | str]) -> list[MeshFile]:
    """Find all meshes in files and folders (searched recursively, hidden entries skipped).

    Args:
        paths: mesh files, or folders of them.

    Returns:
        One entry per file or broken link, sorted by name. A name is the POSIX path relative to the given
        folder, without its suffix (the file's stem if the file itself was given). If several folders are
        given, the name starts with the folder's own name, so that the objects of a folder stay in one group.
        If two files would have the same name, the name keeps its suffix, then includes the folder's name,
        then the whole path.

    Raises:
        InputError: a path does not exist or cannot be read, a given file is not a mesh, or nothing was found.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for path in map(Path, paths):
        for file, root in _walk(path):
            # If several links point to one file, the first one found is kept.
            found.setdefault(os.path.realpath(file), (file, root))
    if not found:
        raise InputError(
            f"no mesh found in {', '.join(map(str, paths)) or 'an empty list of paths'}; mesh files end in "
            f"{suffix_list()}, and real scans are given with --labels"
        )
    files = sorted(found.values())
    folders = {path.resolve() for path in map(Path, paths) if path.is_dir()}

    def shown(file: Path, root: Path) -> Path:
        inside = file.relative_to(root)
        return Path(root.resolve().name, inside) if len(folders) > 1 and root.resolve() in folders else inside

    levels: list[Callable[[Path, Path], Path]] = [
        lambda file, root: shown(file, root).with_suffix(""),
        shown,
        lambda file, root: Path(root.resolve().name, file.relative_to(root)),
        lambda file, root: Path(*Path(os.path.realpath(file)).parts[1:]),
    ]
    names = [levels[0](*file).as_posix() for file in files]
    for level in levels[1:]:
        count = Counter(names)
        names = [
            level(*file).as_posix() if count[name] > 1 else name
            for file, name in zip(files, names, strict=True)
        ]
    return sorted(
        (MeshFile(file[0], name) for file, name in zip(files, names, strict=True)), key=lambda m: m.name
    )


def _walk(path: Path) -> list[tuple[Path, Path]]:
    """List ``(file, folder that its name is relative to)`` for a mesh file, or for all meshes in a folder."""
    if path.is_file():
        if path.suffix.lower() in CLOUD_SUFFIXES - MESH_SUFFIXES:
            raise InputError(f"{path} is not a mesh; list real scans in a CSV file and give it with --labels")
        if path.suffix.lower() not in MESH_SUFFIXES:
            raise InputError(
                f"{path} is not a mesh in a supported format; give a file that ends in {suffix_list()}"
            )
        return [(path, path.parent)]
    if not path.is_dir():
        raise InputError(f"{path} does not exist; give a mesh file or a folder of them")
    return [(path / name, path) for name in visible_files(path, MESH_SUFFIXES)]


def companion_files(path: Path) -> list[Path]:
    """List the other files that a mesh consists of: the buffers of a glTF file within its folder."""
    return buffer_files(path) if path.suffix.lower() in (".gltf", ".glb") else []
