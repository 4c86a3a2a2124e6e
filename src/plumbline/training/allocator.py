"""Keeping freed memory in the process, because the next step needs as much again."""

import ctypes
import sys

# Parameters of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEEP = 512 << 20
_LARGE = 64 << 20


def keep_freed_memory() -> None:
    """Make the C library return freed memory only beyond 512 MiB, and single blocks from 64 MiB.

    By default, glibc returns the memory that each step frees, and the system then clears every page again for
    the next step: for tensors of some megabytes this costs as much as writing them. Other C libraries are not
    affected.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_TRIM_THRESHOLD, _KEEP)
        mallopt(_MMAP_THRESHOLD, _LARGE)
