"""The profile of a few steps: a trace of every operation, and where the time of a step goes."""

import gzip
import json
import os
import time
from collections import defaultdict
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.autograd.profiler import record_function

from plumbline.predictors.device import wait_for_device
from plumbline.reporting import Reporter
from plumbline.training.distributed.world import ALONE, World
from plumbline.training.lightning_import import Callback, LightningModule, Trainer
from plumbline.training.loop.graceful_stop import TrainingInterrupted
from plumbline.training.loop.step_parts import VALIDATION
from plumbline.training.persistence.run_folder import PROFILE
from plumbline.training.records import StepProfile
from plumbline.training.show.trace import summarise
from plumbline.writing import write_atomically

STEPS, WARM_UP = 20, 10
"""Steps that are recorded, at most; and steps before them, which also load kernels and fill caches."""


class Profile(Callback):
    """Records steps of one epoch with torch's profiler, and times the validation that follows them.

    A training of fewer than 20 steps warms up for half of them.

    Args:
        device: where the training runs; the trace of a GPU has its kernels too.
        folder: where the trace is written; None writes none.
        report: receives a sentence if there is no profile, or no trace.
        world: the processes of the training, which wait while the trace is written.

    Attributes:
        result: the profile; None until the training has ended, and if no step was recorded.
    """

    def __init__(
        self, device: torch.device, folder: Path | None, report: Reporter, world: World = ALONE
    ) -> None:
        self.result: StepProfile | None = None
        self._device, self._folder, self._report, self._world = device, folder, report, world
        self._trainer: Trainer | None = None
        self._seen, self._warm_up, self._reached, self._done = 0, WARM_UP, -1, False
        self._recording: torch.profiler.profile | None = None
        self._ranges: list[record_function] = []
        self._steps: list[int] = []
        self._after: defaultdict[str, float] = defaultdict(float)
        self._part, self._since = "", 0.0
        if folder is None:
            report.say("--profile: a trial run shows where the time goes, and writes no trace")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note the trainer, which counts the steps."""
        self._trainer = trainer

    def begins(self, part: str, step: bool) -> None:
        """Record the part of a step that begins; see ``StepParts``."""
        if self._done:
            return
        if self.result is not None:
            self._time_after(part, step)
            return
        if step:  # of several batches with accumulated gradients
            assert self._trainer is not None
            step, self._reached = self._trainer.global_step != self._reached, self._trainer.global_step
        if step and self._recording is None and self._due():
            self._start()
        if self._recording is None:
            return
        over = step or part in (VALIDATION, "")
        self._leave(whole=over)
        if over and (not step or len(self._steps) == STEPS):
            self._stop()
            self._time_after(part, step)
            return
        if step:
            self._steps.append(self._reached + 1)
            self._enter(f"step {self._steps[-1]}")
        self._enter(part)

    def teardown(self, *_: Any, **__: Any) -> None:
        """End with the training, which a signal ends after a whole step."""
        if self._recording is not None:
            self._leave(whole=True)
            self._stop()
        if self.result is None and not self._done:
            self._report.say("--profile: the training ended before the steps that were to be profiled")
        self._time_after("", False)
        self._done = True

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End after a signal as after the last step, and after an error without a profile."""
        if isinstance(exception, TrainingInterrupted):
            self.teardown()
        elif self._recording is not None:
            self._leave(whole=True)
            self._recording.stop()
            self._recording = None

    def _due(self) -> bool:
        """Whether to record from this step on: the epoch, or the training, has no more steps elsewhere."""
        trainer = self._trainer
        assert trainer is not None
        left = int(trainer.estimated_stepping_batches) - trainer.global_step
        if not self._seen:
            self._warm_up = min(WARM_UP, left // 2)
        self._seen += 1
        batches, per_step = int(trainer.num_training_batches), trainer.accumulate_grad_batches
        coming = batches - trainer.fit_loop.epoch_loop.batch_progress.current.ready
        epoch, here = ceil(batches / per_step), min(ceil(coming / per_step), left)
        return self._seen > self._warm_up and (here >= min(STEPS, epoch) or here == left)

    def _start(self) -> None:
        if torch.autograd._profiler_enabled():
            self._report.say("--profile: the program is being profiled already; leave one of the two out")
            self._done = True
            return
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it writes to the error stream when it starts
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self._device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        wait_for_device(self._device)
        self._recording = torch.profiler.profile(activities=activities)
        self._recording.start()

    def _enter(self, name: str) -> None:
        self._ranges.append(record_function(name))
        self._ranges[-1].__enter__()

    def _leave(self, *, whole: bool) -> None:
        """End the range of the part, and with ``whole`` that of the step."""
        while len(self._ranges) > (0 if whole else 1):
            self._ranges.pop().__exit__(None, None, None)

    def _stop(self) -> None:
        """End the recording; read its trace, and write it."""
        recording, self._recording = self._recording, None
        assert recording is not None
        wait_for_device(self._device)
        recording.stop()
        if self._steps:
            with self._world.long_work():
                self.result = self._exported(recording)

    def _exported(self, recording: torch.profiler.profile) -> StepProfile:
        with TemporaryDirectory() as folder:
            file = Path(folder, "trace.json")
            recording.export_chrome_trace(str(file))
            trace = json.loads(file.read_bytes())
        times = summarise(trace["traceEvents"], [f"step {number}" for number in self._steps])
        return StepProfile(
            first=self._steps[0],
            last=self._steps[-1],
            **times._asdict(),
            after_epoch=self._after,
            trace=None if self._folder is None else self._written(trace),
        )

    def _written(self, trace: dict[str, object]) -> Path | None:
        """Write the trace without names of this machine. Returns its path; None if that fails."""
        assert self._folder is not None
        kept = {name: value for name, value in trace.items() if name not in ("host_name", "traceName")}
        content = json.dumps(kept, allow_nan=False, separators=(",", ":")).encode()
        path = self._folder / PROFILE
        try:
            write_atomically(path, gzip.compress(content, mtime=0), durable=False)
        except OSError as error:
            self._report.say(f"cannot write {path} ({error.strerror}); training continues")
            return None
        return path

    def _time_after(self, part: str, step: bool) -> None:
        """Time the first validation after the recorded steps, and what is saved with it."""
        now = time.perf_counter()
        if self._part:
            self._after[self._part] += now - self._since
            self._done = step or not part
        elif part != VALIDATION:
            return
        self._part, self._since = part, now
