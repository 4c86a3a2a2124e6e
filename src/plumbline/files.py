"""Looking for files in a folder, the same everywhere: sorted, and never past what cannot be read."""

import os
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from plumbline.errors import InputError

_PACKED_TIGHTEST = 100
_SMALL = 1 << 28
"""Bytes that any machine has."""


def visible_files(folder: Path, suffixes: Collection[str]) -> list[str]:
    """The files with certain suffixes in a folder and the folders in it, hidden ones skipped.

    Args:
        folder: where to look; links to folders are not followed.
        suffixes: in lower case, such as ``.ply``; the files' may be in any case.

    Returns:
        POSIX paths relative to the folder, sorted.

    Raises:
        InputError: a folder cannot be read.
    """
    endings = tuple(suffixes)
    files: list[str] = []
    for parent, folders, members in os.walk(folder, onerror=_refuse):  # pathlib takes ten times as long
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = "" if Path(parent) == folder else Path(parent).relative_to(folder).as_posix() + "/"
        files += [prefix + name for name in members if name.lower().endswith(endings) and name[0] != "."]
    return sorted(files)


def refuse_bomb(path: Path) -> None:
    """Refuses an archive that would fill the memory: one of more than 256 MB, over 100 times its own size.

    Numbers and the XML around them shrink to a tenth, seldom to a twentieth. Any other file passes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, ValueError):
        return  # no archive, or a broken one, of which its reader says so
    if size > max(_SMALL, _PACKED_TIGHTEST * path.stat().st_size):
        raise InputError(f"{path} unpacks to {size / 1e9:,.1f} GB, which no mesh or scan does: make it anew")


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Around everything that reads ``path``: what the system refuses becomes an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error
