"""Atomic writing of files and folders: a reader sees the old content or the new one, never a part of it."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def write_atomically(
    path: Path, content: bytes | memoryview, *, durable: bool = True, read_back: bool = False
) -> None:
    """Create or replace a file in one step.

    Args:
        path: file path, in an existing folder.
        content: the complete content.
        durable: wait until content and name are on disk, so that a crash of the machine loses neither.
        read_back: read the file back and compare it with ``content`` before it gets its name.

    Raises:
        OSError: writing failed, or the content read back differs; the old file is untouched.
    """

    def check(written: Path) -> None:
        if written.read_bytes() != content:
            raise OSError(0, "the content read back differs from the content written")

    with atomic_file(path, durable=durable, check=check if read_back else None) as file:
        file.write(content)


@contextmanager
def atomic_file(
    path: Path, *, durable: bool = True, check: Callable[[Path], None] | None = None
) -> Iterator[BinaryIO]:
    """Open a new file that gets its name when the block ends; after an exception, no file is left.

    Args:
        path: file path, in an existing folder.
        durable: as for :func:`write_atomically`.
        check: called with the temporary file, after it is on disk and before it gets its name; may raise.
    """
    # Processes on several machines, which may have the same number, may write the same file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if check is not None:
            check(temporary)
        os.replace(temporary, path)
    finally:
        with suppress(OSError):  # a read-only disk refuses this too; that error must not hide the first one
            temporary.unlink(missing_ok=True)
    if durable:
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":  # other systems cannot flush a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Name a folder to make, which gets its name when the block ends. After an error, none is left.

    Args:
        path: of the folder, which does not exist, in an existing folder. The last part of the path that is
            handed out is the same, for writers that name files after it.

    Raises:
        OSError: something that is not an empty folder has taken its name meanwhile.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        yield temporary / path.name
        for file in (temporary / path.name).iterdir():
            with open(file, "rb") as written:
                os.fsync(written.fileno())
        os.rename(temporary / path.name, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _flush_folder(path.parent)
