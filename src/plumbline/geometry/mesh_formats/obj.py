"""Reader of obj files.

The format: Wavefront Technologies, "Advanced Visualizer Manual", appendix B1, "Object Files (.obj)".
"""

import re
from codecs import BOM_UTF8
from pathlib import Path

import numpy as np

from plumbline.errors import MeshError
from plumbline.geometry.ascii_numbers import ascii_numbers
from plumbline.geometry.mesh_formats.parts import (
    FaceRun,
    MeshContent,
    check_indices,
    face_runs,
    whole_numbers,
)
from plumbline.geometry.polygons import triangulate_polygons
from plumbline.records import Float, Int

_CONTINUED = re.compile(rb"\\[ \t]*\n")
_COMMENT = re.compile(rb"#[^\n]*")
_INDENT = re.compile(rb"(?<=\n)[ \t]+")
_OTHER_INDICES = re.compile(rb"/[^\s]*")
_SURFACE = re.compile(rb"\n(surf|bzp|bsp|cdc|cdp|res)\s")
"""Statements of surfaces that are not polygons."""
_BLANK = np.zeros(256, bool)
_BLANK[[*b" \t\n"]] = True


def read_obj(path: Path) -> MeshContent:
    """Read the faces of an obj file, of all its objects, groups and materials.

    Bodies are named by objects (``o``), or by groups (``g``) if there is at most one object.

    Vertices may carry a weight or a colour. Texture coordinates, normals, materials and lines are skipped.

    Raises:
        MeshError: the file is damaged, or has surfaces that are not polygons; the message is the reason
            without the path.
        InputError: a word is not a number.
    """
    data = path.read_bytes().removeprefix(BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    data = b"\n" + data + b"\n"
    if b"\0" in data:
        raise MeshError("cannot be read as obj: it is not a text file; export it again")
    if b"\\" in data:
        data = _CONTINUED.sub(b" ", data)
    if b"#" in data:
        data = _COMMENT.sub(b"", data)
    data = _INDENT.sub(b"", data)
    if (surface := _SURFACE.search(data)) is not None:
        raise MeshError(
            f"has free-form surfaces ({surface[1].decode()}), which are not supported; export it as polygons"
        )
    lines = _Lines(data)
    vertices = _vertices(lines.text_of(b"v"), path)
    lengths, indices = _polygons(lines.text_of(b"f"), path)
    if indices.size and indices.min() < 0:
        before = np.repeat(lines.count_before(b"v", b"f"), lengths)
        indices = np.where(indices < 0, before + indices, indices - 1)
    else:
        indices = indices - 1
    if not len(vertices) and not len(indices):
        raise MeshError("cannot be read as obj: it holds no vertices and no faces; export it again")
    check_indices(indices, len(vertices))
    faces = triangulate_polygons(vertices, lengths, indices)
    return MeshContent(vertices, faces, runs=_runs(lines, lengths))


class _Lines:
    """The lines of a text without indents, by their first word."""

    def __init__(self, data: bytes) -> None:
        self.bytes = np.frombuffer(data, np.uint8)
        self.starts = np.flatnonzero(self.bytes == ord("\n"))[:-1] + 1

    def _are(self, word: bytes) -> np.ndarray:
        """Tell which lines start with a word of one letter: ``[n]``."""
        after = np.minimum(self.starts + 1, len(self.bytes) - 1)
        found: np.ndarray = (self.bytes[self.starts] == word[0]) & _BLANK[self.bytes[after]]
        return found

    def text_of(self, word: bytes) -> bytes:
        """Return the lines that start with a word, without it; each ends with a line feed."""
        ends = np.append(self.starts[1:], len(self.bytes))
        keep = np.repeat(self._are(word), ends - self.starts)
        text = self.bytes[self.starts[0] :][keep].copy()
        text[:1] = ord(" ")
        text[1:][text[:-1] == ord("\n")] = ord(" ")
        return bytes(text)

    def count_before(self, counted: bytes, word: bytes) -> Int:
        """Count the lines of one word before each line of another one: ``[n]``."""
        count: Int = np.cumsum(self._are(counted))[self._are(word)]
        return count


def _runs(lines: _Lines, lengths: Int) -> tuple[FaceRun, ...]:
    """Find which triangles belong to which object or group; ``lengths [n]`` are the corners of each face."""
    triangles = np.concatenate([[0], np.cumsum(np.maximum(lengths - 2, 0))])
    runs: tuple[FaceRun, ...] = ()
    for word in (b"g", b"o"):
        begins = lines.count_before(b"f", word)
        if len(begins):
            names = ["", *lines.text_of(word).decode("utf-8", "surrogateescape").split("\n")[:-1]]
            counts = np.diff(triangles[np.concatenate([[0], begins, [len(lengths)]])])
            named = face_runs(names, counts.tolist())
            if not runs or len({run.body for run in named}) > 1:
                runs = named
    return runs


def _vertices(text: bytes, path: Path) -> Float:
    numbers, num = ascii_numbers(text, path), text.count(b"\n")
    width = len(numbers) // max(num, 1)
    if num and (width < 3 or len(numbers) % num or not _same_width(text, width)):
        rows = [line.split()[:3] for line in text.splitlines()]
        if min(map(len, rows)) < 3:
            raise MeshError("is damaged: a vertex has fewer than three numbers; export it again")
        numbers, width = ascii_numbers(b" ".join(word for row in rows for word in row), path), 3
    return np.ascontiguousarray(numbers.reshape(num, -1)[:, :3]) if num else np.zeros((0, 3))


def _same_width(text: bytes, width: int) -> bool:
    """Tell whether every line has ``width`` words."""
    blank = _BLANK[np.frombuffer(text, np.uint8)]
    begins = np.flatnonzero(blank[:-1] & ~blank[1:])
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
    return bool((np.diff(np.searchsorted(begins, ends), prepend=0) == width).all())


def _polygons(text: bytes, path: Path) -> tuple[Int, Int]:
    """Read the number of corners of each face ``[n]``, and the vertex indices of all, as in the file."""
    if b"/" in text:
        text = _OTHER_INDICES.sub(b"", text)
    # No vertex has the number 0, which therefore can mark the ends of lines.
    numbers = whole_numbers(ascii_numbers(text.replace(b"\n", b" 0\n"), path))
    ends = np.flatnonzero(numbers == 0)
    if len(ends) != text.count(b"\n"):
        raise MeshError("is damaged: a face uses vertex 0, but the first is 1; export it again")
    return np.diff(ends, prepend=-1) - 1, numbers[numbers != 0]
