"""Places for requests, a limited number of them; when all are taken, the slowest body gives way."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from plumbline.serve.limits import BusyError, Limits

_T = TypeVar("_T")
_GRACE = 1.0
"""Seconds that every request has for its body before it may have to give way."""


class Places:
    """As many places as requests may be read or answered at a time, for one event loop.

    When all are taken, the request whose body arrives most slowly gives way to the next one: a client that
    sends nothing, or a byte at a time, must not keep others out.

    Args:
        limits: what a request may cost.
        pool: threads that requests run functions in.
    """

    def __init__(self, limits: Limits, pool: ThreadPoolExecutor) -> None:
        self._limits, self._pool = limits, pool
        self._free = threading.BoundedSemaphore(limits.requests)
        self._reading: set[Place] = set()

    @asynccontextmanager
    async def take(self) -> "AsyncIterator[Place]":
        """Take a place until the block ends, and the threads that it started, too.

        A thread cannot be stopped: without this, requests that time out would pile up behind it.

        Raises:
            BusyError: there is none, or this one had to give way.
            TimeoutError: the request takes too long.
        """
        gave_way = False
        try:
            async with asyncio.timeout(self._limits.seconds) as timer:
                self._acquire()
                place = Place(self._pool, timer, self._reading)
                try:
                    yield place
                finally:
                    self._reading.discard(place)
                    gave_way = place.gave_way
                    if not gave_way:
                        place.when_ended(self._free.release)
        except TimeoutError:
            if gave_way:
                raise BusyError from None
            raise

    def _acquire(self) -> None:
        if self._free.acquire(blocking=False):
            return
        slow = [place for place in self._reading if place.seconds >= _GRACE]
        if not slow:
            raise BusyError
        min(slow, key=lambda place: place.received / place.seconds).give_way()


class Place:
    """A place of one request.

    Attributes:
        received: bytes of its body that are there.
        gave_way: whether another request has this place now.
    """

    def __init__(self, pool: ThreadPoolExecutor, timer: asyncio.Timeout, reading: "set[Place]") -> None:
        self._pool, self._timer, self._reading = pool, timer, reading
        self._begun = asyncio.get_running_loop().time()
        self._running: Future[Any] | None = None
        self.received, self.gave_way = 0, False
        reading.add(self)

    @property
    def seconds(self) -> float:
        """How long the request has been here."""
        return asyncio.get_running_loop().time() - self._begun

    def receive(self, size: int, *, more: bool) -> None:
        """Count a piece of the body; after the last one the request no longer has to give way."""
        self.received += size
        if not more:
            self._reading.discard(self)

    def give_way(self) -> None:
        """End the request, which still waits for its body, and leave its place to another one."""
        self._reading.discard(self)
        if self._timer.expired():  # it is about to end, and frees its place by itself
            raise BusyError
        self.gave_way = True
        self._timer.reschedule(asyncio.get_running_loop().time())

    async def run(self, function: Callable[[], _T]) -> _T:
        """Run a function in a thread."""
        self._running = self._pool.submit(function)
        return await asyncio.wrap_future(self._running)

    def when_ended(self, function: Callable[[], None]) -> None:
        """Call a function when no thread of the request runs any more."""
        if self._running is None:
            function()
        else:
            self._running.add_done_callback(lambda _: function())
