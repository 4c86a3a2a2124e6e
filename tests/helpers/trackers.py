"""The trackers of a training that is none, and what becomes of their rows."""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from plumbline import train_settings
from plumbline.training.show.tracking import Trackers, open_trackers
from tests.helpers.processes import DEADLINE
from tests.helpers.training_fixtures import telling


class Logging:
    """Trackers that log rows of made-up numbers; ``said`` is what the user was told."""

    def __init__(
        self,
        folder: Path,
        *,
        kept: dict[str, str] | None = None,
        config: dict[str, Any] | None = None,
        resume_step: int | None = None,
        **flags: Any,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.said: list[str] = []
        self.trackers: Trackers = open_trackers(
            train_settings(checkpoint_dir=folder, **{"use_wandb": True, **flags}),
            config={"lr": 1} if config is None else config,
            resume_step=resume_step,
            kept=dict(kept or {}),
            report=telling(self.said),
        )

    def log(self, steps: Iterable[int]) -> None:
        """One row per step."""
        for step in steps:
            self.trackers.log({"epoch": 0, "val_loss": step / 7}, step)

    def until_said(self, text: str) -> str:
        """Wait for a sentence with this text, asking for news as a running training does, and return it."""

        def found() -> list[str]:
            self.trackers.tell()
            return [sentence for sentence in self.said if text in sentence]

        until(found)
        return found()[0]

    def finish(self, exit_code: int = 0) -> list[str]:
        """Close them. Returns all that was said."""
        self.trackers.finish(exit_code)
        return self.said


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def processes_with(variable: str) -> list[int]:
    """The processes that have this text in their environment, on Linux."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # ended meanwhile, or somebody else's
            if variable.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def open_files(process: int) -> list[str]:
    """What a process has open, on Linux."""
    found = []
    for path in Path(f"/proc/{process}/fd").glob("*"):
        with suppress(OSError):  # closed meanwhile
            found.append(os.readlink(path))
    return found
