"""The program of a tracker's process: takes rows as lines of JSON and hands them to W&B, TensorBoard, ...

It imports nothing of the training. It ends after the last row or when the training is gone, within bounded
time; the signals that stop a training do not end it earlier.
"""

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, Protocol

_IGNORED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
"""Batch systems send them to every process of a job."""

LINGER = 40.0
"""Seconds after the last row until the process ends in any case."""

_LONGEST = 300
"""Characters of a reason: servers may answer with whole pages."""

Tell = Callable[..., None]


class Unusable(Exception):
    """The tracker cannot be used, and trying again does not help."""


class Destination(Protocol):
    """Where rows go. What it raises ends it, and is reported."""

    def log(self, metrics: dict[str, float], step: int, when: float) -> None:
        """Store one row: its metrics, its step, and the time at which the training logged it."""

    def finish(self, exit_code: int) -> None:
        """Store what is not stored yet, within bounded time."""


def main() -> None:
    """Serve one tracker."""
    for name in _IGNORED:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    lines = os.fdopen(os.dup(0), "rb")
    statuses = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # no library may read from the training's pipe or write to it
        os.dup2(nothing, stream)

    def tell(**status: Any) -> None:
        with suppress(OSError):  # the training is gone
            statuses.write(json.dumps(status, allow_nan=False).encode() + b"\n")

    try:
        serve(received(lines), tell)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the training reports it
        tell(ended=reason(error), final=isinstance(error, Unusable))
        os._exit(1)  # wandb's exit hooks would wait for the server that has just failed
    else:
        tell(ended="")


def received(lines: Any) -> Iterator[dict[str, Any]]:
    """The messages, read in a thread of their own: the training is never kept waiting, nor its end missed."""
    messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def read() -> None:
        with suppress(ValueError):  # a line that was cut off
            for line in lines:
                messages.put(json.loads(line))
        messages.put(None)
        bound = threading.Timer(LINGER, os._exit, [1])
        bound.daemon = True
        bound.start()

    threading.Thread(target=read, daemon=True).start()
    while (message := messages.get()) is not None:
        yield message


def serve(messages: Iterator[dict[str, Any]], tell: Tell) -> None:
    """Open the tracker that the first message names, and pass it the rows."""
    start = next(messages, None)
    if start is None:
        return
    sys.argv = start["argv"]
    module = import_module(f"plumbline.training.show.{start['tracker']}")
    destination: Destination = module.open_run(start, tell)
    tell(working=True)
    exit_code = 1  # unless the training says otherwise, it was killed
    for message in messages:
        exit_code = message.get("exit_code", exit_code)
        if "metrics" in message:
            destination.log(message["metrics"], message["step"], message["time"])
    destination.finish(exit_code)


@contextmanager
def importing(package: str) -> Iterator[None]:
    """Raise Unusable if an import in the block fails, of the package itself or of anything that it needs."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise Unusable(f"it is not installed (pip install {package})") from error
        raise Unusable(f"it is installed, but broken ({type(error).__name__}: {reason(error)})") from error


def reason(error: BaseException) -> str:
    """An error in its own words, in one line."""
    details = getattr(error, "errors", None)
    if callable(details) and type(error).__module__.startswith("pydantic"):
        return "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
            for item in details()
        )
    text = str(error).strip()
    line = text.splitlines()[0].rstrip(".") if text else type(error).__name__
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
