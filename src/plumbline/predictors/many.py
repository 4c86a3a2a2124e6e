"""Looks at many scans ahead of the model, in this process or in several."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from plumbline.errors import InputError
from plumbline.geometry.clouds import Cloud
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.looking import Look, Seen, try_look
from plumbline.processes import ProcessPool

Source = ArrayLike | Cloud | InputError | Callable[[], ArrayLike | Cloud | InputError]
"""A scan, the reason why there is none, or a function that reads one."""
_AHEAD = 8
"""Scans per process that are handed out in advance."""


class _Task(NamedTuple):
    name: str
    source: Any
    how: Look
    form: GraphForm


def looks(
    sources: Iterable[Source], how: Look, form: GraphForm, workers: int
) -> Generator[Seen | InputError, None, None]:
    """Convert scans to graphs, in order.

    Args:
        sources: scans, or functions without arguments that return one. With several processes the functions
            are called there, so they must be importable by name, such as ``functools.partial(load_cloud,
            path)``.
        how: how each scan is looked at.
        form: the graphs.
        workers: number of processes; 1: the scans are looked at in this one.

    Yields:
        A scan as graphs, or an ``InputError``: the one given, or why the scan cannot be used.
    """
    tasks = (_Task(_name(source, number), source, how, form) for number, source in enumerate(sources, 1))
    if workers == 1:
        yield from map(_look, tasks)
        return
    pool = ProcessPool(workers)
    running: deque[tuple[_Task, Future[Seen | InputError]]] = deque()
    finished = False
    try:
        for task in tasks:
            running.append((task, pool.submit(_look, task)))
            if len(running) == _AHEAD * workers:
                pool, seen = _first(running, pool, workers)
                yield seen
        while running:
            pool, seen = _first(running, pool, workers)
            yield seen
        finished = True
    finally:
        pool.end(at_once=not finished)


def _name(source: Source, number: int) -> str:
    """What messages call a scan that has no name yet: the file that is read, or its number."""
    given = source.args[0] if isinstance(source, partial) and source.args else None
    return str(given) if isinstance(given, str | os.PathLike) else f"scan {number}"


def _first(
    running: deque[tuple[_Task, Future[Seen | InputError]]], pool: ProcessPool, workers: int
) -> tuple[ProcessPool, Seen | InputError]:
    """The first result; if a process died, it may be that of any scan, so the first one gets its own.

    The others are looked at again, but for those that are finished.
    """
    task, future = running.popleft()
    try:
        return pool, future.result()
    except BrokenProcessPool:
        pool.end(at_once=True)
    seen = _alone(task)
    pool = ProcessPool(workers)
    for i, (other, earlier) in enumerate(running):
        if earlier.cancelled() or earlier.exception() is not None:
            running[i] = other, pool.submit(_look, other)
    return pool, seen


def _alone(task: _Task) -> Seen | InputError:
    """Look at a scan in a process of its own, which it may kill."""
    pool = ProcessPool(1)
    try:
        return pool.submit(_look, task).result()
    except BrokenProcessPool:
        return InputError(
            f"{task.name}: the process that read it died, perhaps for lack of memory; give it alone"
        )
    finally:
        pool.end(at_once=True)


def _look(task: _Task) -> Seen | InputError:
    try:
        scan = task.source() if callable(task.source) else task.source
    except InputError as error:
        return error
    return try_look(scan, task.name, task.how, task.form)
