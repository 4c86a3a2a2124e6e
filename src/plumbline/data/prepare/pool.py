"""Preparation of chunks in worker processes, which survives inputs that crash them.

Every worker computes with one thread. Sums split among threads differ in their last bits, so the number of
cores would change the data. That also applies to a single worker, so nothing is prepared in the calling
process. A chunk whose process dies (a crash in a mesh library, the system's out-of-memory killer) is tried
again alone, then object by object; only the object at fault is lost.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from glob import escape
from types import TracebackType

from plumbline.cores import num_cores
from plumbline.data.prepare.samples import Written, write_chunk
from plumbline.data.prepare.sources import Chunk
from plumbline.errors import InputError
from plumbline.processes import ProcessPool
from plumbline.records import GraphSettings, ScanSettings

_AHEAD = 2
"""Chunks per worker that are submitted in advance."""

Work = Callable[[Chunk, ScanSettings, GraphSettings, Sequence[int]], Written]


class Workers:
    """Worker processes for any number of data sets: started on first use, ended with the ``with`` block.

    Args:
        num: number of processes, at most; 0 for one per core.
        work: called as ``work(chunk, scan, graph, dead)`` in a worker; must be importable by name.
    """

    def __init__(self, num: int = 0, *, work: Work = write_chunk) -> None:
        self.num = num or num_cores()
        self._work = work
        self._pool: ProcessPool | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(at_once=error is not None)

    def write(
        self, chunks: Sequence[Chunk], scan: ScanSettings, graph: GraphSettings
    ) -> Generator[tuple[Chunk, Written], None, None]:
        """Write the part files of chunks.

        Closing the generator, or an exception in it such as Ctrl-C, ends the processes at once. A part file
        is either complete or does not exist.

        Yields:
            Each finished chunk, in any order, with what its part file holds.

        Raises:
            InputError: the processes that prepare a chunk keep dying, even without the objects at fault.
        """
        waiting = deque(chunks)
        try:
            while waiting:
                suspects = yield from self._until_broken(waiting, scan, graph)
                for chunk in suspects:
                    _remove_halves(chunk)
                    yield chunk, self._find_culprit(chunk, scan, graph)
        except BaseException:
            self._end(at_once=True)
            raise

    def _until_broken(
        self, waiting: deque[Chunk], scan: ScanSettings, graph: GraphSettings
    ) -> Generator[tuple[Chunk, Written], None, list[Chunk]]:
        """Work through ``waiting``, or return the chunks that were in progress when a process died."""
        running: dict[Future[Written], Chunk] = {}
        self._pool = self._pool or ProcessPool(self.num)
        try:
            while waiting or running:
                while waiting and len(running) < _AHEAD * self.num:
                    running[self._pool.submit(self._work, waiting[0], scan, graph, ())] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    written = future.result()
                    yield running.pop(future), written
        except BrokenProcessPool:
            self._end(at_once=True)
            return list(running.values())
        return []

    def _find_culprit(self, chunk: Chunk, scan: ScanSettings, graph: GraphSettings) -> Written:
        """Write a chunk that may kill its process, leaving out the sources that do."""
        written = self._alone(chunk, scan, graph, ())
        if written is not None:
            return written
        probe = chunk.path.with_suffix(".probe")
        dead = [
            position
            for position, source in enumerate(chunk.sources)
            if self._alone(replace(chunk, path=probe, sources=(source,)), scan, graph, ()) is None
        ]
        probe.unlink(missing_ok=True)
        written = self._alone(chunk, scan, graph, dead)
        if written is None:
            raise InputError(
                f"the process that prepares {chunk.sources[0].title} to {chunk.sources[-1].title} keeps "
                "dying, perhaps for lack of memory: run the same command with --workers 1, or leave these "
                "objects out"
            )
        return written

    def _alone(
        self, chunk: Chunk, scan: ScanSettings, graph: GraphSettings, dead: Sequence[int]
    ) -> Written | None:
        """Write a chunk in a process of its own; return what it wrote, or None if it died."""
        pool = ProcessPool(1)
        died = True
        try:
            written = pool.submit(self._work, chunk, scan, graph, dead).result()
            died = False
        except BrokenProcessPool:
            _remove_halves(chunk)
            return None
        finally:
            pool.end(at_once=died)
        return written

    def _end(self, *, at_once: bool) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.end(at_once=at_once)


def _remove_halves(chunk: Chunk) -> None:
    """Remove partial files left by processes that were stopped while writing the chunk's file."""
    for half in chunk.path.parent.glob(f".{escape(chunk.path.name)}.*.tmp"):
        half.unlink(missing_ok=True)
