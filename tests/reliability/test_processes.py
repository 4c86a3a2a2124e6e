"""Trainings in separate processes that conflict with each other, run out of time, or lose a reader."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch

from plumbline.console.text import counted
from plumbline.training.loop.precision import Precision
from plumbline.training.loop.trainer import make_trainer
from tests.helpers.processes import DEADLINE, running
from tests.helpers.training_fixtures import (
    assert_same_end,
    flags,
    in_fresh_process,
    run_python,
    saved,
    train,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")


@contextmanager
def started(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """``plumbline train`` in a process of its own, its second epoch behind it."""
    with running("-u", "-m", "plumbline", "train", *arguments) as process:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if re.match(r"epoch +2/", line):
                break
        else:
            raise AssertionError("".join(seen))
        yield process


# -- two trainings in one folder ---------------------------------------------------------------------------


def test_the_second_training_in_a_folder_is_told_whose_it_is(tiny: Path, tmp_path: Path) -> None:
    with started(flags(tiny, tmp_path, max_epochs=100_000)) as first:
        second = in_fresh_process(flags(tiny, tmp_path, max_epochs=3))
        assert second.returncode == 2, second.stdout
        assert second.stderr == (
            f"error: --checkpoint_dir {tmp_path}: another training is writing there "
            f"(process {first.pid} on {socket.gethostname()}); choose another folder\n"
        )
        assert first.poll() is None
        assert not (tmp_path / "run-001").exists(), "the second one moved the files of the first"
        first.send_signal(signal.SIGINT)
        rest, _ = first.communicate(timeout=DEADLINE)
    assert first.returncode == 130, rest
    assert f"interrupted after {saved(tmp_path / 'last.ckpt')['global_step']:,} steps" in rest


def test_one_that_was_killed_keeps_nobody_out(tiny: Path, tmp_path: Path) -> None:
    with started(flags(tiny, tmp_path, max_epochs=100_000)) as first:
        first.kill()
    assert (tmp_path / ".running").is_file()
    assert in_fresh_process(flags(tiny, tmp_path, max_epochs=1)).returncode == 0
    assert not (tmp_path / ".running").exists()


# -- a job of a cluster ------------------------------------------------------------------------------------

JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "x", "SLURM_NTASKS": "1"}
SRUN = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
JOBS = {
    "a shell in it": JOB,
    "without the node": JOB | SRUN,
    "whole": JOB | SRUN | {"SLURM_NODEID": "0"},
    "several tasks": JOB | SRUN | {"SLURM_NODEID": "0", "SLURM_NTASKS": "4"},
    "several tasks per node": JOB | SRUN | {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4"},
}


@pytest.mark.parametrize("job", JOBS)
def test_whatever_a_job_of_slurm_says_one_process_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str
) -> None:
    for name, value in JOBS[job].items():
        monkeypatch.setenv(name, value)
    trainer = make_trainer(
        tmp_path, device=torch.device("cpu"), precision=Precision("32"), max_epochs=1, gradient_clip=0,
        callbacks=[],
    )  # fmt: skip
    assert (trainer.world_size, trainer.global_rank) == (1, 0)


def test_a_training_within_a_job_of_slurm(tiny: Path, tmp_path: Path) -> None:
    environment = JOBS["without the node"]
    done = in_fresh_process(flags(tiny, tmp_path, max_epochs=1, strategy="ddp"), **environment)
    assert done.returncode == 0, done.stderr
    assert saved(tmp_path / "last.ckpt")["global_step"] == 5


# -- out of time -------------------------------------------------------------------------------------------

SLOW = """
import time
from plumbline.cli import main
from plumbline.training.loop.task import CentreOfMassTask
original, monotonic = CentreOfMassTask.training_step, time.monotonic
def slow(self, batch, number):
    if self.global_step == {step}:
        time.monotonic = lambda: monotonic() + 3600
    return original(self, batch, number)
CentreOfMassTask.training_step = slow
raise SystemExit(main(["train", *{arguments!r}]))
"""
"""A training in one step of which an hour passes."""


@pytest.mark.parametrize(
    ("step", "stood"), [(1, (0, 2)), (7, (1, 3)), (9, (2, 0))], ids=["first-epoch", "mid-epoch", "epoch-end"]
)
def test_out_of_time_and_gone_on_with_is_the_same_training(
    tiny: Path, tmp_path: Path, step: int, stood: tuple[int, int]
) -> None:
    settings = {"max_epochs": 4, "lr": 1e-2, "early_stopping": 9, "ema": 0.9}
    assert train(tiny, tmp_path / "whole", **settings).code == 0
    run = tmp_path / "run"
    code = SLOW.format(step=step, arguments=flags(tiny, run, max_time="00:00:30:00", **settings))
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    told = f"--max_time reached after {step + 1} steps; the state is in {run / 'last.ckpt'}"
    assert told in done.stdout
    content = saved(run / "last.ckpt")
    assert content["global_step"] == step + 1
    assert (content["plumbline"]["epochs_done"], content["plumbline"]["batches_done"]) == stood
    resumed = in_fresh_process(flags(tiny, run, max_time="00:01:00:00", resume="", **settings))
    assert resumed.returncode == 0, resumed.stderr
    assert f"resuming {run / 'last.ckpt'} after {counted(stood[0], 'epoch')}" in resumed.stdout
    assert "--max_time reached" not in resumed.stdout
    assert_same_end(tmp_path / "whole", run)


# -- readers that hang -------------------------------------------------------------------------------------


def children(process: int) -> list[int]:
    """The processes that a process started."""
    lists = Path(f"/proc/{process}/task").glob("*/children")
    return [int(word) for path in lists for word in path.read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="finds reader processes in /proc")
def test_a_reader_that_hangs_is_given_up_and_the_training_can_go_on(tiny: Path, tmp_path: Path) -> None:
    settings = {"loader": "workers", "num_workers": 1, "stall_timeout": 5}
    run = tmp_path / "run"
    with started(flags(tiny, run, max_epochs=100_000, **settings)) as process:
        readers = children(process.pid)
        try:
            assert len(readers) == 2, "one to train, one to validate"
            for reader in readers:
                os.kill(reader, signal.SIGSTOP)
            text, _ = process.communicate(timeout=DEADLINE)
        finally:
            for reader in readers:
                with suppress(ProcessLookupError):
                    os.kill(reader, signal.SIGKILL)
    assert process.returncode == 2, text
    assert not [reader for reader in readers if Path(f"/proc/{reader}").exists()]
    (line,) = [line for line in text.splitlines() if line.startswith("error:")]
    assert line.startswith(
        "error: the reader processes (--num_workers 1) hang: DataLoader timed out after 5.0 seconds"
    )
    assert "--num_workers 0, or --loader resident" in line
    assert "Traceback" not in text
    epochs = saved(run / "last.ckpt")["plumbline"]["epochs_done"] + 2
    resumed = train(tiny, run, max_epochs=epochs, **settings, resume="")
    assert resumed.code == 0, resumed.text
    assert train(tiny, tmp_path / "whole", max_epochs=epochs).code == 0
    assert_same_end(tmp_path / "whole", run)
