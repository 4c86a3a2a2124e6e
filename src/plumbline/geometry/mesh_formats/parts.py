"""The parts of a mesh file: placed, checked, and joined into one mesh."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from plumbline.console.text import counted
from plumbline.errors import MeshError
from plumbline.records import Float, Int

_SHOWN = 60
"""Characters of a name that a message shows."""

_MOST_OBJECTS, _MOST_FACES = 500_000, 50_000_000
"""What instances may unfold to: a file of a few kilobytes can place an object a billion times."""


class Part(NamedTuple):
    """A piece of a mesh.

    Attributes:
        vertices: ``[V, 3]`` float64.
        faces: ``[F, 3]`` int64, indices into ``vertices``.
        name: of the body that it belongs to; empty if the file gives none.
    """

    vertices: Float
    faces: Int
    name: str = ""


class FaceRun(NamedTuple):
    """Consecutive faces of one body.

    Attributes:
        body: name of the body, with single spaces; empty for faces without one.
        start: number of the first face.
        stop: number after that of the last face.
    """

    body: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class MeshContent:
    """What a mesh file holds. Frame and unit of the file.

    Attributes:
        vertices: ``[V, 3]`` float64.
        faces: ``[F, 3]`` int64, indices into ``vertices``; wound as in the file.
        notes: sentences about what was left out or assumed, such as ``"2 support objects are left out"``.
        runs: all faces in order, by the body that they belong to; a body may have several runs. Empty if the
            format has no names.
    """

    vertices: Float
    faces: Int
    notes: tuple[str, ...] = ()
    runs: tuple[FaceRun, ...] = ()


def place_part(part: Part, transform: Float, name: str) -> Part:
    """Move a part to its place; a mirrored part stays wound counter-clockwise seen from outside.

    Args:
        part: in its own frame.
        transform: ``[4, 4]`` from the part's frame to the file's, applied to columns (x, y, z, 1).
        name: of the body that it is, or is a part of.

    Raises:
        MeshError: the transform is not finite, or flattens the part.
    """
    linear = transform[:3, :3]
    if not np.isfinite(transform).all():
        raise MeshError("is damaged: a part is placed by a matrix that is not finite; export it again")
    with np.errstate(all="ignore"):
        sign = np.linalg.det(linear / (np.abs(linear).max() or 1))
    if sign == 0:
        raise MeshError("is damaged: a part is placed by a matrix that flattens it; export it again")
    faces = part.faces[:, ::-1] if sign < 0 else part.faces
    with np.errstate(all="ignore"):  # vertices that are not finite are refused where the mesh is used
        return Part(part.vertices @ linear.T + transform[:3, 3], faces, name)


def join_parts(parts: Sequence[Part], notes: Sequence[str] = ()) -> MeshContent:
    """Join parts, all in the frame of the file, into one mesh.

    Raises:
        MeshError: a face uses a vertex that its part does not have.
    """
    vertices: list[Float] = [np.zeros((0, 3))]
    faces: list[Int] = [np.zeros((0, 3), np.int64)]
    start = 0
    for part in parts:
        check_indices(part.faces, len(part.vertices))
        vertices.append(part.vertices)
        faces.append(part.faces + start)
        start += len(part.vertices)
    runs = face_runs([part.name for part in parts], [len(part.faces) for part in parts])
    return MeshContent(np.concatenate(vertices), np.concatenate(faces), tuple(notes), runs)


def face_runs(names: Sequence[str], lengths: Iterable[int]) -> tuple[FaceRun, ...]:
    """Number the faces of consecutive parts; neighbours of one name become one run, empty parts none.

    Args:
        names: of the body that each part belongs to.
        lengths: number of faces of each part.
    """
    runs: list[FaceRun] = []
    start = 0
    for name, length in zip(names, lengths, strict=True):
        name, stop = " ".join(name.split()), start + length
        if runs and runs[-1].body == name:
            runs[-1] = runs[-1]._replace(stop=stop)
        elif length:
            runs.append(FaceRun(name, start, stop))
        start = stop
    return tuple(runs)


def note_left_out(num: int, noun: str, which: str = "") -> str:
    """Note that objects are left out, such as ``"2 support objects are left out"``.

    Args:
        num: how many.
        noun: what one is called.
        which: follows the noun.
    """
    return f"{counted(num, noun)}{which} {'is' if num == 1 else 'are'} left out"


def show(name: str) -> str:
    """Quote a name in a file for a message: on one line, shortened."""
    return repr(name if len(name) <= _SHOWN else name[:_SHOWN] + "…")


def check_size(num_objects: int, num_faces: int) -> None:
    """Refuse a file whose instances unfold to more than fits into memory.

    Raises:
        MeshError: there are too many objects or triangles.
    """
    if num_objects > _MOST_OBJECTS or num_faces > _MOST_FACES:
        raise MeshError(
            f"places more than {_MOST_OBJECTS:,} objects or {_MOST_FACES:,} triangles; export fewer"
        )


def check_indices(indices: Int, num: int) -> None:
    """Refuse indices outside of 0 to ``num`` - 1.

    Raises:
        MeshError: an index is too small or too large.
    """
    if indices.size and not 0 <= indices.min() <= indices.max() < num:
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise MeshError(f"is damaged: a face uses vertex {wrong} of {num}; export it again")


def whole_numbers(numbers: Float) -> Int:
    """Convert the indices of a text, ``[T]`` float64, to int64.

    Raises:
        MeshError: one is not a whole number.
    """
    with np.errstate(invalid="ignore"):
        whole = numbers.astype(np.int64)
    if (whole != numbers).any():
        raise MeshError("is damaged: a vertex of a face is not a whole number; export it again")
    return whole
