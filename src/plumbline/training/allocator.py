"""Memory that a step has freed stays with the process, because the next step wants as much again."""

import ctypes
import sys

# Parameters of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEEP = 512 << 20
_LARGE = 64 << 20


def keep_freed_memory() -> None:
    """Has the C library give back freed memory only beyond 512 MiB, and single pieces of 64 MiB.

    By itself glibc gives back what each step frees, and the system then clears every page anew for the next
    step: for tensors of some megabytes that costs as much as writing them. Without effect where another C
    library is at work.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_TRIM_THRESHOLD, _KEEP)
        mallopt(_MMAP_THRESHOLD, _LARGE)
