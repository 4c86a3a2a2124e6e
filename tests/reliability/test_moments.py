"""A training that is killed at the worst moments, or stopped by a signal, resumes to the same bits."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.helpers.processes import DEADLINE, running
from tests.helpers.training_fixtures import (
    assert_same_end,
    flags,
    in_fresh_process,
    metric_rows,
    run_python,
    saved,
    train,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")

MOMENTS = {
    "in validation": """
        from plumbline.training.loop.task import CentreOfMassTask as owner
        name, when = "validation_step", lambda self, *_: self.current_epoch == 2
    """,
    "while a checkpoint is written": """
        import os as owner
        name, when = "fsync", lambda *_: calls == 10
    """,
    "before it has its name": """
        import os as owner
        name = "replace"
        when = lambda _, target: str(target).endswith("last.ckpt") and owner.path.exists(target)
    """,
    "when the best is new and the last is old": """
        from plumbline.training.persistence.saving import DurableCheckpoints as owner
        name, when = "remove_checkpoint", lambda *_: True
    """,
    "when the old best is gone": """
        from plumbline.training.persistence.saving import BestAndLast as owner
        name, when = "_save_last_checkpoint", lambda self, trainer, _: trainer.current_epoch == 2
    """,
}
"""Where a function is replaced by one that kills its own process when the condition holds."""

KILLING = """
import os, signal
from plumbline.cli import main
calls = 0
{moment}
original = getattr(owner, name)
def deadly(*args, **kwargs):
    global calls
    calls += 1
    if when(*args):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)
setattr(owner, name, deadly)
main(["train", *{arguments!r}])
"""


@pytest.fixture(scope="module")
def straight(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight")
    assert train(tiny, folder, max_epochs=5, lr=1e-2).code == 0
    return folder


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed(tiny: Path, straight: Path, tmp_path: Path, moment: str) -> None:
    lines = [line.strip() for line in MOMENTS[moment].strip().splitlines()]
    arguments = flags(tiny, tmp_path, max_epochs=5, lr=1e-2)
    code = KILLING.format(moment="\n".join(lines), arguments=arguments)
    done = run_python("-c", code)
    assert done.returncode == -signal.SIGKILL
    assert saved(tmp_path / "last.ckpt")["global_step"] < 25
    resumed = train(tiny, tmp_path, max_epochs=5, lr=1e-2, resume="")
    assert resumed.code == 0, resumed.text
    assert_same_end(straight, tmp_path)
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)]
)
def test_a_signal_ends_it_after_the_step(tiny: Path, tmp_path: Path, signum: int, code: int) -> None:
    settings = {"max_epochs": 100_000}
    with running("-u", "-m", "plumbline", "train", *flags(tiny, tmp_path, **settings)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if re.match("epoch +2/", line):
                process.send_signal(signum)
                break
        rest, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == code, rest
    assert f"the state is in {tmp_path / 'last.ckpt'}" in rest
    steps = saved(tmp_path / "last.ckpt")["global_step"]
    assert f"interrupted after {steps:,} steps" in rest
    assert len(metric_rows(tmp_path)) >= steps // 5


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(tiny: Path, tmp_path: Path, signum: int) -> None:
    code = f"""
import os, signal, time
from plumbline.cli import main
from plumbline.training.loop.task import CentreOfMassTask
original = CentreOfMassTask.training_step
def hanging(self, batch, batch_idx):
    if self.global_step == 7:
        os.kill(os.getpid(), {int(signum)})
        os.kill(os.getpid(), {int(signum)})
        time.sleep(600)
    return original(self, batch, batch_idx)
CentreOfMassTask.training_step = hanging
raise SystemExit(main(["train", *{flags(tiny, tmp_path, max_epochs=3)!r}]))
"""
    done = run_python("-c", code)
    assert done.returncode == 128 + signum, done.stdout + done.stderr
    assert saved(tmp_path / "last.ckpt")["global_step"] == 5
    assert "Traceback" not in done.stderr


def test_checkpoints_within_an_epoch(tiny: Path, straight: Path, tmp_path: Path) -> None:
    code = KILLING.format(
        moment="from plumbline.training.loop.task import CentreOfMassTask as owner\n"
        "name, when = 'training_step', lambda self, *_: self.global_step == 9",
        arguments=flags(tiny, tmp_path, max_epochs=5, lr=1e-2, checkpoint_every_n_steps=2),
    )
    run_python("-c", code)
    assert saved(tmp_path / "last.ckpt")["global_step"] == 8
    again = in_fresh_process(flags(tiny, tmp_path, max_epochs=5, lr=1e-2, resume=""))
    assert "after 1 epoch and 3 batches" in again.stdout
    assert_same_end(straight, tmp_path)
