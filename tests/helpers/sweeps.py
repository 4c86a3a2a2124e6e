"""Sweeps of tiny trainings, which stop in a step of theirs until a test lets them."""

import csv
import time
from collections.abc import Callable
from pathlib import Path

from tests.helpers.processes import DEADLINE
from tests.helpers.training_fixtures import flags

GATED = '''
"""A loss that waits in its {step}th call while a file is there, and says so."""

import os
import time
from pathlib import Path

HERE = Path(__file__).parent
calls = 0


def loss(error, bounding_radius):
    global calls
    calls += 1
    if calls == {step}:
        (HERE / f"arrived-{{os.getpid()}}").touch()
        while (HERE / "gate").exists():
            time.sleep(0.01)
    return error.abs().mean()
'''


def shared(data: Path, **changed: object) -> list[str]:
    """Flags of train that all trials share: a training of a second or two."""
    found = flags(data, Path("nowhere"), **changed)
    place = found.index("--checkpoint_dir")
    return found[:place] + found[place + 2 :]


def gated(folder: Path, step: int = 9) -> str:
    """The name of a loss that waits in a step of the second epoch until :func:`open_gate`."""
    (folder / "gated.py").write_text(GATED.format(step=step))
    (folder / "gate").touch()
    return f"{folder}/gated.py:loss"


def open_gate(folder: Path) -> None:
    """Let all trainings pass."""
    (folder / "gate").unlink()


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def arrived(folder: Path) -> list[int]:
    """The processes that have reached the gate."""
    return [int(path.name.removeprefix("arrived-")) for path in folder.glob("arrived-*")]


def table(out: Path) -> list[dict[str, str]]:
    """The rows of ``sweep.csv``."""
    with open(out / "sweep.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
