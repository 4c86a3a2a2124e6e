"""Memory that reader processes share with the training, and fill again and again.

What a reader sends otherwise lies in new pages of shared memory, which cost both sides more than what is
written on them, and in a file of ``/dev/shm``, which many containers keep small.
"""

import mmap
import weakref
from collections import deque

import numpy as np


class Slots:
    """Blocks of memory shared with the processes that are forked after they were made.

    Numbers are taken as work is sent to the readers, and work comes back in the order in which it was sent.

    Args:
        count: how many.
        size: bytes of each, at least.
    """

    def __init__(self, count: int, size: int) -> None:
        self._size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = mmap.mmap(-1, max(count * self._size, 1))  # without a name: gone with the last process
        self._memory = np.frombuffer(memory, np.uint8)
        self._free = deque(range(count))
        self._taken: deque[int | None] = deque()

    def take(self) -> int | None:
        """The number of a free slot for the work that is sent next; None if there is none."""
        self._taken.append(self._free.popleft() if self._free else None)
        return self._taken[-1]

    def room(self, number: int) -> np.ndarray:
        """``[size]`` uint8, one slot."""
        return self._memory[number * self._size : (number + 1) * self._size]

    def receive(self) -> np.ndarray:
        """:meth:`room` of the work that was sent first; free again when nothing refers to it."""
        number = self._taken.popleft()
        if number is None:
            raise RuntimeError("work came back in a slot that was not given to it")
        room = self.room(number)
        weakref.finalize(room, self._free.append, number).atexit = False
        return room

    def skip(self) -> None:
        """The work that was sent first came back without its slot, which is free again."""
        number = self._taken.popleft()
        if number is not None:
            self._free.append(number)

    def recover(self) -> None:
        """Nothing that was sent will come back any more."""
        while self._taken:
            self.skip()
