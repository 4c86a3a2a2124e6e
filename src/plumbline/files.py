"""Looking for files in a folder, the same everywhere: sorted, and never past what cannot be read."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

from plumbline.errors import InputError

UNREADABLE = "cannot be read: "
"""How the reason begins where the system refused a file: it may give it next time."""
_PACKED_TIGHTEST = 100
_SMALL = 1 << 28
"""Bytes that any machine has."""


def visible_files(folder: Path, suffixes: Collection[str]) -> list[str]:
    """The files with certain suffixes in a folder and the folders in it, hidden ones skipped.

    Links to nothing are among them, to be named; pipes and devices, which may keep a reader waiting, are not.

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
    return sorted(name for name in files if _gives_an_answer(os.path.join(folder, name)))


def _gives_an_answer(path: str) -> bool:
    return os.path.isfile(path) or not os.path.exists(path)


def bomb_reason(archive: ZipFile, size: int) -> str | None:
    """Why an archive would fill the memory, if it would: more than 256 MB, over 100 times its own size.

    Numbers and the XML around them shrink to a tenth, seldom to a twentieth.
    """
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked <= max(_SMALL, _PACKED_TIGHTEST * size):
        return None
    return f"unpacks to {unpacked / 1e9:,.1f} GB, which no such file does: make it anew"


def refusal(path: Path, error: OSError) -> str:
    """Why a file among others is rejected that the system refused to give; the reason alone, without path."""
    if isinstance(error, FileNotFoundError):
        return "is a link to a file that is not there" if path.is_symlink() else "is not there"
    mend = "check its permissions" if isinstance(error, PermissionError) else "put a sound copy in its place"
    return f"{UNREADABLE}{error.strerror or error}; {mend}"


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Around everything that reads ``path``: what the system refuses becomes an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error
