"""A step that fails or hangs during training: no saved state is lost, and a message says what happened."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plumbline.data.split import split_by_object
from plumbline.data.store.writer import write_store
from plumbline.records import FEATURE_NAMES
from plumbline.training.loop.task import CentreOfMassTask
from tests.helpers.training_fixtures import flags, random_samples, run_python, saved, train

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
    assert "does not hold --batch_size 8" in outcome.text
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
    assert "skipped 3 steps: the loss was not finite" in outcome.text


def test_a_learning_rate_out_of_all_bounds_leaves_the_checkpoints_as_they_were(
    tiny: Path, tmp_path: Path
) -> None:
    assert train(tiny, tmp_path, max_epochs=1).code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.ckpt")}
    outcome = train(tiny, tmp_path, max_epochs=3, lr=1e38, resume="", allow_mismatch=True)
    assert outcome.code == 2
    assert re.search(
        r"the loss is not finite at step 7: objects random/.* learning rate 1e\+38", outcome.text
    )
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.ckpt")} == before
    assert train(tiny, tmp_path, max_epochs=3, resume="").code == 0


def test_one_absurd_object_is_named_or_left_out_every_time(tmp_path: Path) -> None:
    """Its numbers are finite, and their squares are not."""
    samples = random_samples()
    names = sorted({sample.object_name for sample in samples})
    owner = np.array([names.index(sample.object_name) for sample in samples], np.int32)
    train_idx, _ = split_by_object(owner, names, 0.1, 0)
    wrong = samples[train_idx[9]]
    samples[train_idx[9]] = replace(wrong, node_features=wrong.node_features * np.float32(1e30))
    data = tmp_path / "data"
    write_store(data, samples, feature_names=list(FEATURE_NAMES))
    stopped = train(data, tmp_path / "stopped", loss="displacement", batch_size=1)
    assert stopped.code == 2
    assert re.search(rf"not finite at step \d+: objects {wrong.object_name}, learning rate", stopped.text)
    outcome = train(data, tmp_path / "run", loss="displacement", batch_size=1, skip_nonfinite=True)
    assert outcome.code == 0, outcome.text
    assert "skipped 2 steps: the loss was not finite" in outcome.text
    assert outcome.text.count(f"its loss is not finite; objects {wrong.object_name}, learning rate") == 2
    weights = saved(tmp_path / "run" / "last.ckpt")["state_dict"].values()
    assert all(bool(torch.isfinite(weight).all()) for weight in weights)


def test_a_step_that_hangs_shows_every_thread_and_goes_on(tiny: Path, tmp_path: Path) -> None:
    code = f"""
import time
from plumbline.cli import main
from plumbline.training.loop.task import CentreOfMassTask
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
