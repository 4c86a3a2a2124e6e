"""Reader of off files (Geomview's object file format) in ASCII.

The format: "Geomview Manual", section "OFF Files".
"""

import re
from codecs import BOM_UTF8
from pathlib import Path

import numpy as np

from plumbline.errors import MeshError
from plumbline.geometry.ascii_numbers import ascii_numbers, is_count
from plumbline.geometry.mesh_formats.parts import MeshContent, check_indices, show, whole_numbers
from plumbline.geometry.polygons import triangulate_polygons
from plumbline.records import Float, Int

_COMMENT = re.compile(rb"#[^\n]*")
_KIND = re.compile(rb"(ST)?(C)?(N)?(4)?(n)?OFF(?:[ \t]+(BINARY))?")


def read_off(path: Path) -> MeshContent:
    """Read the faces of an off file; colours, normals and texture coordinates are skipped.

    The counts may follow the word OFF on its line, as in ModelNet, or the word may be missing.

    Raises:
        MeshError: the file is binary, not three-dimensional, truncated or damaged; the message is the reason
            without the path.
        InputError: a word is not a number.
    """
    text = _COMMENT.sub(b"", path.read_bytes().removeprefix(BOM_UTF8).replace(b"\r", b"\n")).strip()
    kind = _KIND.match(text)
    if kind is not None:
        if kind[6] or b"\0" in text:
            raise MeshError("is a binary off file, which is not supported; export it as text or as ply")
        if kind[4] or kind[5]:
            raise MeshError("is not three-dimensional; export it as plain OFF")
        text = text[kind.end() :]
    lines = [line for line in text.split(b"\n") if line.strip()]
    counts = lines[0].split() if lines else []
    if not 2 <= len(counts) <= 3 or not all(map(is_count, counts)):
        raise MeshError("cannot be read as off: it does not start with OFF and its counts; export it again")
    num_vertices, num_faces = int(counts[0]), int(counts[1])
    if len(lines) - 1 < num_vertices + num_faces:
        raise MeshError(
            f"is truncated: it has {len(lines) - 1:,} of the {num_vertices + num_faces:,} lines its header "
            "declares; export it again"
        )
    vertices = _vertices(lines[1 : num_vertices + 1], path)
    lengths, indices = _polygons(lines[num_vertices + 1 : num_vertices + 1 + num_faces], path)
    check_indices(indices, num_vertices)
    return MeshContent(vertices, triangulate_polygons(vertices, lengths, indices))


def _vertices(lines: list[bytes], path: Path) -> Float:
    if not lines:
        return np.zeros((0, 3))
    width = len(lines[0].split())
    numbers = ascii_numbers(b"\n".join(lines), path)
    if width < 3 or len(numbers) != width * len(lines):
        raise MeshError("is damaged: its vertices have different numbers of columns; export it again")
    return np.ascontiguousarray(numbers.reshape(-1, width)[:, :3])


def _polygons(lines: list[bytes], path: Path) -> tuple[Int, Int]:
    """Read the number of corners of each face ``[n]``, and the vertex indices of all."""
    rows = [line.split() for line in lines]
    bad = [row for row in rows if not (is_count(row[0]) and len(row) > int(row[0]))]
    if bad:
        shown = show(b" ".join(bad[0]).decode("ascii", "replace"))
        raise MeshError(f"is damaged: it has {shown} where a face is needed; export it again")
    lengths = np.array([int(row[0]) for row in rows], np.int64)
    words = [word for row in rows for word in row[1 : int(row[0]) + 1]]
    return lengths, whole_numbers(ascii_numbers(b" ".join(words), path))
