"""What a worker of a Dask cluster does with a chunk: check that it may, and write it in a process of its own.

The process is started as those of the local pool are, so it computes the same bytes, and a mesh that kills it
costs the worker nothing. Everything here runs on the workers.
"""

import functools
import hashlib
import platform
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import plumbline
from plumbline.data.prepare.samples import Written
from plumbline.data.prepare.sources import Chunk, caster_name, library_versions, with_digest
from plumbline.errors import InputError
from plumbline.processes import ProcessPool
from plumbline.records import GraphSettings, ScanSettings

_PATIENCE = 5.0
"""Seconds within which a network file system must show a new file."""
_POLL = 0.5
"""Seconds between two looks whether a task is still wanted."""
_KEPT = 30.0
"""Seconds for which an idle process is kept for the next task."""

Work = Callable[[Chunk, ScanSettings, GraphSettings, Sequence[int]], Written]

_idle: dict[ProcessPool, float] = {}
"""Processes without work, and since when."""


class Terms(NamedTuple):
    """What a worker must have in common with the client.

    Attributes:
        token_file: file in the output folder.
        token: content of that file.
        versions: of all that determines the bytes, by name.
        last_bits: see :func:`last_bits`.
    """

    token_file: Path
    token: str
    versions: dict[str, str]
    last_bits: str


@functools.cache
def versions() -> dict[str, str]:
    """Versions of all that determines the bytes of a part here, and of the package that carries the tasks."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "machine": platform.machine(),
        "plumbline": plumbline.__version__,
        **library_versions(),
        "caster": caster_name(),
        "distributed": version("distributed"),
    }


@functools.cache
def last_bits() -> str:
    """A hash of what this machine computes, to the last bit, which depends on the kind of its processor."""
    rng, digest = np.random.default_rng(0), hashlib.sha256()
    for size in (3, 17, 64):  # libraries compute larger products with several threads
        double = rng.standard_normal((size, size))
        for x in (double, double.astype(np.float32)):
            results = (
                x @ x.T,
                x @ x[0],
                x.sum(0),
                np.exp(x),
                np.sin(x),
                np.arctan2(x, x.T),
                np.linalg.inv(x),
            )
            for result in results:
                digest.update(result.tobytes())
    return digest.hexdigest()


def refuse(terms: Terms, dask_worker: Any) -> None:
    """Refuse a worker that would write other bytes, or elsewhere. Raises InputError, naming the worker.

    Dask fills in an argument of the name ``dask_worker``.
    """
    for name, wanted in terms.versions.items():
        found = versions()[name]
        if found != wanted:
            raise InputError(
                f"{_called(dask_worker)} has {name} {found}, and {wanted} is needed, because the data would "
                "differ: install the same versions on all workers"
            )
    if last_bits() != terms.last_bits:
        raise InputError(
            f"{_called(dask_worker)} computes other last bits than this machine, because its processor is of "
            "another kind: use workers of one kind, and run this command on a machine of that kind"
        )
    folder, reason = terms.token_file.parent, _unseen(terms)
    if reason:
        raise InputError(
            f"{_called(dask_worker)} does not see the output folder {folder} ({reason}): give a folder on a "
            "file system that this machine and all workers share under the same path"
        )


def write_remotely(
    work: Work,
    chunk: Chunk,
    scan: ScanSettings,
    graph: GraphSettings,
    dead: Sequence[int],
    terms: Terms,
) -> Written:
    """Do ``work`` in a process of its own, which ends at once if the client no longer wants the result.

    Raises:
        InputError: this worker is refused, or does not see the inputs.
        BrokenProcessPool: the process died.
    """
    from distributed import get_worker

    worker = get_worker()
    refuse(terms, worker)
    _refuse_other_inputs(chunk, worker)
    key = worker.get_current_task()
    pool = _take()
    try:
        future = pool.submit(work, chunk, scan, graph, dead)
        while not wait([future], timeout=_POLL).done:
            if not _is_wanted(worker, key):
                raise BrokenProcessPool("ended: the client has cancelled the task")
        written = future.result()
    except BaseException:
        pool.end(at_once=True)
        raise
    _keep(pool, worker.loop)
    return written


def _called(worker: Any) -> str:
    return f"the Dask worker {worker.address} on {socket.gethostname()}"


def _unseen(terms: Terms) -> str:
    """Why the token cannot be read here; empty if it can."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            found = terms.token_file.read_text("ascii")
        except FileNotFoundError as error:
            reason = str(error.strerror)
        except (OSError, UnicodeDecodeError) as error:
            return getattr(error, "strerror", None) or "it is another folder"
        else:
            return "" if found == terms.token else "it is another folder"
        if time.monotonic() > deadline:
            return reason
        time.sleep(_POLL)


def _refuse_other_inputs(chunk: Chunk, worker: Any) -> None:
    """Refuse a worker that does not see the files of the inputs, or sees others. Raises InputError."""
    for source in chunk.sources:
        if source.path is None or source.refused:
            continue
        seen = with_digest(replace(source, digest=""))
        if seen.digest != source.digest:
            reason = seen.refused or "the file has other content there"
            raise InputError(
                f"{_called(worker)} does not see the input {source.path} ({reason}): the inputs must be on a "
                "file system that this machine and all workers share under the same path"
            )


def _is_wanted(worker: Any, key: Any) -> bool:
    state = worker.state.tasks.get(key)
    return state is not None and state.state != "cancelled"


def _take() -> ProcessPool:
    """An idle process, or a new one."""
    try:
        return _idle.popitem()[0]
    except KeyError:
        return ProcessPool(1)


def _keep(pool: ProcessPool, loop: Any) -> None:
    """Keep a process for the next task; end it if there is none."""
    since = _idle[pool] = time.monotonic()

    def retire() -> None:
        if _idle.get(pool) == since:
            del _idle[pool]
            pool.end(at_once=True)

    loop.add_callback(loop.call_later, _KEPT, retire)
