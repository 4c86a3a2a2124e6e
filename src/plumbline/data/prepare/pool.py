"""Preparation of chunks in processes, here or on a Dask cluster, which survives inputs that crash them.

Every worker computes with one thread. Sums split among threads differ in their last bits, so the number of
cores would change the data. That also applies to a single worker, so nothing is prepared in the calling
process. A chunk whose process dies (a crash in a mesh library, the system's out-of-memory killer) is tried
again alone, then object by object; only the object at fault is lost.
"""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from glob import escape
from types import TracebackType

from plumbline.console.text import processes
from plumbline.cores import num_cores
from plumbline.data.prepare.cluster import ClusterPool
from plumbline.data.prepare.cluster_tasks import Work
from plumbline.data.prepare.samples import Written, write_chunk
from plumbline.data.prepare.sources import Chunk
from plumbline.errors import InputError
from plumbline.processes import ProcessPool
from plumbline.records import GraphSettings, ScanSettings

_AHEAD = 2
"""Chunks per process that are submitted in advance."""
_LOOK = 5.0
"""Seconds between two looks at whether the cluster is still there."""


class Workers:
    """Processes for any number of data sets: started on first use, ended with the ``with`` block.

    Args:
        num: number of processes on this machine, at most; 0 for one per core.
        scheduler: address of the scheduler of a Dask cluster, whose workers are used instead; connected to at
            the start of the ``with`` block.
        work: called as ``work(chunk, scan, graph, dead)`` in a process; must be importable by name.

    Raises:
        InputError: the number of processes of a cluster is given.
    """

    def __init__(self, num: int = 0, *, scheduler: str | None = None, work: Work = write_chunk) -> None:
        if num and scheduler is not None:
            raise InputError(
                f"workers {num}: leave it out with scheduler {scheduler}, whose workers decide how many "
                "processes there are"
            )
        self._num, self._scheduler, self._work = num or num_cores(), scheduler, work
        self._pool: ProcessPool | ClusterPool | None = None

    def __enter__(self) -> "Workers":
        if self._scheduler is not None:
            self._pool = ClusterPool(self._scheduler)
            try:
                self._pool.refuse_empty()
            except InputError:
                self._end(at_once=True)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(at_once=error is not None)

    def title(self, num_chunks: int) -> str:
        """What prepares that many chunks, for the user."""
        if isinstance(self._pool, ClusterPool):
            return self._pool.title
        return processes(min(self._num, num_chunks or 1))

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
        """Work through ``waiting`` until the pool is broken. Returns the chunks whose process may have died.

        The death of a process breaks a pool on this machine, with all that is in progress; a cluster loses
        that chunk alone.
        """
        running: dict[Future[Written], Chunk] = {}
        suspects: list[Chunk] = []
        broken = False
        pool = self._pool = self._pool or self._start()
        while running or (waiting and not broken):
            while waiting and not broken and len(running) < _AHEAD * pool.num:
                try:
                    running[pool.submit(self._work, waiting[0], scan, graph, ())] = waiting[0]
                    waiting.popleft()
                except BrokenProcessPool:
                    broken = True
            for future in wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED).done:
                chunk = running.pop(future)
                try:
                    written = future.result()
                except BrokenProcessPool:
                    suspects.append(chunk)
                else:
                    yield chunk, written
            pool.check()
        if broken:
            self._end(at_once=True)
        return suspects

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
                "dying, perhaps for lack of memory: run the same command with fewer processes on a "
                "machine, or leave these objects out"
            )
        return written

    def _alone(
        self, chunk: Chunk, scan: ScanSettings, graph: GraphSettings, dead: Sequence[int]
    ) -> Written | None:
        """Write a chunk in a process of its own; return what it wrote, or None if it died."""
        own = None if isinstance(self._pool, ClusterPool) else ProcessPool(1)
        pool = own or self._pool  # a cluster gives every chunk a process of its own
        assert pool is not None
        died = True
        try:
            written = pool.submit(self._work, chunk, scan, graph, dead).result()
            died = False
        except BrokenProcessPool:
            _remove_halves(chunk)
            return None
        finally:
            if own is not None:
                own.end(at_once=died)
        return written

    def _start(self) -> ProcessPool | ClusterPool:
        return ProcessPool(self._num) if self._scheduler is None else ClusterPool(self._scheduler)

    def _end(self, *, at_once: bool) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.end(at_once=at_once)


def _remove_halves(chunk: Chunk) -> None:
    """Remove partial files left by processes that were stopped while writing the chunk's file."""
    for half in chunk.path.parent.glob(f".{escape(chunk.path.name)}.*.tmp"):
        half.unlink(missing_ok=True)
