"""Operating-system locks on files and folders. A lock ends with its process, however that ends.

Without support by system and file system, locking has no effect and raises no error.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_POLL = 0.1
"""Seconds between two attempts to take a lock."""


class LockedError(Exception):
    """The lock is held by another process.

    Attributes:
        owner: the holder, such as ``"process 12 on laptop"``; empty if unknown.
    """

    def __init__(self, path: Path, owner: str = "") -> None:
        super().__init__(f"{path} is locked" + (f" by {owner}" if owner else ""))
        self.owner = owner


def lock(descriptor: int, *, shared: bool = False, patience: float = 0.0) -> bool:
    """Lock an open file or folder until every process that has it open has closed it.

    Args:
        descriptor: file descriptor; on some file systems an exclusive lock needs a writable one.
        shared: whether others may hold shared locks at the same time.
        patience: seconds to wait for the current holder; ``inf``: without limit.

    Returns:
        Whether it is locked; False if locks are not supported.

    Raises:
        BlockingIOError: another holder still has the lock.
    """
    if fcntl is None:
        return False
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, how if patience == inf else how | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
        except OSError:  # a file system without locks
            return False
        time.sleep(_POLL)


@contextmanager
def sole_owner(path: Path, *, patience: float = 0.0, note: Path | None = None) -> Iterator[bool]:
    """Hold an exclusive lock on a file (created if missing) or on a folder while the block runs.

    Args:
        path: file or folder. The holder of the lock may remove it.
        patience: as for :func:`lock`.
        note: file that names the holder while the lock is held.

    Yields:
        Whether it is locked; False if locks are not supported.

    Raises:
        LockedError: another process holds the lock, or removed the file just now.
        OSError: the file cannot be opened.
    """
    handle = _open(path)
    try:
        try:
            locked = lock(handle, patience=patience)
            # The previous holder may have removed the file, and a lock on a removed file excludes nobody.
            if locked and not os.path.samestat(os.fstat(handle), os.stat(path)):
                raise LockedError(path)
        except (BlockingIOError, FileNotFoundError) as error:
            raise LockedError(path, _owner(note)) from error
        if locked and note is not None:
            with suppress(OSError):
                note.write_text(f"process {os.getpid()} on {os.uname().nodename}", "utf-8")
        try:
            yield locked
        finally:
            if locked:
                if note is not None:
                    with suppress(OSError):
                        note.unlink()
                fcntl.flock(handle, fcntl.LOCK_UN)  # closing is not enough while child processes hold it open
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    if path.is_dir():
        return os.open(path, os.O_RDONLY)
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # the file of another user, who shares the folder
        return os.open(path, os.O_RDONLY)


def _owner(note: Path | None) -> str:
    if note is None:
        return ""
    try:
        return note.read_text("utf-8")[:200]
    except (OSError, UnicodeDecodeError):
        return ""
