"""Points written as ply files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plumbline.records import Float
from plumbline.writing import write_atomically

STATION = ("view_px", "view_py", "view_pz")
"""Properties of the one ``camera``, or of each vertex: the position of the sensor that measured it."""
MADE_BY, PART, LAST_MEASURED = "plumbline ", "part", 1
"""How drawings of answers are known: the start of a comment, the property that tells measured points from
drawn ones, and its largest number for measured ones."""
_TYPES = {"<f8": "double", "|u1": "uchar"}


def write_ply(path: Path, points: Float, sensor: Float) -> None:
    """Write a scan as a binary ply file that :func:`plumbline.load_cloud` reads.

    Args:
        path: file to create or to replace, in an existing folder.
        points: ``[N, 3]``.
        sensor: ``[N, 3]`` position of the sensor that measured each point: one element ``camera`` if it is
            the same for all, otherwise properties of each vertex.

    Raises:
        OSError: writing failed.
    """
    if (sensor == sensor[0]).all():
        elements = {"vertex": _rows("xyz", points), "camera": _rows(STATION, sensor[:1])}
    else:
        elements = {"vertex": _rows(("x", "y", "z", *STATION), np.hstack([points, sensor]))}
    write_atomically(path, ply_bytes(elements), durable=False)


def ply_bytes(elements: Mapping[str, np.ndarray[Any, Any]], comments: Sequence[str] = ()) -> bytes:
    """Make a binary ply file.

    Args:
        elements: by its name, the rows of an element: a structured array of ``<f8`` and ``u1``.
        comments: a line each.
    """
    head = ["ply", "format binary_little_endian 1.0", *(f"comment {line}" for line in comments)]
    for element, rows in elements.items():
        head.append(f"element {element} {len(rows)}")
        head += [f"property {_TYPES[kind]} {name}" for name, kind in rows.dtype.descr]
    return "\n".join([*head, "end_header", ""]).encode() + b"".join(
        rows.tobytes() for rows in elements.values()
    )


def _rows(names: Sequence[str], values: Float) -> np.ndarray[Any, Any]:
    """The numbers ``[n, C]`` of C properties as rows."""
    return np.ascontiguousarray(values, "<f8").view([(name, "<f8") for name in names])[:, 0]
