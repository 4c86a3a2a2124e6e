"""How many cores there are to compute on."""

import os


def num_cores() -> int:
    """Cores that this process may use; a job on a shared machine often has few of many."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
