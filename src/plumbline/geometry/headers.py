"""What headers of binary files promise, held against the files' size before anything gets room in memory."""

import math
import os
import re
import struct
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO
from zipfile import ZipFile

import numpy as np

from plumbline.errors import InputError
from plumbline.files import bomb_reason

_DEFLATE = 1032
"""Bytes that one byte can stand for in a zip archive, at most."""
_LAS = struct.Struct("<4s20xBB68xHIIBHI")
"""Signature, version, size of the header, where the points begin, records before them, format and size of a
point, number of points."""
_LAS_14 = struct.Struct("<235xQIQ")
"""As of version 1.4: where the records behind the points begin, how many they are, number of points."""
_RECORD, _COMPRESSED = 54, 0x80
_LASZIP = b"laszip encoded", 22204
"""Who wrote the record that says how points are compressed, and its number."""
_PARTS = struct.Struct("<32xH")
_PART = struct.Struct("<xxHxx")
"""In that record: how many parts a point is compressed as, and the bytes of each."""
_GLB_HEADER = 12
_PLY_HEADER = 1 << 16
_PCD_LINES = 10
"""So many lines a pcd header has, comments aside; what has more would be read as compressed numbers."""
_LZF = 100
"""More bytes than one byte can stand for in a compressed pcd file."""


def check_archive(path: Path) -> None:
    """Refuses a zip archive that would fill the memory, or of which a member claims more than it can hold.

    Raises:
        InputError: it would, or one does.
        BadZipFile: it is no zip archive.
    """
    with ZipFile(path) as archive:
        _check_members(archive, path)


def _check_members(archive: ZipFile, path: Path) -> None:
    size = path.stat().st_size
    if (reason := bomb_reason(archive, size)) is not None:
        raise InputError(f"{path} {reason}")
    for info in archive.infolist():
        if info.compress_size > size or info.file_size > _DEFLATE * size:
            raise InputError(
                f"{path} is damaged: {info.filename!r} is said to be larger than the file can hold"
            )


def check_npz(path: Path, names: Collection[str]) -> None:
    """Refuses an npz file as :func:`check_archive` does, or where a named array lacks promised numbers.

    Raises:
        InputError: it does (names the file and the array).
        BadZipFile: it is no zip archive.
    """
    with ZipFile(path) as archive:
        _check_members(archive, path)
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name not in names:
                continue
            with archive.open(info) as file:
                old = np.lib.format.read_magic(file) == (1, 0)
                header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
                shape, _, dtype = header(file)
            if math.prod(shape) * dtype.itemsize > info.file_size:
                raise InputError(f"{path} is damaged: {name} has not the numbers of its shape {list(shape)}")


def check_las(path: Path) -> None:
    """Refuses a las or laz file whose header points outside of it or promises more than there is.

    Raises:
        InputError: it does, or the file is shorter than a header.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_LAS_14.size)
        if len(head) < _LAS.size or not head.startswith(b"LASF"):
            raise InputError(
                f"{path} cannot be read as {path.suffix[1:]}: it does not begin like a {path.suffix[1:]} file"
            )
        _, _, minor, header, begin, records, form, width, points = _LAS.unpack_from(head)
        if minor >= 4 and len(head) == _LAS_14.size:
            _, _, points = _LAS_14.unpack_from(head)
        sound = header + records * _RECORD <= begin <= size
        if sound and form & _COMPRESSED:
            sound = _chunks(file, begin, size) <= size
            parts = _parts(file, header, records)
        elif sound:
            sound = points * width <= size - begin
    if not sound:
        raise InputError(
            f"{path} is cut off or damaged: its header promises {points} points of {width} bytes from byte "
            f"{begin} on, and the file has {size} bytes"
        )
    if form & _COMPRESSED and parts is None:
        raise InputError(f"{path} is damaged: it does not say how its points are compressed")
    if form & _COMPRESSED and parts != width:
        raise InputError(
            f"{path} is damaged: its points have {width} bytes, and their compressed parts {parts}"
        )


def _parts(file: BinaryIO, header: int, records: int) -> int | None:
    """Bytes of a point's compressed parts, for which its reader makes room; None if the file does not say."""
    file.seek(header)
    for _ in range(records):
        head = file.read(_RECORD)
        data = file.read(int.from_bytes(head[20:22], "little"))
        if (head[2:18].split(b"\0")[0], int.from_bytes(head[18:20], "little")) == _LASZIP:
            if len(data) < _PARTS.size:
                return None
            count = _PARTS.unpack_from(data)[0]
            parts = data[_PARTS.size :][: count * _PART.size]
            result: int = sum(
                size for (size,) in _PART.iter_unpack(parts[: len(parts) // _PART.size * _PART.size])
            )
            return result
    return None


def _chunks(file: BinaryIO, begin: int, size: int) -> float:
    """How many pieces a compressed las file is said to have; infinity if it does not hold their table."""
    file.seek(begin)
    table = int.from_bytes(file.read(8), "little", signed=True)
    if table == -1:  # written to a pipe: the place of the table is behind all else
        file.seek(max(size - 8, 0))
        table = int.from_bytes(file.read(8), "little", signed=True)
    if not begin < table <= size - 8:
        return math.inf
    file.seek(table + 4)
    return int.from_bytes(file.read(4), "little")


def check_pcd(path: Path) -> None:
    """Refuses a pcd file whose header promises more than there is.

    Raises:
        InputError: it does.
        ValueError: a count in it is no whole number.
    """
    size = path.stat().st_size
    header: dict[str, list[str]] = {}
    packed, lines = (0, 0), 0
    with path.open("rb") as file:
        while "DATA" not in header and lines < _PCD_LINES and (line := file.readline()):
            key, *values = line.decode().split() or ["#"]
            if not key.startswith("#"):
                header[key.upper()] = values
                lines += 1
        if header.get("DATA") == ["binary_compressed"]:
            packed = struct.unpack("<II", file.read(8))
    if header.get("DATA") not in (["ascii"], ["binary"], ["binary_compressed"]):
        raise InputError(
            f"{path} cannot be read as pcd: no line DATA that says ascii, binary or binary_compressed"
        )
    widths = zip(header.get("SIZE", []), header.get("COUNT", header.get("SIZE", [])), strict=False)
    width = sum(int(count) * int(bytes_each) for bytes_each, count in widths)
    points = int(header.get("POINTS", ["0"])[0])
    if max(width, packed[0]) > size or max(points * width, packed[1]) > _LZF * size:
        raise InputError(
            f"{path} is cut off or damaged: its header promises {points} points of {width} bytes, and the "
            f"file has {size} bytes"
        )


def is_ply_of_points(path: Path) -> bool:
    """Whether a ply file has no faces; what it is if it cannot be read shows when somebody uses it."""
    if not os.path.isfile(path):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_PLY_HEADER).partition(b"end_header")[0]
    except OSError:
        return False
    return head.startswith(b"ply") and not re.search(rb"[\r\n]element\s+face\s+0*[1-9]", head)


def check_glb(path: Path) -> None:
    """Refuses a glb file of which a part is said to be longer than the file.

    Raises:
        InputError: it is.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(_GLB_HEADER)
        while head := file.read(8):
            length = int.from_bytes(head[:4], "little")
            if file.seek(length, 1) > size:
                raise InputError(
                    f"is cut off or damaged: a part of {length} bytes is promised, of {size} in all"
                )


MESH_HEADERS = {".3dxml": check_archive, ".3mf": check_archive, ".glb": check_glb, ".zae": check_archive}
"""By suffix, what is looked at before a mesh is read."""
