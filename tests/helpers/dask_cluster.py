"""A real cluster of Dask on this machine: a scheduler and workers, each a process of its own."""

import json
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

from tests.helpers import ROOT
from tests.helpers.processes import DEADLINE, tied
from tests.helpers.trackers import until
from tests.helpers.training_fixtures import fresh_environment

BLIND = """
import builtins, io, os
original = io.open
def blind(file, *args, **kwargs):
    if str(file).startswith(os.environ["HIDDEN"]):
        raise FileNotFoundError(2, "No such file or directory", str(file))
    return original(file, *args, **kwargs)
io.open = builtins.open = blind
"""
"""Code that hides the files under ``$HIDDEN`` from a worker."""


class Cluster:
    """A scheduler without workers; whatever is started ends with the ``with`` block.

    Args:
        folder: of logs and scratch files.
        code: runs in the scheduler first.
        environment: what the scheduler's has in addition.
    """

    def __init__(self, folder: Path, *, code: str = "", **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._stack = folder, ExitStack()
        file = folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler", environment,
            f"{code}\nfrom distributed.cli.dask_scheduler import main; main()", "--host", "127.0.0.1",
            "--port", "0", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file),
        )  # fmt: skip
        until(lambda: _address(file))
        self.address = _address(file)
        self.workers: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, name: str, *, code: str = "", nanny: bool = False, threads: int = 1, **environment: str):
        """Start a worker of that name; ``code`` runs in it first. Waits until the scheduler knows it."""
        log = self.folder / f"{name}.log"
        self.workers[name] = self._start(
            name, environment, f"{code}\nfrom distributed.cli.dask_worker import main; main()",
            self.address, "--name", name, "--nthreads", str(threads), "--no-dashboard",
            "--nanny" if nanny else "--no-nanny", "--local-directory", str(self.folder / name),
        )  # fmt: skip
        until(lambda: "Registered to" in log.read_text() or self.workers[name].poll() is not None)
        assert self.workers[name].poll() is None, log.read_text()

    def address_of(self, name: str) -> str:
        """The address of a worker."""
        log = (self.folder / f"{name}.log").read_text()
        return log.partition("Start worker at:")[2].split()[0]

    def children(self, name: str) -> list[psutil.Process]:
        """The processes that do the work of a worker without a nanny."""
        found = psutil.Process(self.workers[name].pid).children(recursive=True)
        with suppress(psutil.NoSuchProcess):  # ended meanwhile
            return [process for process in found if "spawn_main" in " ".join(process.cmdline())]
        return self.children(name)

    def kill(self, name: str) -> None:
        """Kill a worker without a nanny, and wait for its end."""
        self.workers[name].kill()
        self.workers[name].wait(DEADLINE)

    def remove(self, name: str) -> None:
        """Kill a worker without a nanny, and wait until the scheduler knows that it is gone."""
        address, log = self.address_of(name), self.folder / "scheduler.log"
        self.kill(name)
        del self.workers[name]
        until(lambda: f"Remove worker addr: {address} " in log.read_text())

    def _start(self, name: str, environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
        log = self._stack.enter_context((self.folder / f"{name}.log").open("w"))
        settings = {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT), **environment}
        return self._stack.enter_context(
            tied(*arguments, stdout=log, env=fresh_environment(**settings), cwd=self.folder)
        )


def _address(file: Path) -> str:
    """The address in a scheduler's file; empty until all of it is written."""
    with suppress(FileNotFoundError, json.JSONDecodeError):
        return str(json.loads(file.read_text())["address"])
    return ""
