"""The intrinsics of a pinhole camera, and the files that people keep them in."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plumbline.errors import InputError
from plumbline.files import reading
from plumbline.geometry.headers import read_array

_WANTED = "give JSON with fx, fy, cx, cy, or the camera matrix K, three rows of three numbers"
_MATRICES = ("K", "k", "camera_matrix", "cameraMatrix", "intrinsic_matrix", "intrinsic", "cam_K")
"""Keys under which a JSON file may hold the matrix."""
_OTHER_NAMES = {"cx": "ppx", "cy": "ppy"}
"""Names of the RealSense library for the principal point."""


class Intrinsics(NamedTuple):
    """A pinhole camera: focal lengths and principal point, in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float


def read_intrinsics(path: Path) -> Intrinsics:
    """Read the intrinsics of a camera.

    Args:
        path: JSON with ``fx, fy, cx, cy`` (or ``ppx, ppy``) or a matrix; ``.npy``, ``.npz`` (array ``K``), or
            text with the matrix.

    Raises:
        InputError: the file cannot be read, or holds no intrinsics.
    """
    where = f"--intrinsics {path}"
    if not path.is_file():
        raise InputError(f"{where} {'is a folder' if path.is_dir() else 'does not exist'}")
    try:
        with reading(path):
            if path.suffix.lower() in (".npy", ".npz"):
                return matrix_intrinsics(read_array(path, "K"), where)
            text = path.read_text(encoding="utf-8-sig")
            if path.suffix.lower() == ".json":
                return _from_json(json.loads(text), where)
            rows = [line.replace(",", " ").split() for line in text.splitlines()]
            return matrix_intrinsics(np.array([row for row in rows if row], float), where)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{where} cannot be read; {_WANTED}") from error


def _from_json(content: Any, where: str) -> Intrinsics:
    if isinstance(content, Mapping):
        for key in _MATRICES:
            if key in content:
                value = content[key]
                if isinstance(value, Mapping):
                    return _from_json(value.get("data", value), where)
                return matrix_intrinsics(np.array(value, float), where)
        values = [content.get(name, content.get(_OTHER_NAMES.get(name))) for name in Intrinsics._fields]
        if None not in values:
            return _checked(Intrinsics(*map(float, values)), where)
    elif isinstance(content, list):
        return matrix_intrinsics(np.array(content, float), where)
    raise InputError(f"{where}: no fx, fy, cx, cy and no matrix K in it; {_WANTED}")


def matrix_intrinsics(matrix: np.ndarray, where: str) -> Intrinsics:
    """The intrinsics in a camera matrix ``[3, 3]``, or in its nine numbers in either order.

    Raises:
        InputError: it is not a camera matrix; the message begins with ``where``.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.size == 9:
        matrix = matrix.reshape(3, 3)
    if matrix.shape == (3, 3) and matrix[2, 2] == 1 and not matrix[0, 2] and not matrix[1, 2]:
        matrix = matrix.T  # column by column, as Open3D writes it
    if matrix.shape != (3, 3) or tuple(matrix[2]) != (0, 0, 1):
        raise InputError(f"{where}: a camera matrix is [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]; {_WANTED}")
    return _checked(Intrinsics(*(float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))), where)


def _checked(camera: Intrinsics, where: str) -> Intrinsics:
    if not all(map(math.isfinite, camera)) or min(camera.fx, camera.fy) <= 1:
        raise InputError(
            f"{where}: focal lengths of {camera.fx:g} and {camera.fy:g}; they are in pixels, above 1"
        )
    return camera
