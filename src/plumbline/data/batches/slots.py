"""Reusable slots of shared memory through which reader processes pass batches to the training.

Without slots, PyTorch sends each batch in new pages of shared memory, which cost both sides more than the
data written to them, and in a file in ``/dev/shm``, which is small in many containers.
"""

import mmap
import weakref
from collections import deque

import numpy as np


class Slots:
    """Blocks of memory shared with all processes that are forked after the blocks were made.

    Each batch requested from a reader process reserves one slot, or none if no slot is free. Batches return
    in the order in which they were requested.

    Args:
        count: number of slots.
        size: bytes of each slot, rounded up to whole pages.
    """

    def __init__(self, count: int, size: int) -> None:
        self._size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = mmap.mmap(-1, max(count * self._size, 1))  # anonymous: freed when the last process exits
        self._memory = np.frombuffer(memory, np.uint8)
        self._free = list(range(count))
        self._taken: deque[int | None] = deque()

    def take(self) -> int | None:
        """Reserve a free slot for the next batch that is requested; None if no slot is free."""
        self._taken.append(self._free.pop() if self._free else None)  # last freed first: it has its pages
        return self._taken[-1]

    def room(self, number: int) -> np.ndarray:
        """The memory of one slot, ``[size]`` uint8."""
        return self._memory[number * self._size : (number + 1) * self._size]

    def receive(self, number: int, size: int) -> np.ndarray:
        """Return the ``[size]`` uint8 that a reader process wrote to the slot of the oldest open request.

        The slot becomes free when nothing refers to the returned array any more.

        Raises:
            RuntimeError: another slot was reserved for that request.
        """
        if (taken := self._taken.popleft()) != number:
            raise RuntimeError(f"a reader process filled slot {number}, but slot {taken} was reserved for it")
        room = self.room(number)[:size]
        weakref.finalize(room, self._free.append, number).atexit = False
        return room

    def skip(self) -> None:
        """Free the slot of the oldest open request: its batch came back by another way."""
        number = self._taken.popleft()
        if number is not None:
            self._free.append(number)

    def recover(self) -> None:
        """Free the slots of all open requests: none of their batches will come back."""
        while self._taken:
            self.skip()
