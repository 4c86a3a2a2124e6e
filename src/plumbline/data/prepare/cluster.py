"""Preparation of chunks on a Dask cluster: the client's side.

A :class:`ClusterPool` takes the place of a :class:`~plumbline.processes.ProcessPool`. The part files go
through a file system that all machines share, so that tasks and results are small.
"""

import asyncio
import logging
import os
import secrets
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from plumbline.console.text import processes
from plumbline.data.prepare.cluster_tasks import Terms, Work, last_bits, refuse, versions, write_remotely
from plumbline.data.prepare.samples import Written
from plumbline.data.prepare.sources import Chunk, Source
from plumbline.errors import InputError
from plumbline.records import GraphSettings, ScanSettings

_CONNECT = 10.0
"""Seconds to wait for a scheduler at an address where nothing listens yet."""
_BUSY = 60.0
"""Seconds to wait for the answer of a scheduler that listens, but may be busy."""
_LOOK = 5.0
"""Seconds between two looks at how many workers there are."""
_DESERTED = 60.0
"""Seconds without a worker after which the preparation ends; a worker that died is replaced sooner."""
_VISIBLE = 60.0
"""Seconds within which a network file system must show what a worker has written."""
_KEPT = "finished work is kept: run the same command again to resume"


class ClusterPool:
    """Does the work of a process pool on the workers of a Dask cluster, each thread of them a process.

    Args:
        address: of the scheduler, such as ``tcp://node1:8786``.

    Raises:
        InputError: ``distributed`` is not installed, or no scheduler answers.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._terms: dict[Path, Terms] = {}
        self._wanted: set[Any] = set()
        with _quiet():
            self._client = _connect(address)
        self._populated = time.monotonic()
        self._looked = -_LOOK
        self._threads = 0
        try:
            self.check()
        except BaseException:
            self.end(at_once=True)
            raise

    @property
    def num(self) -> int:
        """Number of chunks that are prepared at the same time; 1 if all workers are being replaced."""
        return max(self._threads, 1)

    def refuse_empty(self) -> None:
        """Refuse a cluster without workers. Raises InputError."""
        if not self._threads:
            raise InputError(
                f"the scheduler {self._address} has no workers: start some with dask worker {self._address}"
            )

    @property
    def title(self) -> str:
        """What does the work, for the user."""
        return f"the Dask cluster {self._address} ({processes(self._threads)})"

    def submit(
        self, work: Work, chunk: Chunk, scan: ScanSettings, graph: GraphSettings, dead: Sequence[int]
    ) -> Future[Written]:
        """Start ``work`` on a worker. Its future raises what ``work`` does, and as that of a process pool:

        Raises:
            BrokenProcessPool: the process, or worker after worker, died.
            InputError: a worker is refused, or the scheduler is lost.
        """
        from distributed.protocol.pickle import dumps, loads

        local: Future[Written] = Future()
        try:
            terms = self._admit(chunk.path.absolute().parent)
            call = _Call(write_remotely, (work, _absolute(chunk), scan, graph, tuple(dead), terms))
            key = f"plumbline-prepare-{secrets.token_hex(16)}"
            remote = self._client.submit(loads, dumps(call), key=key, pure=False)
        except (OSError, CancelledError, RuntimeError) as error:
            raise self._lost() from error
        self._wanted.add(remote)  # a task that nobody refers to is cancelled

        def hand_over(done: Any) -> None:
            self._wanted.discard(done)
            try:
                local.set_result(self._result(done, chunk))
            except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
                local.set_exception(error)

        remote.add_done_callback(hand_over)
        return local

    def check(self) -> None:
        """Look how many workers there are. Raises InputError if there is none for long, or no scheduler."""
        if time.monotonic() - self._looked < _LOOK:
            return
        try:
            self._threads = sum(self._client.nthreads().values())
        except Exception as error:
            raise self._lost() from error
        self._looked = time.monotonic()
        if self._threads:
            self._populated = self._looked
        elif self._looked - self._populated > _DESERTED:
            raise InputError(f"the scheduler {self._address} has no workers left; {_KEPT}")

    def end(self, *, at_once: bool) -> None:
        """Disconnect, which cancels what is in progress; the processes that work on it end in a second."""
        with _quiet(), suppress(Exception):
            self._client.close(timeout=_LOOK)
        for terms in self._terms.values():
            with suppress(OSError):
                terms.token_file.unlink()

    def _admit(self, folder: Path) -> Terms:
        """Have every worker read a new file in the folder. Raises InputError if one cannot."""
        if folder in self._terms:
            return self._terms[folder]
        token = secrets.token_hex(16)
        terms = Terms(folder / f"token-{secrets.token_hex(4)}", token, versions(), last_bits())
        terms.token_file.write_text(token, "ascii")
        self._terms[folder] = terms
        for worker, answer in self._client.run(refuse, terms, on_error="return").items():
            if isinstance(answer, BaseException):
                error = self._translated(answer, f"the Dask worker {worker}")
                if not isinstance(error, InputError):  # of another version, which takes other arguments
                    error = InputError(
                        f"the Dask worker {worker} cannot check its versions ({error}): install the same "
                        "versions as here on all workers"
                    )
                raise error from answer
        return terms

    def _result(self, remote: Any, chunk: Chunk) -> Written:
        try:
            written: Written = remote.result()
        except Exception as error:
            raise self._translated(error, "a Dask worker") from error
        _await_file(chunk.path)
        return written

    def _translated(self, error: BaseException, who: str) -> BaseException:
        """What an error of the cluster means here."""
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            return BrokenProcessPool(str(error))
        if isinstance(error, CancelledError):
            return self._lost()
        if "No module named 'plumbline" in f"{error} {error.__cause__}":
            return InputError(
                f"{who} has no plumbline of this version: install the same versions on all workers"
            )
        return error

    def _lost(self) -> InputError:
        return InputError(f"the scheduler {self._address} was lost; {_KEPT}")


class _Call:
    """A call as an object: unpickling it does the call, and its result is the result.

    A worker that cannot import what is called fails with an error of the task. If it could not read the task
    itself, Dask would end the worker, and the chunk would look as if it had killed it. The scheduler reads
    tasks too, and so needs no plumbline.
    """

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._function, self._arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._function, self._arguments


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            f"--scheduler needs {error.name or 'distributed'}: pip install distributed"
        ) from error
    try:
        with ThreadPoolExecutor(1) as thread:  # the caller may have an event loop of its own
            found = thread.submit(asyncio.run, _scheduler_version(address)).result()
        if found == version("distributed"):
            return Client(address, timeout=_BUSY, set_as_default=False, name="plumbline")
    except Exception as error:
        raise InputError(
            f"no Dask scheduler answers at {address}: start one with dask scheduler, and give the address "
            "that it prints"
        ) from error
    raise InputError(
        f"the scheduler {address} has distributed {found}, and {version('distributed')} is needed: install "
        "the same versions for the scheduler and all workers"
    )


async def _scheduler_version(address: str) -> str:
    """Version of the scheduler. A client would wait for others without end, or print tracebacks."""
    from distributed.core import rpc
    from distributed.security import Security

    async with asyncio.timeout(_BUSY):
        server = rpc(address, timeout=_CONNECT, connection_args=Security().get_connection_args("client"))
        async with server:
            if (await server.identity())["type"] != "Scheduler":
                raise ConnectionError(f"{address} belongs to a worker")
            return str((await server.versions())["packages"]["distributed"])


def _absolute(chunk: Chunk) -> Chunk:
    """The chunk with absolute paths: the workers have working directories of their own."""
    return replace(
        chunk, path=chunk.path.absolute(), sources=tuple(_absolute_source(source) for source in chunk.sources)
    )


def _absolute_source(source: Source) -> Source:
    if source.path is None:
        return source
    path = source.path.absolute()
    return replace(source, path=path, label=source.label and replace(source.label, path=path))


def _await_file(path: Path) -> None:
    """Wait until a network file system shows here what a worker has written. Raises InputError."""
    deadline = time.monotonic() + _VISIBLE
    while not path.exists():
        if time.monotonic() > deadline:
            raise InputError(
                f"{path}, which a Dask worker has written, does not appear here: the output folder must be "
                f"on a file system that shows new files to all machines within {_VISIBLE:.0f} s"
            )
        with suppress(OSError):
            os.listdir(path.parent)  # has a network file system look again
        time.sleep(0.1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep distributed from logging and warning of what is reported as an error, in this package's words."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client", "distributed.core")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
