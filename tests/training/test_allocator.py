"""What one step frees, the next one uses, without the system clearing pages again."""

import subprocess
import sys

import pytest

STEPS = """
import ctypes, sys
import torch
from plumbline.training.allocator import keep_freed_memory

FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
class Taken(ctypes.Structure):  # struct mallinfo2, mallinfo(3)
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS.split()]
taken = ctypes.CDLL(None).mallinfo2
taken.restype = Taken

if sys.argv[1] == "keep":
    keep_freed_memory()
before = taken()
pieces = [torch.ones(4_000_000) for _ in range(6)]  # 16 MB each
mapped = taken().hblkhd - before.hblkhd
del pieces
print(mapped, taken().arena - before.arena)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_memory_is_taken_from_the_heap_and_stays_there() -> None:
    """Counted by the allocator itself: not every system counts page faults."""
    (mapped, kept), (mapped_before, kept_before) = (
        map(
            int,
            subprocess.run(
                [sys.executable, "-c", STEPS, mode], capture_output=True, check=True, timeout=300
            ).stdout.split(),
        )
        for mode in ("keep", "as ever")
    )
    size = 5 * 16_000_000  # the last one may lie in what was free
    little = 1_000_000  # the rest of the program allocates too
    assert mapped < little
    assert kept >= size
    assert mapped_before >= size, "glibc has changed: the test shows nothing"
    assert kept_before < little, "glibc has changed: the test shows nothing"
