"""What a file unpacks to, by its header: refused before memory is allocated for it."""

from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from plumbline.console.text import file_size
from plumbline.errors import InputError
from plumbline.geometry.headers import las_points
from plumbline.geometry.pcd import unpacked_bytes
from plumbline.geometry.unnamed_columns import WIDEST
from plumbline.serve.limits import TooLargeError

_ROW = 8 * WIDEST
"""Bytes of the widest row of numbers that is read as a point."""


def check_scan(path: Path, most: int) -> None:
    """Refuse a scan file with more than ``most`` points, or that unpacks to more bytes than they need.

    A damaged file passes: its reader says what is wrong with it.

    Raises:
        TooLargeError: the file is refused.
    """
    if path.suffix in (".las", ".laz"):
        check_number(path, las_points(path), most, "points")
    elif path.suffix in (".npz", ".pcd", ".npy"):
        _check_bytes(path, unpacked(path), most * _ROW)


def check_image(path: Path, most: int) -> None:
    """Refuse a picture or an array with more than ``most`` pixels; as :func:`check_scan`."""
    if path.suffix in (".npz", ".npy"):
        _check_bytes(path, unpacked(path), most * 8)
    else:
        check_number(path, _pixels(path), most, "pixels")


def check_number(name: Path | str, number: int, most: int, what: str) -> None:
    """Refuse more than ``most`` points or pixels. Raises TooLargeError."""
    if number > most:
        raise TooLargeError(f"{name} has {number:,} {what}; this server takes {most:,} (--max_points)")


def _check_bytes(path: Path, size: int, most: int) -> None:
    if size > most:
        raise TooLargeError(
            f"{path} unpacks to {file_size(size)}; this server takes {file_size(most)} (--max_points)"
        )


def unpacked(path: Path) -> int:
    """Bytes that the content of a pcd, npy or npz file takes; 0 if it is damaged or another file."""
    try:
        if path.suffix == ".pcd":
            return unpacked_bytes(path)
        if path.suffix == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            return int(array.size) * 8
        with ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist())
    except (BadZipFile, InputError, ValueError, EOFError):
        return 0


def _pixels(path: Path) -> int:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.width * picture.height
    except Exception:  # noqa: BLE001 (of any type for broken files; the reader refuses them)
        return 0
