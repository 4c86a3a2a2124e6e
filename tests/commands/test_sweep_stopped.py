"""A sweep that is stopped, killed or shared: no trial is lost, counted twice, or other than its training."""

import os
import signal
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.helpers.processes import running
from tests.helpers.sweeps import arrived, gated, open_gate, shared, table, wait_for
from tests.helpers.training_fixtures import assert_same_end, fresh_environment, train

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")


def started(
    out: Path, words: list[str], *own: str, **environment: str
) -> AbstractContextManager[subprocess.Popen[str]]:
    """A sweep of two learning rates in a process of its own."""
    command = ("-m", "plumbline", "sweep", "lr=1e-3,1e-2", "--out", str(out), *own, "--", *words)
    return running(*command, env=fresh_environment(**environment))


def says(out: Path, number: int, words: str) -> bool:
    """Whether a trial has printed something."""
    path = out / f"trial-{number:03d}" / "output.txt"
    return path.is_file() and words in path.read_text()


@pytest.fixture(scope="module")
def alone(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The trainings of both trials, never stopped."""
    folder = tmp_path_factory.mktemp("alone")
    loss = gated(folder)
    open_gate(folder)
    for lr in ("1e-3", "1e-2"):
        assert train(tiny, folder / lr, lr=lr, max_epochs=4, loss=loss).code == 0
    return {lr: folder / lr for lr in ("1e-3", "1e-2")}


def check_whole(out: Path, alone: dict[str, Path]) -> None:
    """Both trials are complete, once, and end as trainings that were never stopped."""
    rows = table(out)
    assert [(row["trial"], row["state"]) for row in rows] == [("0", "complete"), ("1", "complete")]
    assert sorted(row["lr"] for row in rows) == ["1e-2", "1e-3"]
    assert sorted(path.name for path in out.glob("trial-*")) == ["trial-000", "trial-001"]
    for row in rows:
        assert_same_end(alone[row["lr"]], out / row["folder"])


def test_ctrl_c_saves_two_trials_at_a_time_and_the_next_command_resumes_them(
    tiny: Path, alone: dict[str, Path], tmp_path: Path
) -> None:
    out, words = tmp_path / "out", shared(tiny, max_epochs=4, loss=gated(tmp_path))
    with started(out, words, "--workers", "2") as process:
        wait_for(lambda: len(arrived(tmp_path)) == 2, "two trials at a time")
        process.send_signal(signal.SIGINT)
        for number in (0, 1):
            wait_for(lambda number=number: says(out, number, "stopping after this step"), "stopping")
        open_gate(tmp_path)
        text = process.communicate()[0]
    assert process.returncode == 130, text
    assert "trials   2 of 2: 0 complete, 0 pruned, 0 failed" in text
    assert "resume   2 trials in the middle: give the same command again" in text
    assert [row["state"] for row in table(out)] == ["running", "running"]
    with started(out, words) as process:
        text = process.communicate()[0]
    assert process.returncode == 0, text
    assert all(f"trial {number} resumes" in text and says(out, number, "resuming") for number in (0, 1))
    check_whole(out, alone)


def test_kills_of_a_trial_and_of_the_sweep_lose_nothing(
    tiny: Path, alone: dict[str, Path], tmp_path: Path
) -> None:
    out, words = tmp_path / "out", shared(tiny, max_epochs=4, loss=gated(tmp_path))
    with started(out, words) as process:
        wait_for(lambda: len(arrived(tmp_path)) == 1, "the first trial")
        (first,) = arrived(tmp_path)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: len(arrived(tmp_path)) == 2, "the first trial, resumed")
        process.kill()
        text = process.communicate()[0]
    assert "trial 0 was ended by SIGKILL\ntrial 0 resumes\n" in text
    wait_for(lambda: says(out, 0, "stopping after this step"), "the trial, whose sweep is gone")
    with started(out, words) as process:
        open_gate(tmp_path)
        text = process.communicate()[0]
    assert process.returncode == 0, text
    assert "trial 0 resumes" in text
    check_whole(out, alone)


def test_a_sweep_that_ends_with_an_error_lets_the_other_trials_save_their_state(
    tiny: Path, alone: dict[str, Path], tmp_path: Path
) -> None:
    """The second trial to come to the gate finds a full disk, while the first one waits there."""
    out, words = tmp_path / "out", shared(tiny, max_epochs=4, loss=gated(tmp_path))
    loss, full = tmp_path / "gated.py", tmp_path / "full"
    full.touch()
    refusal = "        if (HERE / 'full').exists() and len(list(HERE.glob('arrived-*'))) > 1:\n"
    refusal += "            raise OSError(28, 'No space left')\n"
    loss.write_text(loss.read_text().replace("        while", refusal + "        while"))
    with started(out, words, "--workers", "2") as process:
        wait_for(lambda: any(says(out, number, "stopping after this step") for number in (0, 1)), "stopping")
        wait_for(lambda: len(arrived(tmp_path)) == 2, "both trials")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)  # it waits for the step of the other trial
        open_gate(tmp_path)
        text = process.communicate()[0]
    assert process.returncode == 2, text
    assert "there is no space left for" in text
    full.unlink()
    with started(out, words) as process:
        text = process.communicate()[0]
    assert process.returncode == 0, text
    assert sum(says(out, number, " after 1 epoch and ") for number in (0, 1)) == 1
    check_whole(out, alone)


SRUN = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1"}
"""What srun says to a command that it starts twice."""


def test_two_commands_share_the_trials(tiny: Path, alone: dict[str, Path], tmp_path: Path) -> None:
    out, words = tmp_path / "out", shared(tiny, max_epochs=4, loss=gated(tmp_path))
    with started(out, words, **SRUN) as one, started(out, words, **SRUN) as other:
        wait_for(lambda: len(arrived(tmp_path)) == 2, "a trial of each command")
        open_gate(tmp_path)
        texts = [process.communicate()[0] for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], texts
    for text in texts:
        assert sum(line.startswith(("trial 0 ", "trial 1 ")) for line in text.splitlines()) == 1, text
    assert not any("resumes" in text for text in texts)
    check_whole(out, alone)
