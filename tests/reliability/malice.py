"""Files that would do harm if anything in them were executed, and processes that would show it."""

import io
import os
import pickle
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from tests.helpers.training_fixtures import ROOT, fresh_environment

HOW = ("system", "eval", "nested")


class Touch:
    """Leaves a file behind if it is ever unpickled.

    Args:
        trace: the file.
        how: ``system`` and ``eval`` call these; ``nested`` has torch read the bytes of a storage, which are
            another pickle, as torch itself does for a tensor within a tensor.
    """

    def __init__(self, trace: Path, how: str = "system") -> None:
        self.trace, self.how = str(trace), how

    def __reduce__(self) -> tuple[Any, ...]:
        if self.how == "system":
            return os.system, (f"touch {shlex.quote(self.trace)}",)
        if self.how == "eval":
            return eval, (f"open({self.trace!r}, 'w').close()",)
        buffer = io.BytesIO()
        pickle.dump(Touch(Path(self.trace)), buffer)
        return torch.storage._load_from_bytes, (buffer.getvalue(),)


def unpickle(path: Path) -> Any:
    """What no program should do with a file of somebody else's."""
    return pickle.loads(path.read_bytes())  # noqa: S301


def plumbline(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "plumbline", *map(str, arguments)],
        cwd=ROOT, env=fresh_environment(**environment), capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One sentence, exit code 2, nothing else on the error stream."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr
