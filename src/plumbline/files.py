"""Find files in folders, in sorted order; a folder or file that cannot be read is reported, never skipped."""

import csv
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

from plumbline.errors import InputError

UNREADABLE = "cannot be read: "
"""Start of the reason when the system refuses to read a file. Such a file may be readable the next time."""
_MAX_COMPRESSION = 100
_SMALL = 1 << 28
"""Bytes; every machine has this much memory."""


def visible_files(folder: Path, suffixes: Collection[str]) -> list[str]:
    """List the files with the given suffixes in a folder and its subfolders; hidden ones are skipped.

    Broken links are listed, so that the caller can report them. Pipes and devices are not listed: reading one
    may block forever.

    Args:
        folder: where to look; links to folders are not followed.
        suffixes: in lower case, such as ``.ply``; suffixes of files are matched in any case.

    Returns:
        POSIX paths relative to the folder, sorted.

    Raises:
        InputError: a folder cannot be read.
    """
    endings = tuple(suffixes)
    files: list[str] = []
    for parent, folders, members in os.walk(folder, onerror=_refuse):  # ten times as fast as pathlib
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = "" if Path(parent) == folder else Path(parent).relative_to(folder).as_posix() + "/"
        files += [prefix + name for name in members if name.lower().endswith(endings) and name[0] != "."]
    return sorted(name for name in files if _is_file_or_broken_link(os.path.join(folder, name)))


def _is_file_or_broken_link(path: str) -> bool:
    return os.path.isfile(path) or not os.path.exists(path)


def bomb_reason(archive: ZipFile, size: int) -> str | None:
    """Say why an archive is refused as a zip bomb; None if it is not one.

    An archive is refused if it unpacks to more than 256 MB and more than 100 times its own ``size`` (bytes).
    Numbers and the XML around them compress to a tenth of their size, rarely to a twentieth.
    """
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked <= max(_SMALL, _MAX_COMPRESSION * size):
        return None
    return f"unpacks to {unpacked / 1e9:,.1f} GB, far more than a valid file of this kind: create it again"


def refusal(path: Path, error: OSError) -> str:
    """Say why one of several files is rejected after the system refused to read it.

    Returns:
        The reason alone, without the path.
    """
    if isinstance(error, FileNotFoundError):
        return "is a link to a file that does not exist" if path.is_symlink() else "does not exist"
    fix = "check its permissions" if isinstance(error, PermissionError) else "replace it with an intact copy"
    return f"{UNREADABLE}{error.strerror or error}; {fix}"


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turn an OSError raised while ``path`` is read into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error


@contextmanager
def reading_csv(path: Path) -> Iterator[None]:
    """Turn an error raised while a CSV file is read into an InputError."""
    try:
        with reading(path):
            yield
    except UnicodeDecodeError as error:
        # Names of files are in the text, so its encoding must not be guessed.
        raise InputError(f"{path} is not in UTF-8; save it as UTF-8 (Excel: CSV UTF-8)") from error
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as CSV ({error}); export it again") from error


def check_out_folder(out: Path) -> None:
    """Refuse a file in the place of the folder to write. Raises InputError."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: give a folder")


def check_folder(folder: Path, where: str) -> None:
    """Refuse a folder for a new file that is missing, or that this user cannot write to.

    Raises:
        InputError: the sentence begins with ``where``.
    """
    if not folder.is_dir():
        raise InputError(f"{where}: there is no folder {folder}; make it, or choose another one")
    if not os.access(folder, os.W_OK):
        raise InputError(
            f"{where}: the folder {folder.absolute()} cannot be written to; check its permissions or choose "
            "another one"
        )


def check_out_files(
    outputs: Mapping[str, Path | None],
    files: Sequence[Path],
    folders: Mapping[str, Path | None] | None = None,
) -> None:
    """Refuse output files that cannot be written, that are one, or that would overwrite what is read.

    Args:
        outputs: the file of each flag, or None.
        files: what is read.
        folders: that are written as well, by their flags, and checked where that happens.
    """
    earlier = {path.resolve(): flag for flag, path in (folders or {}).items() if path is not None}
    for flag, out in outputs.items():
        if out is None:
            continue
        if out.is_dir():
            raise InputError(f"{flag} {out} is a folder; name a file")
        if out.exists() and any(file.exists() and out.samefile(file) for file in files):
            raise InputError(f"{flag} {out}: this is one of the files that are read; choose another name")
        check_folder(out.parent, f"{flag} {out}")
        if (other := earlier.setdefault(out.resolve(), flag)) != flag:
            raise InputError(f"{flag} {out}: {other} writes to this place; choose another name")
        if out.suffix.lower() == ".ply" and (cleaned := earlier.get(out.resolve().parent)) is not None:
            raise InputError(f"{flag} {out}: {cleaned} writes ply files to this folder; choose another one")


def each_folder(given: Path | str | Sequence[Path | str]) -> list[Path]:
    """One folder, or several, as a list."""
    return [Path(one) for one in ([given] if isinstance(given, str | Path) else given)]


def folder_names(given: Path | str | Sequence[Path | str]) -> str:
    """One folder, or several, in a sentence."""
    return " and ".join(map(str, each_folder(given)))
