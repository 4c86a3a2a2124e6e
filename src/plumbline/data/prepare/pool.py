"""Processes that prepare chunks and outlive what they are fed.

Every worker computes with one thread: sums split among threads come out differently in their last bits,
so the number of cores would change the data. That also holds for a single worker, hence nothing is
prepared in the calling process. A chunk whose process dies (a crash in a mesh library, the system's
memory guard) is tried again alone, then object by object; only the object at fault is lost.

The processes are new ones, whatever the caller is (a script, a notebook, a thread of a server): they import
this package and not the caller's ``__main__``, and end with the caller however it ends.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from glob import escape
from importlib.machinery import ModuleSpec
from multiprocessing.context import SpawnContext, SpawnProcess
from types import TracebackType
from typing import Any

from plumbline.cores import num_cores
from plumbline.data.prepare.samples import write_chunk
from plumbline.data.prepare.sources import Chunk
from plumbline.errors import InputError
from plumbline.records import GraphSettings, ScanSettings

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_AHEAD = 2
"""Chunks per worker that are handed out at a time."""

Work = Callable[[Chunk, ScanSettings, GraphSettings, Sequence[int]], int]


class Workers:
    """Processes for one data set after another: started when there is work, gone when the block ends.

    Args:
        num: processes at most; 0 for one per core.
        work: called as ``work(chunk, scan, graph, dead)`` in a worker; importable by its name.
    """

    def __init__(self, num: int = 0, *, work: Work = write_chunk) -> None:
        self.num = num or num_cores()
        self._work = work
        self._pool: _Pool | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(at_once=error is not None)

    def write(
        self, chunks: Sequence[Chunk], scan: ScanSettings, graph: GraphSettings
    ) -> Generator[tuple[Chunk, int], None, None]:
        """Write the part files of chunks.

        Closing the generator, or an exception in it such as Ctrl-C, ends the processes at once; a part file
        is either complete or not there.

        Yields:
            Each chunk as it is finished, in any order, with the number of its samples.

        Raises:
            InputError: an object kills every process that touches it, even when it is left out.
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
    ) -> Generator[tuple[Chunk, int], None, list[Chunk]]:
        """Empty ``waiting``, or return the chunks that were in flight when a process died."""
        running: dict[Future[int], Chunk] = {}
        self._pool = self._pool or _Pool(self.num)
        try:
            while waiting or running:
                while waiting and len(running) < _AHEAD * self.num:
                    running[self._pool.submit(self._work, waiting[0], scan, graph, ())] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    num_samples = future.result()
                    yield running.pop(future), num_samples
        except BrokenProcessPool:
            self._end(at_once=True)
            return list(running.values())
        return []

    def _find_culprit(self, chunk: Chunk, scan: ScanSettings, graph: GraphSettings) -> int:
        """Write a chunk that may kill its process, without the sources that do."""
        num_samples = self._alone(chunk, scan, graph, ())
        if num_samples is not None:
            return num_samples
        probe = chunk.path.with_suffix(".probe")
        dead = [
            position
            for position, source in enumerate(chunk.sources)
            if self._alone(replace(chunk, path=probe, sources=(source,)), scan, graph, ()) is None
        ]
        probe.unlink(missing_ok=True)
        num_samples = self._alone(chunk, scan, graph, dead)
        if num_samples is None:
            raise InputError(
                f"the process that prepares {chunk.sources[0].title} to {chunk.sources[-1].title} dies again "
                "and again: there may be too little memory; run the same command with --workers 1, or leave "
                "them out"
            )
        return num_samples

    def _alone(
        self, chunk: Chunk, scan: ScanSettings, graph: GraphSettings, dead: Sequence[int]
    ) -> int | None:
        """The number of samples, or None if the process died."""
        pool = _Pool(1)
        died = True
        try:
            num_samples = pool.submit(self._work, chunk, scan, graph, dead).result()
            died = False
        except BrokenProcessPool:
            _remove_halves(chunk)
            return None
        finally:
            pool.end(at_once=died)
        return num_samples

    def _end(self, *, at_once: bool) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.end(at_once=at_once)


def _remove_halves(chunk: Chunk) -> None:
    """Remove what processes that were stopped while they wrote the chunk's file have left of it."""
    for half in chunk.path.parent.glob(f".{escape(chunk.path.name)}.*.tmp"):
        half.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------- processes


class _Process(SpawnProcess):
    """A process that computes with one thread, leaves Ctrl-C to its parent, and imports no ``__main__``."""

    def start(self) -> None:
        """Start it; what it inherits is as before when this returns."""
        with _STARTING, _one_thread(), _without_main(), _without_interrupts():
            super().start()


_STARTING = threading.Lock()
"""What a process inherits is the whole program's."""


class _Context(SpawnContext):
    """Remembers its processes, so that none of another pool is ended with them."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[_Process] = []

    def Process(self, *args: Any, **kwargs: Any) -> _Process:  # type: ignore[override]
        self.started.append(_Process(*args, **kwargs))
        return self.started[-1]


class _Pool:
    """A pool of processes."""

    def __init__(self, num: int) -> None:
        self._context = _Context()
        self._executor = ProcessPoolExecutor(num, mp_context=self._context, initializer=_start_worker)
        self.submit = self._executor.submit

    def end(self, *, at_once: bool) -> None:
        """Wait for the processes to end, or end them."""
        if at_once:
            for process in self._context.started:
                if process.pid is not None:
                    process.terminate()
        self._executor.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started within compute with one thread each; libraries read this when they load."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes started within do not run the caller's script, which may have no guard against that."""
    main = sys.modules["__main__"]
    before = main.__spec__
    main.__spec__ = ModuleSpec("plumbline.__main__", None)  # multiprocessing imports no package's __main__
    try:
        yield
    finally:
        main.__spec__ = before


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started within do not see Ctrl-C, not even before they can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
