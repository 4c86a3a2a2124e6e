"""A training that is killed and resumed repeatedly ends like an uninterrupted one."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.training_fixtures import (
    differences,
    flags,
    in_fresh_process,
    run_python,
    saved,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills processes")

SETTINGS = {"max_epochs": 40, "checkpoint_every_n_steps": 2, "ema": 0.9, "loader": "resident"}


KILLED = """
import signal
from plumbline.cli import main
from plumbline.training.loop.task import CentreOfMassTask
original = CentreOfMassTask.on_validation_epoch_end
def counting(self):
    if not any(signal.getitimer(signal.ITIMER_PROF)):
        signal.setitimer(signal.ITIMER_PROF, {seconds})
    original(self)
CentreOfMassTask.on_validation_epoch_end = counting
raise SystemExit(main(["train", *{arguments!r}]))
"""
"""Nobody handles that timer's signal, so it kills; it counts processor time, not what a clock says."""


def killed_after(arguments: list[str], seconds: float) -> None:
    """Starts the training and kills it so long after its first epoch or, resumed, the first that it ends."""
    done = run_python("-c", KILLED.format(seconds=max(seconds, 1e-3), arguments=arguments))
    assert done.returncode == -signal.SIGPROF, done.stderr


def kill_and_resume(tiny: Path, tmp_path: Path, times: int, seed: int) -> list[int]:
    """Kills one training at random moments. Returns the steps behind it after each kill."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert in_fresh_process(flags(tiny, whole, **SETTINGS)).returncode == 0
    rng = np.random.default_rng(seed)
    steps = []
    for number in range(times):
        again = {"resume": ""} if number else {}
        killed_after(flags(tiny, broken, **SETTINGS, **again), rng.uniform(0, 0.08))
        steps.append(saved(broken / "last.ckpt")["global_step"])
    done = in_fresh_process(flags(tiny, broken, **SETTINGS, resume=""))
    assert done.returncode == 0, done.stderr
    one, other = saved(whole / "last.ckpt"), saved(broken / "last.ckpt")
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert differences(one[part], other[part]) == [], part
    for part in ("rng", "metrics", "epochs_done", "train_sums"):
        assert differences(one["plumbline"][part], other["plumbline"][part]) == [], part
    assert (whole / "metrics.csv").read_bytes() == (broken / "metrics.csv").read_bytes()
    best = [sorted(path.name for path in folder.glob("*.ckpt")) for folder in (whole, broken)]
    assert best[0] == best[1]
    assert (
        differences(saved(whole / best[0][0])["state_dict"], saved(broken / best[0][0])["state_dict"]) == []
    )
    assert not list(broken.glob(".*.tmp"))
    return steps


def test_killed_three_times(tiny: Path, tmp_path: Path) -> None:
    steps = kill_and_resume(tiny, tmp_path, times=3, seed=0)
    assert steps == sorted(steps)
    assert steps[-1] < 200, "the training was over before the last kill"


@pytest.mark.long
def test_killed_thirty_times(tiny: Path, tmp_path: Path) -> None:
    steps = kill_and_resume(tiny, tmp_path, times=30, seed=1)
    assert len(set(steps)) > 10
    print(f"steps behind it after each kill: {steps}")
