"""Reader of stl files, binary and ASCII.

The format: 3D Systems, "Stereolithography Interface Specification", 1989. The normals are not read:
the order of the vertices says which side is outside.
"""

import re
from codecs import BOM_UTF8
from pathlib import Path

import numpy as np

from plumbline.errors import MeshError
from plumbline.geometry.ascii_numbers import ascii_numbers
from plumbline.geometry.mesh_formats.parts import MeshContent
from plumbline.records import Float

_HEADER = 84
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_NAME = re.compile(rb"solid[^\n]*vertex[^\n]*")
"""A name of a solid that contains the word at which a file is split."""
_START = 1 << 12
"""Bytes of an ASCII file within which its first facet begins."""


def read_stl(path: Path) -> MeshContent:
    """Read the triangles of an stl file; an ASCII file may hold several solids.

    Bytes after the last triangle of a binary file are padding. Every triangle has vertices of its own.

    Raises:
        MeshError: the file is truncated or damaged; the message is the reason without the path.
        InputError: a word of an ASCII file is not a number.
    """
    data = path.read_bytes()
    corners = _ascii(data, path) if _is_ascii(data) else _binary(data)
    vertices = corners.reshape(-1, 3).astype(np.float64)
    return MeshContent(vertices, np.arange(len(vertices)).reshape(-1, 3))


def _is_ascii(data: bytes) -> bool:
    """Tell whether a file is ASCII; a binary file may start with "solid" as well, but no facet follows."""
    start = data[:_START].lstrip(BOM_UTF8 + b" \t\r\n").lower()
    if not start.startswith(b"solid") or _HEADER + _num_declared(data) * _TRIANGLE.itemsize == len(data):
        return False
    return b"\0" not in start and (b"facet" in start or b"endsolid" in start or len(data) < _HEADER)


def _num_declared(data: bytes) -> int:
    return int.from_bytes(data[_HEADER - 4 : _HEADER], "little")


def _binary(data: bytes) -> Float:
    if len(data) < _HEADER:
        raise MeshError(
            f"is truncated: it has {len(data)} bytes, but a header has {_HEADER}; export it again"
        )
    num, room = _num_declared(data), (len(data) - _HEADER) // _TRIANGLE.itemsize
    if num > room:
        raise MeshError(
            f"is truncated: it has {room:,} of the {num:,} triangles its header declares; export it again"
        )
    if not num and room:
        raise MeshError(f"is damaged: its header declares no triangles, but {room:,} follow; export it again")
    corners: Float = np.frombuffer(data, _TRIANGLE, num, _HEADER)["corners"]
    return corners


def _ascii(data: bytes, path: Path) -> Float:
    text = _NAME.sub(b"", data.replace(b"\r", b"\n").lower())
    corners = text.split(b"vertex")[1:]
    last = [corner.partition(b"endloop") for corner in corners[2::3]]
    if len(corners) % 3 or not all(word for _, word, _ in last):
        raise MeshError("is truncated or damaged: a facet does not have three vertices; export it again")
    corners[2::3] = [corner for corner, _, _ in last]
    numbers = ascii_numbers(b" ".join(corners), path)
    if len(numbers) != 3 * len(corners):
        raise MeshError("is damaged: a vertex does not have three numbers; export it again")
    return numbers.reshape(-1, 3)
