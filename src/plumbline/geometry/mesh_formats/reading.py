"""Mesh files by suffix, and their readers."""

from importlib import import_module
from pathlib import Path

from plumbline.errors import MeshError
from plumbline.geometry.clouds import CLOUD_SUFFIXES
from plumbline.geometry.mesh_formats.parts import MeshContent

_READERS = {
    ".3mf": "three_mf.read_3mf",
    ".dae": "collada.read_dae",
    ".glb": "gltf.read_gltf",
    ".gltf": "gltf.read_gltf",
    ".obj": "obj.read_obj",
    ".off": "off.read_off",
    ".ply": "ply_meshes.read_ply_mesh",
    ".stl": "stl.read_stl",
    ".zae": "collada.read_zae",
}
"""By suffix: the module in this folder and its function."""

FOR_SCANS = "scans are for plumbline predict, or for prepare --labels"
"""What to do with a scan in the place of a mesh."""
MESH_SUFFIXES = frozenset(_READERS)
"""File suffixes that are read as meshes."""


def read_mesh(path: Path) -> MeshContent:
    """Read a mesh file, whose suffix chooses the reader.

    Everything that has a surface is read and placed as in the file. What cannot be read is refused, or
    reported in the notes.

    Raises:
        MeshError: the file is damaged, or uses a feature that is not supported; the message is the reason
            without the path.
        InputError: the same, with the path.
        OSError: the file cannot be read.
    """
    if path.suffix.lower() not in _READERS:
        if path.suffix.lower() in CLOUD_SUFFIXES:
            raise MeshError(f"is not a mesh; {FOR_SCANS}")
        raise MeshError(f"is not a mesh in a supported format; give a file that ends in {suffix_list()}")
    if not path.stat().st_size:
        raise MeshError("is empty; export it again")
    module, name = _READERS[path.suffix.lower()].split(".")
    content: MeshContent = getattr(import_module(f"plumbline.geometry.mesh_formats.{module}"), name)(path)
    return content


def suffix_list() -> str:
    """Name all suffixes of mesh files, for a message."""
    return ", ".join(sorted(MESH_SUFFIXES))
