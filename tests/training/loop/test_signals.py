"""Ctrl-C, the end of a terminal and of a job: a training that is told to stop saves its state."""

import os
import pty
import re
import signal
import sys
import time
from pathlib import Path
from subprocess import PIPE
from types import SimpleNamespace

import pytest
import torch

from plumbline.training.loop.task import CentreOfMassTask
from tests.helpers.processes import DEADLINE, running
from tests.helpers.training_fixtures import (
    flags,
    fresh_environment,
    saved,
    train,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.skipif(os.name != "posix", reason="signals and terminals of POSIX"),
]


IN_TERMINAL = """
import fcntl, sys
fcntl.ioctl(0, 0x540E, 0)  # TIOCSCTTY: Ctrl-C reaches the whole group
from plumbline.cli import main
sys.exit(main())
"""


def in_terminal(
    arguments: list[str], *, stop_at: bytes, columns: int = 100, hang_up: bool = False
) -> tuple[int, str]:
    """``plumbline train`` on a terminal of its own, stopped by the terminal's Ctrl-C, or by its end."""
    main, side = pty.openpty()
    terminal = {"stdin": side, "stdout": side, "stderr": side, "start_new_session": True}
    with running(
        "-c", IN_TERMINAL, "train", *arguments,
        env=fresh_environment(TERM="xterm", COLUMNS=str(columns)), **terminal,
    ) as process:  # fmt: skip
        os.close(side)
        seen, sent = b"", False
        while True:
            try:
                seen += os.read(main, 65536)
            except OSError:  # the other end is closed: the program is over
                break
            if not sent and re.search(stop_at, seen):
                if hang_up:
                    break
                os.write(main, b"\x03")
                sent = True
        os.close(main)
        return process.wait(DEADLINE), seen.decode()


@pytest.mark.skipif(sys.platform != "linux", reason="the number of TIOCSCTTY")
def test_ctrl_c_on_a_terminal_stops_all_reader_processes_and_gives_the_cursor_back(
    tiny: Path,
    tmp_path: Path,
) -> None:
    changed = {"max_epochs": 100_000, "loader": "workers", "num_workers": 2}
    code, text = in_terminal(flags(tiny, tmp_path, **changed), stop_at=rb"epoch (\d\d+)/100000")
    assert code == 130
    assert text.count("stopping after this step") == 1, "reader processes must not answer Ctrl-C"
    assert re.search(r"loss \d\S+  val_loss \d\S+  [\d,]+ graphs/s  \S+( s)? left", text)
    assert "interrupted after" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is still hidden"
    assert not re.search(r"graphs/s", text[text.rindex("interrupted after") :])
    assert saved(tmp_path / "last.ckpt")["global_step"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="the number of TIOCSCTTY")
def test_a_training_whose_terminal_ends_saves_its_state(tiny: Path, tmp_path: Path) -> None:
    """As where a connection breaks: nothing can be said any more, and nothing is lost."""
    changed = {"max_epochs": 100_000, "loader": "workers", "num_workers": 2}
    code, text = in_terminal(flags(tiny, tmp_path, **changed), stop_at=rb"epoch (\d\d+)/100000", hang_up=True)
    assert code == 129
    ended = saved(tmp_path / "last.ckpt")["plumbline"]
    begun = int(re.findall(r"epoch (\d+)/100000", text)[-1])  # the bar moves after each step
    assert ended["global_step"] == 5 * ended["epochs_done"] + ended["batches_done"] > 5 * (begun - 1)
    assert train(tiny, tmp_path, max_epochs=ended["epochs_done"] + 1, resume="last").code == 0


@pytest.fixture
def hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before every step the terminal says twice that it ends."""
    step = CentreOfMassTask.training_step

    def stopped(self, batch, number):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
        return step(self, batch, number)

    monkeypatch.setattr(CentreOfMassTask, "training_step", stopped)


@pytest.mark.usefixtures("hung_up")
def test_nohup_keeps_the_end_of_a_terminal_away(tiny: Path, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert train(tiny, tmp_path, max_epochs=1).code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hung_up")
def test_a_terminal_that_ends_may_say_so_twice(tiny: Path, tmp_path: Path) -> None:
    assert train(tiny, tmp_path, max_epochs=1).code == 129
    assert saved(tmp_path / "last.ckpt")["global_step"] == 1


JOB = """
import sys, time
from plumbline.cli import main
from plumbline.training.loop.task import CentreOfMassTask
original = CentreOfMassTask.training_step
def ended(self, batch, number):
    if self.global_step == 7:
        print("now", flush=True)
        sys.stdin.readline()
    return original(self, batch, number)
CentreOfMassTask.training_step = ended
sys.exit(main(["train", *sys.argv[1:]]))
"""


def test_sigterm_to_every_process_of_a_job_leaves_the_readers_to_the_training(
    tiny: Path, tmp_path: Path
) -> None:
    """As batch systems send it; the step goes on for a while."""
    chosen = flags(tiny, tmp_path, max_epochs=9, loader="workers", num_workers=2)
    with running("-c", JOB, *chosen, stdin=PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "now\n":
                os.killpg(process.pid, signal.SIGTERM)
                break
        time.sleep(2)  # for readers to die in, if they would
        text, _ = process.communicate("\n", timeout=DEADLINE)
    assert process.returncode == 143, text
    assert "interrupted after 8 steps" in text
    assert saved(tmp_path / "last.ckpt")["global_step"] == 8


def test_ctrl_c_before_training_tells_the_trackers(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    codes: list[int] = []
    monkeypatch.setattr("plumbline.training.run._warm_up", interrupted)
    monkeypatch.setattr(
        "plumbline.training.show.tracking.Trackers.finish", lambda self, code: codes.append(code)
    )
    outcome = train(tiny, tmp_path)
    assert outcome.code == 130
    assert outcome.text.endswith("interrupted\n")
    assert codes == [1]


def test_times_after_going_on_within_an_epoch_are_of_what_was_trained(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = CentreOfMassTask.training_step

    def interrupted(task: CentreOfMassTask, batch, batch_idx: int) -> torch.Tensor:
        if task.global_step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return step(task, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(CentreOfMassTask, "training_step", interrupted)
        assert train(tiny, tmp_path, max_epochs=1).code == 130

    now = 0.0

    def slow(task: CentreOfMassTask, batch, batch_idx: int) -> torch.Tensor:
        nonlocal now
        now += 0.5
        return step(task, batch, batch_idx)

    clock = SimpleNamespace(perf_counter=lambda: now, monotonic=lambda: now)
    monkeypatch.setattr("plumbline.training.show.progress.time", clock)
    monkeypatch.setattr("plumbline.training.show.debug_timings.time", clock)
    monkeypatch.setattr(CentreOfMassTask, "training_step", slow)
    outcome = train(tiny, tmp_path, max_epochs=1, resume="", debug=True)
    (rate,) = re.findall(r"^epoch 1/1 .* (\d+) graphs/s", outcome.text, re.MULTILINE)
    assert rate == "16", "one batch of 8 in half a second was left of five"
    assert re.findall(r"first epoch: ([\d.]+) s", outcome.text) == ["0.500"]
