"""Meshes in ply files."""

from pathlib import Path

import numpy as np

from plumbline.geometry.mesh_formats.parts import MeshContent, check_indices, whole_numbers
from plumbline.geometry.ply import Lists, Ply, read_ply
from plumbline.geometry.polygons import triangulate_polygons, triangulate_strips
from plumbline.records import Int


def read_ply_mesh(path: Path) -> MeshContent:
    """Read the vertices, faces and triangle strips of a ply file; other elements have no surface.

    Raises:
        MeshError: a face uses a missing vertex; the message is the reason without the path.
        InputError: the file is not a ply file, or is truncated or damaged.
        OSError: the file cannot be read.
    """
    ply = read_ply(path)
    vertices = ply.vertices()
    lengths, indices = _lists(ply, "face")
    check_indices(indices, len(vertices))
    strips = triangulate_strips(*_lists(ply, "tristrips"))
    check_indices(strips, len(vertices))
    return MeshContent(vertices, np.concatenate([triangulate_polygons(vertices, lengths, indices), strips]))


def _lists(ply: Ply, element: str) -> tuple[Int, Int]:
    """Return the lists of vertex indices of an element: their lengths ``[n]``, and all indices."""
    columns = ply.elements.get(element, {})
    for name in ("vertex_indices", "vertex_index"):
        lists = columns.get(name)
        if isinstance(lists, Lists):
            is_float = lists.values.dtype.kind == "f"
            return lists.lengths, whole_numbers(lists.values) if is_float else lists.values.astype(np.int64)
    return np.zeros(0, np.int64), np.zeros(0, np.int64)
