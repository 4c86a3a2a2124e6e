"""Locks of the system on files and folders. A lock ends with its process, however that ends.

Where the system or the file system has no locks, nothing is kept out and no error is raised.
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
"""Seconds between two attempts."""


class LockedError(Exception):
    """Somebody else holds the lock.

    Attributes:
        owner: who, such as ``"process 12 on laptop"``; empty if that is unknown.
    """

    def __init__(self, path: Path, owner: str = "") -> None:
        super().__init__(f"{path} is locked" + (f" by {owner}" if owner else ""))
        self.owner = owner


def lock(descriptor: int, *, shared: bool = False, patience: float = 0.0) -> bool:
    """Lock an open file or folder until it is closed in every process that holds it open.

    Args:
        descriptor: of the file; on some file systems an exclusive lock needs one that can be written.
        shared: others may hold shared locks on it at the same time.
        patience: seconds to wait for those who hold it; ``inf`` for as long as it takes.

    Returns:
        Whether it is locked; False where there are no locks.

    Raises:
        BlockingIOError: somebody else still holds it.
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
    """Hold an exclusive lock on a file, which is made if it is missing, or on a folder while the block runs.

    Args:
        path: of the file or folder. Whoever holds its lock may remove it.
        patience: as for :func:`lock`.
        note: a file that says whose the lock is while it is held.

    Yields:
        Whether it is locked; False where there are no locks.

    Raises:
        LockedError: somebody else holds the lock, or removed the file in this moment.
        OSError: the file cannot be opened.
    """
    handle = _open(path)
    try:
        try:
            locked = lock(handle, patience=patience)
            # Who held it before may have removed the file, and a lock on what is gone keeps nobody out.
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
    except PermissionError:  # somebody else's, who shares the folder
        return os.open(path, os.O_RDONLY)


def _owner(note: Path | None) -> str:
    if note is None:
        return ""
    try:
        return note.read_text("utf-8")[:200]
    except (OSError, UnicodeDecodeError):
        return ""
