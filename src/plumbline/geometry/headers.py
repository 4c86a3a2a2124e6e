"""Check headers of binary files against the size of the file before memory is allocated for the content."""

import math
import os
import re
import struct
from codecs import BOM_UTF8
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, BinaryIO
from zipfile import ZipFile

import numpy as np

from plumbline.errors import InputError
from plumbline.files import bomb_reason

_DEFLATE = 1032
"""Largest number of bytes that one byte of a zip archive can expand to."""
_LAS = struct.Struct("<4s20xBB68xHIIBHI")
"""Signature, version, size of the header, offset of the points, number of records before them, format and
size of a point, number of points."""
_LAS_14 = struct.Struct("<235xQIQ")
"""From version 1.4 on: offset and number of the records after the points, number of points."""
_RECORD, _COMPRESSED = 54, 0x80
_LASZIP = b"laszip encoded", 22204
"""User id and record id of the record that describes the compression of the points."""
_PARTS = struct.Struct("<32xH")
_PART = struct.Struct("<xxHxx")
"""In that record: the number of parts that a point is compressed as, and the bytes of each part."""
_PLY_HEADER = 1 << 16


def check_whole(path: Path, found: int, declared: int, what: str = "points") -> None:
    """Refuse a file that does not have what its header declares.

    Raises:
        InputError: the file is truncated.
    """
    if found != declared:
        raise InputError(
            f"{path} is truncated: it has {found:,} of the {declared:,} {what} its header declares; "
            "export it again"
        )


def check_archive(path: Path) -> None:
    """Refuse a zip archive that would fill the memory, or with a member larger than the archive can contain.

    Raises:
        InputError: the archive is refused.
        BadZipFile: the file is not a zip archive.
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
                f"{path} is damaged: {info.filename!r} is declared larger than the file; export it again"
            )


def check_npz(path: Path, names: Collection[str]) -> None:
    """Refuse an npz file as :func:`check_archive` does, or if a named array is too short for its shape.

    Raises:
        InputError: the file is refused, or a named array is not one of plain numbers; the message names the
            file and the array.
        BadZipFile: the file is not a zip archive.
    """
    with ZipFile(path) as archive:
        _check_members(archive, path)
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name not in names:
                continue
            with archive.open(info) as file:
                shape, dtype = _array_header(file, path, name)
            if math.prod(shape) * dtype.itemsize > info.file_size:
                raise InputError(
                    f"{path} is damaged: {name} is too short for its shape {list(shape)}; export it again"
                )


def read_array(path: Path, name: str) -> np.ndarray:
    """Read the array of a ``.npy`` file, or the one called ``name`` of an ``.npz`` file.

    Raises:
        InputError: the file would fill the memory, or has no such array.
        ValueError: the file is damaged, or holds pickled objects, which are never loaded.
    """
    if path.suffix.lower() == ".npy":
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    check_npz(path, {name})
    with np.load(path, allow_pickle=False) as arrays:
        if name not in arrays:
            found = ", ".join(arrays.files) or "none"
            raise InputError(f"{path}: no array {name!r}; the file has {found}")
        return np.asarray(arrays[name])


def array_names(path: Path) -> list[str]:
    """List the names of the arrays in an npz file.

    Raises:
        BadZipFile: the file is not a zip archive.
    """
    with ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def check_npy(path: Path) -> None:
    """Refuse an npy file with a damaged header, or that holds anything but plain numbers.

    Raises:
        InputError: the file is refused.
    """
    with path.open("rb") as file:
        _array_header(file, path, "the array")


def _array_header(file: IO[bytes], path: Path, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        old = np.lib.format.read_magic(file) == (1, 0)
        header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
    except Exception as error:  # a damaged header raises exceptions of any type
        raise InputError(
            f"{path} is damaged: the header of {name} cannot be read; export it again"
        ) from error
    if dtype.hasobject:
        raise InputError(
            f"{path}: {name} holds pickled Python objects, which are never opened; save the points with "
            "numpy.savez(file, points=points, sensor=sensor)"
        )
    return shape, dtype


def check_las(path: Path) -> None:
    """Refuse a las or laz file whose header points outside the file or declares more than the file contains.

    Raises:
        InputError: the file is refused, or is shorter than a header.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_LAS_14.size)
        if len(head) < _LAS.size or not head.startswith(b"LASF"):
            raise InputError(
                f"{path} cannot be read as {path.suffix[1:]}: it does not start like a {path.suffix[1:]} "
                "file; "
                "export it again"
            )
        _, _, _, header, begin, records, form, width, _ = _LAS.unpack_from(head)
        points = _declared(head)
        sound = header + records * _RECORD <= begin <= size
        if sound and form & _COMPRESSED:
            sound = _chunks(file, begin, size) <= size
            parts = _parts(file, header, records)
        elif sound:
            sound = points * width <= size - begin
    if not sound:
        raise InputError(
            f"{path} is truncated or damaged: its header declares {points:,} points of {width} bytes from "
            f"byte {begin:,} on, but the file has {size:,} bytes; export it again"
        )
    if form & _COMPRESSED and parts is None:
        raise InputError(f"{path} is damaged: it does not say how its points are compressed; export it again")
    if form & _COMPRESSED and parts != width:
        raise InputError(
            f"{path} is damaged: its points have {width} bytes, but their compressed parts have {parts}; "
            "export it again"
        )


def las_points(path: Path) -> int:
    """Tell how many points a las or laz file declares; 0 if it does not start like one."""
    with path.open("rb") as file:
        head = file.read(_LAS_14.size)
    return _declared(head) if len(head) >= _LAS.size and head.startswith(b"LASF") else 0


def _declared(head: bytes) -> int:
    """Number of points by the header of a las file."""
    _, _, minor, *_, points = _LAS.unpack_from(head)
    if minor >= 4 and len(head) == _LAS_14.size:
        _, _, points = _LAS_14.unpack_from(head)
    return int(points)


def _parts(file: BinaryIO, header: int, records: int) -> int | None:
    """Sum the bytes of a point's compressed parts, which the reader allocates; None if not declared."""
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
    """Read the declared number of chunks of a compressed las file; infinity if the chunk table is missing."""
    file.seek(begin)
    table = int.from_bytes(file.read(8), "little", signed=True)
    if table == -1:  # written to a pipe: the offset of the table is at the very end
        file.seek(max(size - 8, 0))
        table = int.from_bytes(file.read(8), "little", signed=True)
    if not begin < table <= size - 8:
        return math.inf
    file.seek(table + 4)
    return int.from_bytes(file.read(4), "little")


def is_ply_of_points(path: Path) -> bool:
    """Tell whether a ply file has no faces.

    A file that cannot be read counts as a mesh; the error is reported when the file is used.
    """
    if not os.path.isfile(path):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_PLY_HEADER).partition(b"end_header")[0]
    except OSError:
        return False
    return head.removeprefix(BOM_UTF8).startswith(b"ply") and not re.search(
        rb"[\r\n]element\s+(face|tristrips)\s+0*[1-9]", head
    )
