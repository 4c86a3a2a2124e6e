"""Reader of pcd files, the format of the Point Cloud Library: as text, binary, or compressed.

The format: https://pointclouds.org/documentation/tutorials/pcd_file_format.html. Files of version .5 and
earlier have no VIEWPOINT; many others have no COUNT or POINTS.
"""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.ascii_numbers import ascii_numbers, is_count
from plumbline.geometry.headers import check_whole
from plumbline.records import Float

_KINDS = {"F": "f", "I": "i", "U": "u"}
_TYPES = {"f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"}
_LONGEST = 1 << 16
"""Bytes of the longest header."""
_LZF = 100
"""Upper bound of the number of bytes that one compressed byte can expand to."""


class Pcd(NamedTuple):
    """The content of a pcd file that a scan needs. Frame and unit of the file.

    Attributes:
        points: ``[N, 3]`` float64, with every row of the file.
        viewpoint: ``[3]`` position of the sensor; None if the file does not give it.
        organised: whether the points are the pixels of an image, of more than one row.
    """

    points: Float
    viewpoint: Float | None
    organised: bool


class _Field(NamedTuple):
    """One or several columns of one name: type, number, and where the first begins in a row."""

    name: str
    dtype: np.dtype[Any]
    num: int
    byte: int
    column: int


