"""Two processes end together: told to, killed, hanging, refused; started by plumbline, torchrun and srun."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from plumbline.errors import InputError
from plumbline.training.persistence import saving
from tests.helpers.processes import DEADLINE, running
from tests.helpers.training_fixtures import (
    assert_same_end,
    differences,
    flags,
    fresh_environment,
    saved,
    train,
)

LONG = {"max_epochs": 100_000, "devices": 2, "checkpoint_every_n_steps": 1}
TRAIN = ("-m", "plumbline", "train")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def wait_for_a_step(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not (folder / "last.ckpt").is_file():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)


def other_of(process: subprocess.Popen[str]) -> psutil.Process:
    """The second process of a training."""
    (found,) = [one for one in psutil.Process(process.pid).children() if "train" in one.cmdline()]
    return found


@pytest.mark.parametrize(("signum", "to_other", "code"), [
    (signal.SIGTERM, False, 143), (signal.SIGUSR1, True, 143), (signal.SIGINT, False, 130),
])  # fmt: skip
def test_a_signal_to_one_process_stops_both_after_the_same_step(tiny, tmp_path, signum, to_other, code):
    with running(*TRAIN, *flags(tiny, tmp_path, **LONG)) as process:
        wait_for_a_step(tmp_path, process)
        other = other_of(process)
        os.kill(other.pid if to_other else process.pid, signum)
        text, _ = process.communicate()
    assert process.returncode == code, text
    assert not other.is_running()
    assert "resume with: plumbline train" in text
    assert "Traceback" not in text
    (step,) = re.findall(r"interrupted after ([\d,]+) steps", text)
    content = saved(tmp_path / "last.ckpt")["plumbline"]
    assert content["global_step"] == int(step.replace(",", ""))
    assert len(content["rng_of_others"]) == 1


def gloo_threads() -> int:
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return names.count("pt_gloo_runloop")


def test_the_time_is_over_for_both(tiny, tmp_path):
    before = gloo_threads()
    outcome = train(tiny, tmp_path, **LONG | {"max_time": "00:00:00:02"})
    assert outcome.code == 0, outcome.text
    assert "--max_time reached" in outcome.text
    assert gloo_threads() - before <= 2, "torch keeps those of the gradients; ours might abort the exit"


def test_a_killed_process_ends_the_other_with_one_sentence(tiny, tmp_path):
    with running(*TRAIN, *flags(tiny, tmp_path, **LONG)) as process:
        wait_for_a_step(tmp_path, process)
        other_of(process).kill()
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "error: another process of this training has ended without a word" in text
    assert "Traceback" not in text
    resumed = train(tiny, tmp_path, **LONG | {"resume": "last", "max_time": "00:00:00:01"})
    assert resumed.code == 0, resumed.text


def test_a_process_that_hangs_is_named(tiny, tmp_path):
    with running(*TRAIN, *flags(tiny, tmp_path, **LONG, stall_timeout=4)) as process:
        wait_for_a_step(tmp_path, process)
        other = other_of(process)
        other.suspend()
        text, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert "error: process 1 of 2 does not answer since step" in text
    assert not other.is_running()


@pytest.mark.parametrize("waits", [0.0, 2.0], ids=["at-once", "waiting"])
def test_a_second_signal_ends_a_training_that_waits_for_another_process(tiny, tmp_path, waits):
    """Python sees two signals that arrive while torch waits as one."""
    with running(*TRAIN, *flags(tiny, tmp_path, **LONG, stall_timeout=0)) as process:
        wait_for_a_step(tmp_path, process)
        other = other_of(process)
        other.suspend()
        time.sleep(waits)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)  # the system merges equal signals that arrive at once
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130, text
    assert "the other processes of this training do not answer" in " ".join(text.split())
    assert "Traceback" not in text
    assert not other.is_running()


@pytest.mark.parametrize("asked", ["signal", "time"])
def test_a_request_to_stop_is_not_waited_for_without_end(tiny, tmp_path, asked):
    """Also if it comes once; with less patience than a user's training has."""
    code = (
        "from plumbline.training.loop import unanswered; unanswered._PATIENCE = 3.0; "
        "from plumbline.cli import main; raise SystemExit(main())"
    )
    more = {"stall_timeout": 0} | ({"max_time": "00:00:00:04"} if asked == "time" else {})
    words = [str(word) for word in flags(tiny, tmp_path, **LONG | more)]
    with running("-c", code, "train", *words) as process:
        wait_for_a_step(tmp_path, process)
        other = other_of(process)
        other.suspend()
        if asked == "signal":
            process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=DEADLINE)
    said = " ".join(text.split())
    assert process.returncode == (1 if asked == "time" else 143), text
    assert "the other processes of this training do not answer: stopped without them after" in said
    assert "what was saved last is in" in said
    assert "resume with: plumbline train" in said
    assert "memory" not in said, "it was plumbline that killed the other process"
    assert "Traceback" not in text
    assert not other.is_running()


