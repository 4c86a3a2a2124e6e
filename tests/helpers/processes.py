"""Processes that tests start: with the tests' environment, a deadline, and an end."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.helpers.training_fixtures import ROOT, fresh_environment

DEADLINE = 300
"""Seconds for whatever a test waits for: many times what it takes on a slow and busy machine."""
_GUARDED = (
    f"import os, signal, sys; signal.alarm({DEADLINE}); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
_TIED = """
def _tie():
    import os, threading
    def end():
        while os.read(0, 1):
            pass
        os._exit(1)
    threading.Thread(target=end, daemon=True).start()
_tie()
"""


@contextmanager
def running(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Python in a process of its own, its output and errors in one pipe; ``options`` are those of ``Popen``.

    It is killed at the end of the block, and at the deadline by the system, even if the tests are killed.
    """
    guard = ["-c", _GUARDED] if os.name == "posix" else []
    chosen: dict[str, Any] = {
        "cwd": ROOT, "env": fresh_environment(), "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT,
        "text": True,
    }  # fmt: skip
    with subprocess.Popen([sys.executable, *guard, *arguments], **chosen | options) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def tied(code: str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Python code in a process that ends with the tests, however they end, and otherwise with the block.

    For what serves several tests: it has no deadline, which would be over in the middle of one of them.
    """
    chosen: dict[str, Any] = {"stdin": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([sys.executable, "-c", _TIED + code, *arguments], **chosen | options) as process:
        try:
            yield process
        finally:
            process.kill()
