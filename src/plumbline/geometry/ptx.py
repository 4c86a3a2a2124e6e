"""Scans from ptx files: one or several stations of a laser scanner, in one frame.

The format of Leica Cyclone. Each station has a header of ten lines: the numbers of columns and rows, the
registered position and axes of the scanner, and the matrix ``[4, 4]`` that brings its points, as row vectors,
into the common frame. The points, one a line, are in the scanner's own frame, and 0 0 0 is a missing return.
"""

from pathlib import Path

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.headers import check_whole
from plumbline.geometry.missing_returns import without_missing, zero_rows
from plumbline.records import Cloud, Float

_HEADER = (1, 1, 3, 3, 3, 3, 4, 4, 4, 4)
"""Numbers in each line of a header."""


def read_ptx(path: Path) -> Cloud:
    """Read all stations of a ptx file, in the common frame, with the position of the scanner.

    The position of the scanner is the translation of the matrix. The registered position in the header may
    be in another frame, if the file was exported in a frame of the user.

    Returns:
        The points; ``sensor`` is ``[3]`` with one station, and otherwise ``[N, 3]``.

    Raises:
        InputError: the file is not a ptx file, or is truncated or damaged; the message names the file.
        OSError: the file cannot be read.
    """
    text = path.read_bytes().decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    points, sensors = list[Float](), list[Float]()
    start = 0
    while start < len(lines) or not points:
        size, matrix = _read_header(path, lines[start : start + len(_HEADER)])
        start += len(_HEADER)
        local = _read_points(path, lines[start : start + size], size)
        start += size
        moved = local @ matrix[:3, :3] + matrix[3, :3]
        moved[zero_rows(local)] = 0
        points.append(moved)
        sensors.append(matrix[3, :3])
    sensor = np.repeat(sensors, list(map(len, points)), axis=0) if len(points) > 1 else sensors[0]
    return without_missing(Cloud(np.concatenate(points), sensor, str(path)), organised=True)


def _read_header(path: Path, lines: list[tuple[int, str]]) -> tuple[int, Float]:
    """Read the number of points of a station, and its matrix ``[4, 4]``."""
    rows = list[Float]()
    for (number, line), width in zip(lines, _HEADER, strict=False):
        try:
            row = np.array(line.split(), dtype=np.float64)
        except ValueError:
            row = np.zeros(0)
        if len(row) != width or not np.isfinite(row).all():
            needed = "1 number" if width == 1 else f"{width} numbers"
            raise InputError(
                f"{path} cannot be read as ptx: line {number} is {line.strip()[:40]!r}, where a header needs "
                f"{needed}; export it again"
            )
        rows.append(row)
    if len(rows) < len(_HEADER):
        raise InputError(
            f"{path} is truncated: a header has {len(rows)} of its {len(_HEADER)} lines; export it again"
        )
    columns, height, matrix = rows[0][0], rows[1][0], np.array(rows[6:])
    if columns < 0 or height < 0 or columns % 1 or height % 1:
        raise InputError(
            f"{path} is damaged: it declares {columns:g} columns and {height:g} rows of points; "
            "export it again"
        )
    if not np.array_equal(matrix[:, 3], [0, 0, 0, 1]):
        raise InputError(
            f"{path} is damaged: the matrix in line {lines[6][0]} is not a rotation and a translation; "
            "export it again"
        )
    return int(columns * height), matrix


def _read_points(path: Path, lines: list[tuple[int, str]], size: int) -> Float:
    check_whole(path, len(lines), size)
    if not size:
        return np.zeros((0, 3))
    try:
        return np.loadtxt([line for _, line in lines], usecols=(0, 1, 2), ndmin=2, comments=None)
    except ValueError:
        wrong = next(((number, line) for number, line in lines if not _is_point(line)), lines[0])
        raise InputError(
            f"{path} cannot be read as ptx: line {wrong[0]} is {wrong[1].strip()[:40]!r}, but x, y, z and "
            "further numbers are needed; export it again"
        ) from None


def _is_point(line: str) -> bool:
    try:
        return len([float(word) for word in line.split()[:3]]) == 3
    except ValueError:
        return False