def test_what_one_process_refuses_is_said_once(tiny, tmp_path):
    outcome = train(tiny, tmp_path, devices=2, loss="missing.py:loss")
    assert outcome.code == 2
    assert outcome.text.count("error: ") == 1
    assert "process" not in outcome.text
    outcome = train(tiny, tmp_path, devices=2, skip_nonfinite=True)
    assert "--skip_nonfinite: the processes of --devices take every step together" in outcome.text


@pytest.mark.parametrize("broken", ["first", "second"])
def test_a_network_that_cannot_be_compiled_in_one_process_trains_in_both(tiny, tmp_path, monkeypatch, broken):
    """Patches act in the first process only, variables in both. Where TorchDynamo is disabled, the second
    runs the network itself; without a C++ compiler it cannot compile."""
    plain = train(tiny, tmp_path / "plain", devices=2)
    if broken == "first":
        monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
        monkeypatch.setattr(torch, "compile", refused)
    else:
        monkeypatch.setattr(torch, "compile", lambda function, **_: function)
        monkeypatch.setenv("CXX", "/missing")
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "nothing compiled yet"))
    outcome = train(tiny, tmp_path / "compiled", devices=2, use_compile=True)
    assert (plain.code, outcome.code) == (0, 0), outcome.text
    said = " ".join(outcome.text.split())
    assert ("cannot be compiled and runs uncompiled (no compiler)" in said) == (broken == "first")
    assert ("cannot be compiled in 1 process other than the first and runs uncompiled there" in said) == (
        broken == "second"
    )
    one, other = (saved(tmp_path / name / "last.ckpt") for name in ("plain", "compiled"))
    assert differences(one["state_dict"], other["state_dict"]) == []


def refused(*_: Any, **__: Any) -> None:
    raise RuntimeError("no compiler")


def test_a_tracker_that_fails_ends_neither(tiny, tmp_path, monkeypatch):
    """W&B of a server that refuses, in the first process; the second has none and waits for nothing."""
    plain = train(tiny, tmp_path / "plain", devices=2)
    for name, value in {
        "WANDB_BASE_URL": "http://127.0.0.1:1", "WANDB_API_KEY": "0" * 40, "WANDB_INIT_TIMEOUT": "1",
        "NETRC": "/nowhere",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    outcome = train(tiny, tmp_path / "tracked", devices=2, use_wandb=True)
    assert (plain.code, outcome.code) == (0, 0), outcome.text
    assert outcome.text.count("all rows are recorded offline") == 1
    assert len(list((tmp_path / "tracked").glob("wandb/offline-run-*"))) == 1, "of one process"
    assert_same_end(tmp_path / "plain", tmp_path / "tracked")


def test_a_checkpoint_that_cannot_be_written_ends_neither(tiny, tmp_path, monkeypatch):
    def full(path: Path, content: bytes) -> None:
        raise InputError(f"cannot write the checkpoint {path} (no space left)")

    monkeypatch.setattr(saving, "write_durably", full)
    outcome = train(tiny, tmp_path, devices=2)
    assert "(no space left); training continues" in outcome.text
    assert "epoch 2/2" in outcome.text
    assert outcome.code == 1, "the last state is not saved"


def torchrun(data: Path, out: Path, **changed: Any) -> Iterator[subprocess.Popen[str]]:
    started = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    with running(*started, "-m", "plumbline", "train", *flags(data, out, **changed)) as process:
        yield process


def test_torchrun_starts_both(tiny, tmp_path):
    for process in torchrun(tiny, tmp_path, devices=2):
        text, _ = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, text
    assert text.count("epoch 2/2") == 1, "one of them talks"
    assert len(saved(tmp_path / "last.ckpt")["plumbline"]["rng_of_others"]) == 1


def test_srun_starts_both(tiny, tmp_path):
    """With the variables that srun sets; SLURM itself is not needed."""
    job = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": str(os.getpid())}
    texts = []
    with ExitStack() as held:
        started = []
        for rank in ("0", "1"):
            mine = job | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_STEP_TASKS_PER_NODE": "2"}
            environment = fresh_environment(**mine)
            words = (*TRAIN, *flags(tiny, tmp_path, devices=2))
            started.append(held.enter_context(running(*words, env=environment)))
        for process in started:
            texts.append(process.communicate(timeout=DEADLINE)[0])
            assert process.returncode == 0, texts
    assert "epoch 2/2" in texts[0]
    assert texts[1] == ""
    assert (tmp_path / "result.json").is_file()
