"""Writing files in one step: a reader sees the old content or the new one, never half of it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def write_atomically(
    path: Path, content: bytes | memoryview, *, durable: bool = True, read_back: bool = False
) -> None:
    """Replace a file, or make it, in one step.

    Args:
        path: of the file, in an existing folder.
        content: all of it.
        durable: wait until content and name are on the disk: a crash of the machine loses neither.
        read_back: compare what the system gives back with ``content`` before the file gets its name.

    Raises:
        OSError: the system refused, or gave back something else; the old file is untouched.
    """

    def check(written: Path) -> None:
        if written.read_bytes() != content:
            raise OSError(0, "what was read back is not what was written")

    with atomic_file(path, durable=durable, check=check if read_back else None) as file:
        file.write(content)


@contextmanager
def atomic_file(
    path: Path, *, durable: bool = True, check: Callable[[Path], None] | None = None
) -> Iterator[BinaryIO]:
    """Open a new file that takes its name when the block ends; if it ends with an exception, nothing is left.

    Args:
        path: of the file, in an existing folder.
        durable: as for :func:`write_atomically`.
        check: called with the file before it takes its name, after it is on the disk; may raise.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
        with suppress(OSError):  # a read-only disk refuses this too, and must not hide the first refusal
            temporary.unlink(missing_ok=True)
    if durable:
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be flushed
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
