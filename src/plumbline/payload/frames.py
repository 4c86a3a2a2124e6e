"""The frame in which a payload is wanted, such as that of the flange: a rigid motion, read from a file."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from plumbline.arrays import to_numbers
from plumbline.errors import InputError
from plumbline.files import reading
from plumbline.records import Float
from plumbline.rigid import not_rigid


class Frame(NamedTuple):
    """A rigid motion ``p' = R p + t`` to a frame.

    Attributes:
        rotation: ``[3, 3]``, R.
        translation: ``[3]`` metres, t.
        name: of the frame; empty if it has none.
    """

    rotation: Float
    translation: Float
    name: str = ""

    def move(self, point: Float) -> Float:
        """Move a point ``[3]``."""
        moved: Float = self.rotation @ point + self.translation
        return moved

    def turn_tensor(self, tensor: Float) -> Float:
        """Turn a symmetric tensor ``[3, 3]``; the result is symmetric to the bit."""
        turned = self.rotation @ tensor @ self.rotation.T
        result: Float = (turned + turned.T) / 2
        return result


def read_frame(path: Path) -> Frame:
    """Read a rigid motion from a JSON file.

    The file holds the matrix ``[4, 4]``, row by row, or an object with ``matrix`` and the name ``frame``;
    without a name the frame is called as the file. The rotation is brought to the nearest one that is exact.

    Raises:
        InputError: the file cannot be read, or its matrix is no rigid motion.
    """
    where = f"--frame {path}"
    if path.is_dir() or not path.exists():
        raise InputError(
            f"{where} {'is a folder' if path.is_dir() else 'does not exist'}; give a JSON file with the "
            "matrix [4, 4] from the frame of the scan to the wanted one, in metres"
        )
    with reading(path):
        content = path.read_bytes()
    return parse_frame(content, path.stem, where=where)


def parse_frame(content: bytes, stem: str, *, where: str) -> Frame:
    """Parse the JSON that :func:`read_frame` reads.

    Args:
        content: the JSON, UTF-8.
        stem: what the frame is called if it has no name.
        where: what error messages call it.

    Raises:
        InputError: it is not JSON, or its matrix is no rigid motion.
    """
    try:
        held: Any = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({error})") from error
    return named_frame(held, stem, where=where)


def named_frame(held: Any, stem: str, *, where: str) -> Frame:
    """Make a frame of a matrix ``[4, 4]``, or of a mapping with ``matrix`` and the name ``frame``.

    Arguments and errors as for :func:`parse_frame`.
    """
    matrix, name = held, stem
    if isinstance(held, dict):
        matrix, name = held.get("matrix"), held.get("frame", stem)
    if not isinstance(name, str):
        raise InputError(f"{where}: frame must be a name, not {name!r}")
    return make_frame(matrix, name, where=where)


def make_frame(matrix: ArrayLike, name: str = "", *, where: str = "the frame") -> Frame:
    """Make a frame of a rigid motion ``p' = T p``.

    Args:
        matrix: ``[4, 4]``, T, from the frame of a prediction to the new one; metres.
        name: of the new frame.
        where: what error messages call it.

    Raises:
        InputError: the matrix is no rigid motion.
    """
    try:
        held = to_numbers(matrix, where)
    except InputError:
        held = np.zeros(0)
    if held.size == 16:
        held = held.reshape(4, 4)
    if (reason := not_rigid(held)) is not None:
        raise InputError(
            f"{where}: no rigid motion: {reason}; give the matrix from the frame of the scan to the wanted "
            "one, row by row"
        )
    left, _, right = np.linalg.svd(held[:3, :3])
    return Frame(left @ right, held[:3, 3].copy(), name)
