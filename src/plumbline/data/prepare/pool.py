"""A pool of processes that prepares chunks and outlives what it is fed.

Every worker computes with one thread: sums split among threads come out differently in their last bits,
so the number of cores would change the data. That also holds for a single worker, hence nothing is
prepared in the calling process. A chunk whose process dies (a crash in a mesh library, the system's
memory guard) is tried again alone, then object by object; only the object at fault is lost.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from glob import escape
from typing import Any

from plumbline.data.prepare.samples import write_chunk
from plumbline.data.prepare.sources import Chunk
from plumbline.errors import InputError

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_AHEAD = 2
"""Chunks per worker that are handed out at a time."""

Work = Callable[..., int]


def write_chunks(
    chunks: Sequence[Chunk], settings: Mapping[str, Any], *, workers: int, work: Work = write_chunk
) -> Generator[tuple[Chunk, int], None, None]:
    """Writes the part files of chunks in ``workers`` processes.

    Closing the generator, or an exception in it such as Ctrl-C, ends the processes at once; a part file
    is either complete or not there.

    Args:
        chunks: what to prepare.
        settings: passed on to ``work``.
        workers: processes, at least 1.
        work: called as ``work(chunk, settings, dead)`` in a worker; importable by its name.

    Yields:
        Each chunk as it is finished, in any order, with the number of its samples.

    Raises:
        InputError: an object kills every process that touches it, even when it is left out.
    """
    waiting = deque(chunks)
    with _one_thread():
        while waiting:
            suspects = yield from _until_broken(waiting, settings, workers, work)
            for chunk in suspects:
                _remove_halves(chunk)
                yield chunk, _find_culprit(chunk, settings, work)


def _until_broken(
    waiting: deque[Chunk], settings: Mapping[str, Any], workers: int, work: Work
) -> Generator[tuple[Chunk, int], None, list[Chunk]]:
    """Empties ``waiting``, or returns the chunks that were in flight when a process died."""
    running: dict[Future[int], Chunk] = {}
    with _executor(workers) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < _AHEAD * workers:
                    running[pool.submit(work, waiting[0], settings, ())] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    num_samples = future.result()
                    yield running.pop(future), num_samples
        except BrokenProcessPool:
            return list(running.values())
    return []


def _find_culprit(chunk: Chunk, settings: Mapping[str, Any], work: Work) -> int:
    """Writes a chunk that may kill its process, without the sources that do."""
    num_samples = _alone(chunk, settings, (), work)
    if num_samples is not None:
        return num_samples
    probe = chunk.path.with_suffix(".probe")
    dead = [
        position
        for position, source in enumerate(chunk.sources)
        if _alone(replace(chunk, path=probe, sources=(source,)), settings, (), work) is None
    ]
    probe.unlink(missing_ok=True)
    num_samples = _alone(chunk, settings, dead, work)
    if num_samples is None:
        raise InputError(
            f"the process that prepares {chunk.sources[0].title} to {chunk.sources[-1].title} dies again and "
            "again: there may be too little memory; run the same command with --workers 1, or leave them out"
        )
    return num_samples


def _alone(chunk: Chunk, settings: Mapping[str, Any], dead: Sequence[int], work: Work) -> int | None:
    """The number of samples, or None if the process died."""
    with _executor(1) as pool:
        try:
            return pool.submit(work, chunk, settings, dead).result()
        except BrokenProcessPool:
            _remove_halves(chunk)
            return None


def _remove_halves(chunk: Chunk) -> None:
    """Removes what processes that were stopped while they wrote the chunk's file have left of it."""
    for half in chunk.path.parent.glob(f".{escape(chunk.path.name)}.*.tmp"):
        half.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------- processes


@contextmanager
def _executor(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes are gone when the block ends, at once if it ends with an exception."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload([write_chunk.__module__])
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent, and ends with it however it ends."""
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
