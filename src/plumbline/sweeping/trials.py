"""One trial: its process, what it measures, how it ends."""

import csv
import errno
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from plumbline.cores import num_cores
from plumbline.locks import LockedError, sole_owner
from plumbline.sweeping.records import SweepSettings, Trial

OUTPUT = "output.txt"
"""What a trial printed."""
_LOCK = ".sweep.lock"
_ROOM = 1 << 16
"""Bytes that must fit into the folder of a trial that failed, if its values are to blame."""
_NO_ROOM = (
    *("there is no space left for", "is on a disk that is now read-only"),
    *map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EROFS)),
)
"""What a training says that could not write."""
_STARTED_BY_OTHERS = ("PLUMBLINE_PLACE", "TORCHELASTIC_RUN_ID", "SLURM_PROCID")
"""Variables by which a training knows that it is one of several processes; a trial is alone."""
CLOSED = 129
"""Exit code after the terminal was closed."""
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143} | (
    {signal.SIGHUP: CLOSED, signal.SIGUSR1: 143} if os.name == "posix" else {}
)
"""Signals that stop a training or a sweep, and its exit codes then."""


class TakenError(Exception):
    """Another command of the sweep trains this trial."""


class RunningTrial:
    """A trial that is trained by a process of its own, in a folder that is locked for the other commands.

    Args:
        settings: of the sweep.
        trial: which one; it is resumed if it has a checkpoint.
        slot: place among the trials of this command, from 0.

    Raises:
        TakenError: another command trains it.
    """

    def __init__(self, settings: SweepSettings, trial: Trial, slot: int) -> None:
        self.trial, self.slot = trial, slot
        self.folder = settings.folder(trial.number)
        self.pruned = False
        self._epochs = settings.epochs(trial.values)
        self._told = set(trial.errors)
        self._read: tuple[int, ...] = ()
        self._stopped = False
        self._held = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._words = [
            *("train", *settings.flags, *settings.space.words(trial.values)),
            f"--checkpoint_dir={self.folder}",
        ]
        self._environment = environment(os.environ, settings.workers)
        devices = trial.values.get("devices", settings.shared.get("devices", 1))
        if str(devices) == "1" and settings.workers > 1:
            self._environment |= gpu(os.environ, slot)
        self.folder.mkdir(exist_ok=True)
        try:
            self._held.enter_context(sole_owner(self.folder / _LOCK))
        except LockedError as error:
            raise TakenError from error

    @property
    def started(self) -> bool:
        """Whether its process was started."""
        return self._process is not None

    def advance(self) -> int | None:
        """Start the process once the folder is free; its exit code when it has ended."""
        if self._process is not None:
            return self._process.poll()
        try:  # the process of a sweep that was killed saves its state first
            with sole_owner(self.folder):
                pass
        except LockedError:
            return None
        resume = ["--resume"] if any(self.folder.glob("*.ckpt")) else []
        with open(self.folder / OUTPUT, "ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "plumbline.sweeping.trial_program", *self._words, *resume],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,  # Ctrl-C reaches the sweep alone, which tells its trials
            )
        return None

    @property
    def lives(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self, *, at_once: bool = False) -> None:
        """Tell the process to stop with its state saved; or, if it was told before, to stop at once."""
        if self._process is not None and self.lives and (at_once or not self._stopped):
            self._stopped = True
            self._process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Wait for the end of the process and unlock the folder."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.wait()
            self._process.stdin.close()  # not before: the process takes it for a signal
        self._held.close()

    def new_errors(self) -> dict[int, float]:
        """``val_error_rel`` of the epochs that were not asked for before."""
        try:
            status = (self.folder / "metrics.csv").stat()
        except FileNotFoundError:
            return {}
        seen = (status.st_size, status.st_mtime_ns, status.st_ino)
        if seen == self._read:
            return {}
        self._read = seen
        found = {epoch: error for epoch, error in errors(self.folder).items() if epoch not in self._told}
        self._told |= found.keys()
        return found

    def is_last(self, epoch: int) -> bool:
        """Whether no epoch follows, so that nothing is gained by pruning."""
        return epoch + 1 >= self._epochs

    def result(self) -> float | None:
        """``val_error_rel`` of the best model; None if the training was not completed, or it is not known."""
        try:
            metrics = json.loads((self.folder / "result.json").read_bytes())["metrics"]
        except FileNotFoundError:
            return None
        error = metrics.get("val_error_rel", math.nan)
        return error if math.isfinite(error) else None

    def write_something(self) -> None:
        """Raise OSError if there is no room in the folder, or it is read-only."""
        with tempfile.TemporaryFile(dir=self.folder) as file:
            file.write(b"\0" * _ROOM)
            file.flush()
            os.fsync(file.fileno())

    def said(self) -> str:
        """The error sentence, or the last line, that the process printed."""
        with open(self.folder / OUTPUT, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in deque(file, 200) if line.strip()]
        refused = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return (refused or lines or ["it printed nothing"])[-1]


def is_taken(folder: Path) -> bool:
    """Whether a command trains the trial of this folder."""
    try:
        with sole_owner(folder / _LOCK):
            return False
    except LockedError:
        return True
    except FileNotFoundError:  # the command that took it ended before it made the folder
        return False


def lacks_room(trouble: str) -> bool:
    """Whether a training failed because it could not write: the disk is full or read-only."""
    return any(words in trouble for words in _NO_ROOM)


def was_interrupted(exit_code: int) -> bool:
    """Whether a signal ended the process, with its state saved or not."""
    return exit_code < 0 or exit_code in EXIT_CODES.values()


def environment(given: Mapping[str, str], workers: int) -> dict[str, str]:
    """The environment of a trial, with its share of the cores."""
    chosen = {name: value for name, value in given.items() if name not in _STARTED_BY_OTHERS}
    chosen["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    if workers > 1:
        chosen.setdefault("OMP_NUM_THREADS", str(max(1, num_cores() // workers)))
    return chosen


def gpu(
    given: Mapping[str, str], slot: int, driver: Path = Path("/proc/driver/nvidia/gpus")
) -> dict[str, str]:
    """What gives a trial a GPU of its own, if this machine has several.

    Args:
        given: the environment of this process.
        slot: place among the trials of this command.
        driver: folder in which the driver of NVIDIA lists the GPUs.
    """
    if "CUDA_VISIBLE_DEVICES" in given:
        gpus = given["CUDA_VISIBLE_DEVICES"].split(",")
    else:
        gpus = [str(place) for place, _ in enumerate(driver.iterdir())] if driver.is_dir() else []
    return {"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if len(gpus) > 1 else {}


def errors(folder: Path) -> dict[int, float]:
    """``val_error_rel`` by epoch, as far as ``metrics.csv`` has whole rows with finite numbers."""
    try:
        text = (folder / "metrics.csv").read_text("utf-8")
    except FileNotFoundError:
        return {}
    whole = text[: text.rfind("\n") + 1]
    found = {}
    for row in csv.DictReader(whole.splitlines()):
        if row.get("val_error_rel") and row.get("epoch"):
            error = float(row["val_error_rel"])
            if math.isfinite(error):
                found[int(row["epoch"])] = error
    return found