class _Header(NamedTuple):
    fields: list[_Field]
    points: int
    rows: int
    viewpoint: Float | None
    data: str
    begin: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a point."""
        last = self.fields[-1]
        return last.byte + last.dtype.itemsize * last.num


def read_pcd(path: Path) -> Pcd:
    """Read the positions of all points of a pcd file, and the position of the sensor.

    Raises:
        InputError: the file is not a pcd file, has no x, y and z, or is truncated or damaged; the message
            names the file.
        OSError: the file cannot be read.
    """
    header, columns = _read_columns(path, ["x", "y", "z"])
    points = np.empty((header.points, 3))
    with np.errstate(invalid="ignore"):  # numpy warns of signalling NaN
        for axis, column in enumerate(columns):
            points[:, axis] = column
    return Pcd(points, header.viewpoint, header.rows > 1)


def read_pcd_images(path: Path, names: Sequence[str]) -> list[np.ndarray[Any, Any]]:
    """Read fields of an organised pcd file, such as ``z`` and ``label``, each as an image ``[H, W]``.

    Raises:
        InputError: as from :func:`read_pcd`, or a field is missing.
        OSError: the file cannot be read.
    """
    header, columns = _read_columns(path, names)
    return [column.reshape(header.rows, -1) for column in columns]


def unpacked_bytes(path: Path) -> int:
    """Tell how many bytes the points of a pcd file take once they are unpacked, by its header.

    Raises:
        InputError: the file has no header of a pcd file.
    """
    with path.open("rb") as file:
        header = _read_header(path, file.read(_LONGEST))
    return header.points * header.row_bytes


def _read_columns(path: Path, names: Sequence[str]) -> tuple[_Header, list[np.ndarray[Any, Any]]]:
    with path.open("rb") as file:
        header = _read_header(path, file.read(_LONGEST))
        file.seek(header.begin)
        body: np.ndarray[Any, Any] = np.fromfile(file, np.uint8)
    places = {field.name: field for field in reversed(header.fields)}
    absent = [name for name in names if name not in places]
    if absent:
        raise InputError(f"{path}: it has no field {', '.join(absent)}; export it with positions")
    fields = [places[name] for name in names]
    columns = _READERS[header.data](path, body, header, fields)
    if any(field.num != 1 for field in fields):
        raise InputError(
            f"{path} is damaged: it has more than one {' or '.join(names)} for each point; export it again"
        )
    return header, columns


# ------------------------------------------------------------------------------------------------- header


def _read_header(path: Path, content: bytes) -> _Header:
    lines: dict[str, list[str]] = {}
    start, end = 0, _line_end(content)
    while "DATA" not in lines and (stop := content.find(end, start, _LONGEST)) >= 0:
        key, *values = content[start:stop].decode("ascii", "replace").split() or ["#"]
        if not key.startswith("#"):
            lines[key.upper()] = values
        start = stop + 1
    data = " ".join(lines.get("DATA", [])).lower()
    if data not in _READERS:
        raise InputError(
            f"{path} cannot be read as pcd: its header has no line DATA with ascii, binary or "
            "binary_compressed; export it again"
        )
    fields = _fields(path, lines)
    height = _whole(path, lines, "HEIGHT", 1)
    width = _whole(path, lines, "WIDTH", None if "POINTS" not in lines else 0)
    points = _whole(path, lines, "POINTS", width * height)
    rows = height if height > 1 and width * height == points else 1
    return _Header(fields, points, rows, _viewpoint(lines), data, start)


def _line_end(content: bytes) -> bytes:
    """Return the last byte of each line of the header: LF, or CR if a CR without LF ends the first line."""
    first = content[:_LONGEST].replace(b"\r\n", b"\n")
    feed, back = first.find(b"\n"), first.find(b"\r")
    return b"\r" if back >= 0 and (feed < 0 or back < feed) else b"\n"


def _fields(path: Path, lines: dict[str, list[str]]) -> list[_Field]:
    names = lines.get("FIELDS", lines.get("COLUMNS", []))
    sizes, kinds = lines.get("SIZE", ["4"] * len(names)), lines.get("TYPE", ["F"] * len(names))
    counts = lines.get("COUNT", ["1"] * len(names))
    if not names or not len(names) == len(sizes) == len(kinds) == len(counts):
        raise InputError(
            f"{path} cannot be read as pcd: its header names {len(names)} FIELDS, but {len(sizes)} SIZE, "
            f"{len(kinds)} TYPE and {len(counts)} COUNT; export it again"
        )
    found, byte, column = list[_Field](), 0, 0
    for name, size, kind, count in zip(names, sizes, kinds, counts, strict=True):
        code = _KINDS.get(kind.upper(), "") + size
        if code not in _TYPES or not is_count(count) or not int(count):
            raise InputError(
                f"{path} cannot be read as pcd: field {name[:40]} of its header has TYPE {kind[:9]}, "
                f"SIZE {size[:9]} and COUNT {count[:19]}; export it again"
            )
        found.append(_Field(name.lower(), np.dtype("<" + code), int(count), byte, column))
        byte += int(size) * int(count)
        column += int(count)
    return found


def _whole(path: Path, lines: dict[str, list[str]], key: str, missing: int | None) -> int:
    words = lines.get(key, [])
    if not words and missing is not None:
        return missing
    if len(words) != 1 or not is_count(words[0]):
        shown = " ".join(words)[:40] or "missing"
        raise InputError(f"{path} cannot be read as pcd: {key} of its header is {shown}; export it again")
    return int(words[0])


def _viewpoint(lines: dict[str, list[str]]) -> Float | None:
    """Read the position of the sensor; the rotation after it does not apply to the points."""
    try:
        place = np.array([float(word) for word in lines.get("VIEWPOINT", [])[:3]])
    except ValueError:
        return None
    return place if place.shape == (3,) and np.isfinite(place).all() else None


# ------------------------------------------------------------------------------------------------- points

_Bytes = np.ndarray[Any, Any]
_Reader = Callable[[Path, _Bytes, _Header, list[_Field]], list[np.ndarray[Any, Any]]]


def _read_text(path: Path, body: _Bytes, header: _Header, axes: list[_Field]) -> list[np.ndarray[Any, Any]]:
    values = ascii_numbers(body.tobytes(), path)
    width = header.fields[-1].column + header.fields[-1].num
    if len(values) > width * header.points:
        raise InputError(
            f"{path} is damaged: its header declares {header.points:,} points of {width} numbers each, but "
            f"it has {len(values):,} numbers; export it again"
        )
    check_whole(path, len(values) // width, header.points)
    table = values.reshape(header.points, width)
    return [table[:, field.column] for field in axes]


def _read_binary(path: Path, body: _Bytes, header: _Header, axes: list[_Field]) -> list[np.ndarray[Any, Any]]:
    width = header.row_bytes
    check_whole(path, min(len(body) // width, header.points), header.points)
    table = body[: header.points * width].reshape(header.points, width)
    return [
        table[:, field.byte : field.byte + field.dtype.itemsize].view(field.dtype)[:, 0] for field in axes
    ]


def _read_compressed(
    path: Path, body: _Bytes, header: _Header, axes: list[_Field]
) -> list[np.ndarray[Any, Any]]:
    """Read fields that were compressed together, each of them for all points."""
    packed, unpacked = struct.unpack("<II", body[:8].tobytes().ljust(8, b"\0"))
    width = header.row_bytes
    if packed > len(body) - 8 or unpacked > _LZF * packed or header.points * width > unpacked:
        raise InputError(
            f"{path} is truncated or damaged: its header declares {header.points:,} points of {width} bytes "
            f"in {packed:,} compressed bytes, but the file has {max(len(body) - 8, 0):,}; export it again"
        )
    needed = max(header.points * (field.byte + field.dtype.itemsize) for field in axes)
    content = _expand(path, body[8 : 8 + packed].tobytes(), needed)
    return [np.frombuffer(content, field.dtype, header.points, header.points * field.byte) for field in axes]


def _expand(path: Path, packed: bytes, size: int) -> bytearray:
    """Decompress the first ``size`` bytes, of the format LZF by Marc Lehmann."""
    found, place = bytearray(), 0
    try:
        while len(found) < size:
            mark = packed[place]
            place += 1
            if mark < 32:  # copy the next mark + 1 bytes unchanged
                found += packed[place : place + mark + 1]
                place += mark + 1
                continue
            length = (mark >> 5) + 2
            if length == 9:
                length += packed[place]
                place += 1
            back = ((mark & 31) << 8) + packed[place] + 1
            place += 1
            start = len(found) - back
            if start < 0:
                raise IndexError
            if back >= length:
                found += found[start : start + length]
            else:  # the copy reads what it writes: a repetition
                found += (found[start:] * (length // back + 1))[:length]
    except IndexError:
        raise InputError(
            f"{path} is damaged: its compressed points cannot be unpacked; export it again"
        ) from None
    return found


_READERS: dict[str, _Reader] = {
    "ascii": _read_text,
    "binary": _read_binary,
    "binary_compressed": _read_compressed,
}
