"""A stopped ensemble: the command that it prints resumes all members and ends with the same bits."""

import os
import re
import shlex
from pathlib import Path

import pytest

from tests.helpers.training_fixtures import (
    assert_same_end,
    differences,
    flags,
    run_python,
    saved,
    train,
)

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="sends a signal"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

STOPPED = """
import os, signal, time
now = time.monotonic
from plumbline.cli import main
from plumbline.training.loop.task import CentreOfMassTask
original = CentreOfMassTask.training_step
def stopped(self, batch, number):
    if self.identity["config"]["member"] == {member} and self.global_step == 7:
        {how}
    return original(self, batch, number)
CentreOfMassTask.training_step = stopped
raise SystemExit(main(["train", *{arguments!r}]))
"""
"""An ensemble that is stopped in the eighth step of one of its members."""

SETTINGS = {"ensemble": 2, "max_epochs": 3, "lr": 1e-2}


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two members in one go."""
    folder = tmp_path_factory.mktemp("whole")
    assert train(tiny, folder, **SETTINGS).code == 0
    return folder


@pytest.mark.parametrize(
    ("member", "how", "code"),
    [
        (0, "os.kill(os.getpid(), signal.SIGINT)", 130),
        (1, "os.kill(os.getpid(), signal.SIGTERM)", 143),
        (0, "time.monotonic = lambda: now() + 3600", 0),
    ],
    ids=["first", "second", "out-of-time"],
)
def test_the_command_that_is_printed_goes_on_with_all_of_it(
    tiny: Path, whole: Path, tmp_path: Path, member: int, how: str, code: int
) -> None:
    arguments = flags(tiny, tmp_path, **SETTINGS, max_time=None if code else "00:00:30:00")
    stopped = run_python("-c", STOPPED.format(member=member, how=how, arguments=arguments))
    assert stopped.returncode == code, stopped.stderr
    assert saved(tmp_path / f"member-{member}" / "last.ckpt")["global_step"] == 8
    assert (tmp_path / "member-1").exists() == (member == 1), "nothing is begun after the end"
    assert not (tmp_path / "ensemble.ckpt").exists()
    (command,) = re.findall("^resume with: (.*)$", stopped.stdout, re.MULTILINE)
    program, *rest = shlex.split(command)
    assert program == "plumbline"
    done = run_python("-m", "plumbline", *rest, *(() if code else ("--max_time", "00:01:00:00")))
    assert done.returncode == 0, done.stderr
    for name in ("member-0", "member-1"):
        assert_same_end(whole / name, tmp_path / name)
    joined = [saved(folder / "ensemble.ckpt") for folder in (whole, tmp_path)]
    assert differences(joined[0]["state_dict"], joined[1]["state_dict"]) == []


def test_an_ensemble_that_cannot_begin_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    outcome = train(tmp_path / "data", tmp_path / "run", ensemble=2)
    assert outcome.code == 2
    assert "no data set in" in outcome.text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("resume", "refusal"),
    [("last", "no member in .* has a checkpoint"), ("a.ckpt", "--resume a.ckpt resumes one model")],
)
def test_going_on_from_what_is_no_ensemble_is_refused(tiny: Path, tmp_path: Path, resume, refusal) -> None:
    outcome = train(tiny, tmp_path / "run", ensemble=2, resume=resume)
    assert outcome.code == 2
    assert re.search(refusal, outcome.text)
    assert not (tmp_path / "run").exists()


def test_the_command_that_trains_on_is_that_of_all_of_it(tiny: Path, tmp_path: Path) -> None:
    outcome = train(tiny, tmp_path, **SETTINGS | {"max_epochs": 1})
    commands = re.findall("^train longer +(.*)$", outcome.text, re.MULTILINE)
    words = ["plumbline", "train", "--config", str(tmp_path / "config.yaml"), "--resume", "--max_epochs", "2"]
    assert list(map(shlex.split, commands)) == [words] * 2
