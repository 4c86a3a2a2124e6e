"""Worker processes that compute with one thread and never run the caller's script.

Sums that are split among threads differ in their last bits, so each process has one thread. Processes are
spawned, whatever the caller is (a script, a notebook, a thread of a server). They import this package but not
the caller's ``__main__``, and end with the caller however it ends.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

_MOST_ON_WINDOWS = 61
"""``ProcessPoolExecutor`` refuses more: Windows waits for at most 63 things, and two are its own."""


class _Process(SpawnProcess):
    """A process that computes with one thread, ignores Ctrl-C, and does not import ``__main__``."""

    def start(self) -> None:
        """Start the process; the environment that it inherits is restored before this returns."""
        with _STARTING, _one_thread(), _without_main(), _without_interrupts(), _also_from_a_daemon():
            super().start()


_STARTING = threading.Lock()
"""Held while a process starts, because the environment that it inherits belongs to the whole program."""


class _Context(SpawnContext):
    """A context that records its processes, so that ending a pool does not end those of another."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[_Process] = []

    def Process(self, *args: Any, **kwargs: Any) -> _Process:  # type: ignore[override]
        self.started.append(_Process(*args, **kwargs))
        return self.started[-1]


class ProcessPool:
    """A pool of processes; ``submit`` runs a function that can be imported by its name in one of them.

    Args:
        num: number of processes, at most, and 61 at most on Windows; they start when they are needed.
    """

    def __init__(self, num: int) -> None:
        self.num = num
        self._context = _Context()
        if os.name == "nt":
            num = min(num, _MOST_ON_WINDOWS)
        self._executor = ProcessPoolExecutor(num, mp_context=self._context, initializer=_start_worker)
        self.submit = self._executor.submit

    def check(self) -> None:
        """Do nothing: processes on this machine are not lost unnoticed."""

    def end(self, *, at_once: bool) -> None:
        """Wait for the processes to end, or terminate them at once."""
        if at_once:
            for process in self._context.started:
                if process.pid is not None:
                    process.terminate()
        self._executor.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Ignore Ctrl-C, and end when the parent ends, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Make processes started within compute with one thread each; libraries read this when they load."""
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
    """Keep processes started within from running the caller's script, which may lack a ``__main__`` guard."""
    main = sys.modules["__main__"]
    before = main.__spec__
    # multiprocessing never imports a package's __main__
    main.__spec__ = ModuleSpec("plumbline.__main__", None)
    try:
        yield
    finally:
        main.__spec__ = before


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block Ctrl-C in processes started within, even before they can ignore it themselves."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _also_from_a_daemon() -> Iterator[None]:
    """Let a daemonic process, such as a worker of Dask, start processes within.

    Python forbids it because they would outlive their parent when it is terminated; ours never do.
    """
    config: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    before = config.get("daemon")
    config["daemon"] = False
    try:
        yield
    finally:
        if before is None:
            del config["daemon"]
        else:
            config["daemon"] = before
