"""A tracker of the user's own, in the process of a tracker."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Any

from plumbline.errors import InputError
from plumbline.own_parts import load, reason
from plumbline.training.show.tracker_program import Destination, Tell, Unusable


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told when it starts.

    Attributes:
        run_id: a random text, the same for a training and the trainings that resume it.
        config: the flags of the training, and under ``"dataset"`` statistics of the data set.
        folder: run folder.
        resume_step: step of the checkpoint that training resumes from: rows of later steps that an earlier
            training has logged do not count, since they come again. None for a new training.
        say: prints a sentence in the training's output, such as where the run can be seen.
    """

    run_id: str
    config: dict[str, Any]
    folder: Path
    resume_step: int | None
    say: Callable[[str], None]


def open_run(start: dict[str, Any], tell: Tell) -> "OwnTracker":
    """Make an object of the user's class, which gets a :class:`TrackedRun`.

    Args:
        start: ``own``, the class as ``path/to/file.py:ClassName``; the rest as in the record.
        tell: receives what it says.

    Raises:
        Unusable: the file or the class fails, or the class lacks a method.
    """
    run = TrackedRun(
        start["run_id"],
        start["config"],
        Path(start["folder"]),
        start["resume_step"],
        lambda text: tell(say=str(text)),
    )
    with _located(start["own"]):
        made = load(start["own"])(run)
        for method in ("log", "finish"):
            if not callable(getattr(made, method, None)):
                raise Unusable(f"it has no method {method}")
    return OwnTracker(made, start["own"])


class OwnTracker:
    """The user's tracker, whose errors say where they come from.

    Args:
        made: the user's object.
        name: its class as ``path/to/file.py:ClassName``.
    """

    def __init__(self, made: Destination, name: str) -> None:
        self._made, self._name = made, name

    def log(self, metrics: dict[str, float], step: int, when: float) -> None:
        """Hand on a row."""
        with _located(self._name):
            self._made.log(metrics, step, when)

    def finish(self, exit_code: int) -> None:
        """Hand on the end."""
        with _located(self._name):
            self._made.finish(exit_code)


@contextmanager
def _located(name: str) -> Iterator[None]:
    """Name the line of the user's file from which an error in the block comes."""
    try:
        yield
    except (Unusable, InputError):
        raise
    except Exception as error:
        file = name.rpartition(":")[0]
        lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file]
        raise Unusable(f"{reason(error)} (line {lines[-1]})" if lines else reason(error)) from error
