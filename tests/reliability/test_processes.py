"""Trainings as users have them: side by side, out of time, gone on with by the command that they name."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from training_fixtures import ROOT, assert_same_end, flags, fresh_environment, in_fresh_process, saved, train

from plumbline.training.callbacks import GracefulStop

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="sends signals"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@contextmanager
def running(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A training that has its first epoch behind it."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "plumbline", "train", *arguments],
        cwd=ROOT, env=fresh_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if line.startswith("epoch") and "/" in line:
                break
        else:
            pytest.fail("".join(seen))
        yield process
    finally:
        process.kill()
        process.communicate()


def test_two_in_one_folder(tiny: Path, tmp_path: Path) -> None:
    """The second is refused with process and host of the first, which goes on; then the folder is free."""
    with running(flags(tiny, tmp_path, max_epochs=100_000)) as first:
        second = in_fresh_process(flags(tiny, tmp_path, max_epochs=1))
        whose = f"(process {first.pid} on {socket.gethostname()})"
        assert second.returncode == 2
        assert (
            f"{tmp_path}: another training is writing there {whose}; choose another folder" in second.stderr
        )
        assert first.poll() is None
        first.send_signal(signal.SIGTERM)
        rest, _ = first.communicate(timeout=60)
        assert first.returncode == 143, rest
    assert not list(tmp_path.glob("run-*")), "the second one put the files of the first aside"
    steps = saved(tmp_path / "last.ckpt")["global_step"]
    assert f"interrupted after {steps:,} steps" in rest
    assert in_fresh_process(flags(tiny, tmp_path, max_epochs=1)).returncode == 0
    assert list(tmp_path.glob("run-*"))


def test_a_killed_one_keeps_nobody_out(tiny: Path, tmp_path: Path) -> None:
    with running(flags(tiny, tmp_path, max_epochs=100_000)) as first:
        first.kill()
    assert (tmp_path / ".running").is_file()
    assert in_fresh_process(flags(tiny, tmp_path, max_epochs=1)).returncode == 0
    assert not (tmp_path / ".running").exists()


# -- out of time -------------------------------------------------------------------------------------------


def at_step(step: int) -> Callable[..., None]:
    """The clock of ``--max_time`` made to run out after a step."""
    original = GracefulStop.on_train_batch_end

    def ending(self: GracefulStop, trainer: object, *rest: object) -> None:
        if trainer.global_step == step:  # type: ignore[attr-defined]
            self._deadline = 0.0
        original(self, trainer, *rest)  # type: ignore[arg-type]

    return ending


@pytest.mark.parametrize(
    "step", [3, 7, 10, 11], ids=["first-epoch", "mid-epoch", "epoch-end", "first-of-an-epoch"]
)
@pytest.mark.parametrize("model", ["gcn", "ept"])
def test_out_of_time_and_resumed_is_the_same_training(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, step: int
) -> None:
    chosen = {"max_epochs": 4, "lr": 1e-2, "model": model, "ema": 0.9, "max_time": "01:00:00:00"}
    assert train(tiny, tmp_path / "straight", **chosen).code == 0
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(GracefulStop, "on_train_batch_end", at_step(step))
        outcome = train(tiny, run, **chosen)
    assert outcome.code == 0, outcome.text
    assert f"--max_time is over after {step} steps; the state is in {run / 'last.ckpt'}" in outcome.text
    assert saved(run / "last.ckpt")["global_step"] == step
    outcome = train(tiny, run, **chosen, resume="")
    assert outcome.code == 0, outcome.text
    assert_same_end(tmp_path / "straight", run)


# -- the command that it names -----------------------------------------------------------------------------


@pytest.mark.parametrize("ensemble", [1, 2])
def test_the_line_it_ends_with_goes_on(tiny: Path, tmp_path: Path, ensemble: int) -> None:
    """The command goes on with the training; of an ensemble, with all of it."""
    settings = {"max_epochs": 30, "ensemble": ensemble, "lr": 1e-2}
    with running(flags(tiny, tmp_path / "run", **settings)) as process:
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 130, text
    (said,) = re.findall(r"go on with: plumbline (train .*)", text)
    done = subprocess.run(
        [sys.executable, "-m", "plumbline", *shlex.split(said)],
        cwd=ROOT, env=fresh_environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert train(tiny, tmp_path / "straight", **settings).code == 0
    for folder in ("",) if ensemble == 1 else ("member-0", "member-1"):
        assert_same_end(tmp_path / "straight" / folder, tmp_path / "run" / folder)
    assert (tmp_path / "run" / "ensemble.ckpt").is_file() == (ensemble > 1)
