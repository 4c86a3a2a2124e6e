"""Weights & Biases, in the process of a tracker. Wandb's own rules decide mode, server and login."""

import io
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from plumbline.console.text import command
from plumbline.locks import lock
from plumbline.training.show.tracker_program import LINGER, Tell, importing

_WARNING = re.compile(r"wandb: (?:WARNING|ERROR) (.+)")
_MOST_WARNINGS = 5


def open_run(start: dict[str, Any], tell: Tell) -> "WandbRun":
    """Start a run, and report where it is.

    Args:
        start: ``init``, keyword arguments of ``wandb.init``; ``run_id``, and whether to ``resume`` that run;
            ``seconds`` that finishing may take; ``pid`` of the training; and, if another process has failed,
            ``mode``, which is "offline", and ``because``, the reason.
        tell: see :class:`WandbRun`.

    Raises:
        Unusable: wandb is not installed, or broken.
        Exception: whatever wandb raises.
    """
    for name, value in {
        "WANDB_QUIET": "true",  # warnings only; to greet the user by name costs a request
        "WANDB_ERROR_REPORTING": "false",  # W&B's reports about itself wait for an unreachable server
        "WANDB_RUN_ID": start["run_id"],
        "WANDB_PROGRAM": start["argv"][0],
        **({"WANDB_RESUME": "allow"} if start["resume"] else {}),
    }.items():
        os.environ.setdefault(name, value)
    sys.stderr = warnings = _Warnings(tell)
    with importing("wandb"):
        import wandb

        if wandb.__file__ is None:  # a folder of that name, which W&B itself makes
            raise ModuleNotFoundError(name="wandb")
    settings = wandb.Settings(
        console="off",  # this process prints nothing
        finish_timeout=start["seconds"],
        finish_timeout_raises=True,
        x_stats_pid=start["pid"],
    )
    folder = Path(start["init"]["dir"], "wandb")
    _wait_for_turn(folder)
    run = wandb.init(**start["init"], mode=start.get("mode"), settings=settings)
    if run.disabled:
        with suppress(OSError):  # it holds runs
            folder.rmdir()
    warnings.relayed = True
    run.define_metric("epoch")
    return WandbRun(run, warnings, tell, because=start.get("because"))


def _wait_for_turn(folder: Path) -> None:
    """Wait for the process of a training that was killed: it may still be sending rows of the same run."""
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
        lock(os.open(folder, os.O_RDONLY), patience=LINGER)  # until this process ends


class WandbRun:
    """A run that was started.

    Args:
        run: wandb's own object.
        warnings: what wandb prints.
        tell: receives the place of the run, its id, and at the end how to upload the rest.
        because: why the run is recorded offline although that was not requested; None if it was.
    """

    def __init__(self, run: Any, warnings: "_Warnings", tell: Tell, *, because: str | None) -> None:
        self._run, self._warnings, self._tell = run, warnings, tell
        online = not run.offline and not run.disabled
        self._upload = command("wandb", "sync", *["--include-online"] * online, Path(run.dir).parent)
        if because:
            place = f"W&B failed ({because}); all rows are recorded offline, upload with: {self._upload}"
        elif run.disabled:
            place = "W&B is disabled (by wandb disabled or WANDB_MODE)"
        elif not online:
            place = f"W&B records offline, as it is set to; upload with: {self._upload}"
        else:
            place = f"W&B {'resumes' if run.resumed else 'run'}: {run.url}"
        tell(say=place, keep={"wandb_id": run.id})

    def log(self, metrics: dict[str, float], step: int, when: float) -> None:
        """Log a row, unless the resumed run has it already."""
        if step >= self._run.starting_step:
            self._run.log({**metrics, "_timestamp": when}, step=step)

    def finish(self, exit_code: int) -> None:
        """End the run, and report how to upload what the server has not received."""
        sent = True
        try:
            self._run.finish(exit_code=exit_code)
        except TimeoutError:
            sent = False
        if not sent or any("wandb sync" in text for text in self._warnings.seen):
            self._tell(say=f"W&B has not received everything; upload the rest with: {self._upload}")


class _Warnings(io.TextIOBase):
    """An error stream that passes wandb's warnings and errors to the user, each once, and nothing else.

    Attributes:
        relayed: whether it passes them on yet; until then an error of ``wandb.init`` gives the reason.
        seen: the messages that were passed on.
    """

    def __init__(self, tell: Tell) -> None:
        self.relayed, self.seen = False, list[str]()
        self._tell, self._line = tell, ""

    def write(self, text: str) -> int:
        """Receive text of any length."""
        *lines, self._line = (self._line + text).split("\n")
        for said in filter(None, map(_WARNING.match, lines)):
            if self.relayed and said[1] not in self.seen and len(self.seen) < _MOST_WARNINGS:
                self.seen.append(said[1])
                self._tell(say=f"W&B: {said[1]}")
        return len(text)
