"""A step that fails or hangs in the middle of a training: nothing that is saved is lost, and it is said."""

from pathlib import Path
from typing import Any

import pytest
import torch
from training_fixtures import flags, run_python, saved, train

from plumbline.training.task import CentreOfMassTask

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def test_a_gpu_that_is_full_in_the_middle_loses_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = CentreOfMassTask.training_step

    def full(task: CentreOfMassTask, batch: Any, number: int) -> Any:
        if task.global_step == 7:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return step(task, batch, number)

    with monkeypatch.context() as patch:
        patch.setattr(CentreOfMassTask, "training_step", full)
        outcome = train(tiny, tmp_path, max_epochs=3)
    assert outcome.code == 2
    assert "memory does not hold --batch_size 8" in outcome.text
    assert saved(tmp_path / "last.ckpt")["global_step"] == 5
    assert train(tiny, tmp_path, max_epochs=3, resume="").code == 0


def test_steps_left_out_are_counted_on_after_resuming(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = CentreOfMassTask.training_step

    def poisoned(task: CentreOfMassTask, batch: Any, number: int) -> Any:
        if number == 2:
            batch.target = batch.target * float("inf")
        return step(task, batch, number)

    monkeypatch.setattr(CentreOfMassTask, "training_step", poisoned)
    train(tiny, tmp_path, max_epochs=2, skip_nonfinite=True)
    outcome = train(tiny, tmp_path, max_epochs=3, skip_nonfinite=True, resume="")
    assert outcome.code == 0, outcome.text
    assert "3 steps were left out: their loss was not finite" in outcome.text


def test_a_step_that_hangs_shows_every_thread_and_goes_on(tiny: Path, tmp_path: Path) -> None:
    code = f"""
import time
from plumbline.cli import main
from plumbline.training.task import CentreOfMassTask
original = CentreOfMassTask.training_step
def hanging_step(self, batch, number):
    if self.global_step == 7:
        time.sleep(4)
    return original(self, batch, number)
CentreOfMassTask.training_step = hanging_step
raise SystemExit(main(["train", *{flags(tiny, tmp_path, stall_timeout=2)!r}]))
"""
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert "Timeout (0:00:02)!" in done.stderr
    assert "in hanging_step" in done.stderr
