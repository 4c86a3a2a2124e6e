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

    A number is taken for each piece of work that is sent to the readers, which comes back in the same order.

    Args:
        count: how many.
        size: bytes of each, at least.
    """

    def __init__(self, count: int, size: int) -> None:
        self._size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = mmap.mmap(-1, max(count * self._size, 1))  # without a name: gone with the last process
        self._memory = np.frombuffer(memory, np.uint8)
        self._free = list(range(count))
        self._taken: deque[int | None] = deque()

    def take(self) -> int | None:
        """The number of a free slot for the work that is sent next; None if there is none."""
        self._taken.append(self._free.pop() if self._free else None)  # the last one, which has its pages
        return self._taken[-1]

    def room(self, number: int) -> np.ndarray:
        """``[size]`` uint8, one slot."""
        return self._memory[number * self._size : (number + 1) * self._size]

    def receive(self, number: int, size: int) -> np.ndarray:
        """``[size]`` uint8, what was left in the slot of the work sent first; free when nothing refers to it.

        Raises:
            RuntimeError: another slot was taken for that work.
        """
        if (taken := self._taken.popleft()) != number:
            raise RuntimeError(f"a reader process filled slot {number}, and {taken} was taken for its work")
        room = self.room(number)[:size]
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
