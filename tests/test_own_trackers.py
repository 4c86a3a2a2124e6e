"""A tracker in the user's own file: it gets the rows of ``metrics.csv``, and its failures end nothing."""

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import plumbline
from plumbline.errors import InputError
from plumbline.own_parts import load
from plumbline.training.show import tracker
from tests.helpers import ROOT
from tests.helpers.processes import running
from tests.helpers.trackers import Logging, until
from tests.helpers.training_fixtures import (
    _rows,
    assert_same_end,
    flags,
    fresh_environment,
    in_fresh_process,
    run_python,
    saved,
    train,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

PAGE = (ROOT / "docs" / "train.md").read_text(encoding="utf-8")
(JSON_LINES,) = re.findall(r"```python tracker\n(.*?)```", PAGE, re.DOTALL)
OTHERS = """
import os, pathlib, sys, time

class Quiet:
    def __init__(self, run): pass
    def log(self, metrics, step, when): print("to nobody", flush=True)
    def finish(self, exit_code): pass

class NoRun(Quiet):
    def __init__(self, run): raise KeyError("no server")

class NoLog:
    def __init__(self, run): pass
    def finish(self, exit_code): pass

class FailsLate(Quiet):
    def log(self, metrics, step, when):
        if step > 3:
            raise ValueError("full")

class FailsAtTheEnd(Quiet):
    def finish(self, exit_code): raise OSError("gone")

class Leaves(Quiet):
    def log(self, metrics, step, when): os._exit(3)

class Exits(Quiet):
    def log(self, metrics, step, when): sys.exit("enough")

class HangsAtTheStart(Quiet):
    def __init__(self, run): time.sleep(1000)

class Hangs(Quiet):
    def log(self, metrics, step, when): time.sleep(1000)

class HangsAtTheEnd(Quiet):
    def finish(self, exit_code): time.sleep(1000)

class Slow(Quiet):
    def __init__(self, run): self.path = pathlib.Path(run.folder, "slow.txt")
    def log(self, metrics, step, when):
        time.sleep(0.1)
        with open(self.path, "a") as file: file.write(f"{step}\\n")
"""
FAILURES = {
    "NoRun": "KeyError: 'no server' (line 10)",
    "NoLog": "it has no method log",
    "FailsLate": "ValueError: full (line 19)",
    "FailsAtTheEnd": "OSError: gone (line 22)",
    "Leaves": "its process ended with exit code 3",
    "Exits": "enough",
}
HANGING = {
    "HangsAtTheStart": "it did not start within 1 s of the end of the training",
    "Hangs": "it did not end within 1 s of the end of the training",
    "HangsAtTheEnd": "it did not end within 1 s of the end of the training",
}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my_tracker.py"
    path.write_text(JSON_LINES, encoding="utf-8")
    return path


@pytest.fixture
def others(tmp_path: Path) -> Path:
    path = tmp_path / "others.py"
    path.write_text(OTHERS, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def plain(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training without a tracker."""
    folder = tmp_path_factory.mktemp("plain")
    assert train(tiny, folder).code == 0
    return folder


def logged(folder: Path) -> list[dict[str, Any]]:
    """The lines that the tracker of the documentation wrote."""
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def of_csv(folder: Path) -> list[dict[str, float]]:
    """The rows of ``metrics.csv``, without empty cells."""
    return [{name: float(value) for name, value in row.items() if value} for row in _rows(folder)]


def rows_of(lines: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Those of the lines that are rows, without their times."""
    return [
        {name: value for name, value in line.items() if name != "when"} for line in lines if "step" in line
    ]


def test_it_gets_the_flags_the_rows_of_the_csv_file_and_the_end(
    tiny: Path, tmp_path: Path, mine: Path, plain: Path
) -> None:
    run = tmp_path / "run"
    before = time.time()
    done = train(tiny, run, logger=[f"{mine}:JsonLines"], lr=1e-3)
    assert done.code == 0
    assert f"metrics.csv; {mine}:JsonLines starts in a process of its own" in done.text
    assert f"rows in {run / 'rows.jsonl'}" in done.text
    first, *lines, last = logged(run)
    assert rows_of(lines) == of_csv(run), "every number, to the last digit"
    times = [line["when"] for line in lines]
    assert before <= times[0]
    assert times == sorted(times)
    assert times[-1] <= time.time()
    assert first == {"run": saved(run / "last.ckpt")["plumbline"]["tracking"]["run_id"], "lr": 1e-3}
    assert last == {"exit_code": 0}
    assert yaml.safe_load((run / "config.yaml").read_text())["logger"] == [f"{mine}:JsonLines"]
    assert_same_end(plain, run)


def test_it_may_read_every_flag_and_the_statistics_of_the_data(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "reads.py"
    file.write_text(
        "import json, sys\n"
        "class Reads:\n"
        "    def __init__(self, run):\n"
        "        run.say(json.dumps([run.config, str(run.folder), run.resume_step, sys.argv]))\n"
        "    def log(self, metrics, step, when): pass\n"
        "    def finish(self, exit_code): pass\n"
    )
    said: list[str] = []
    plumbline.train(
        data_dir=tiny, checkpoint_dir=tmp_path / "run", logger=["csv", f"{file}:Reads"], max_epochs=1,
        hidden_dim=8, report=lambda event: said.append(event.text),
    )  # fmt: skip
    ((config, folder, resume_step, _),) = [json.loads(text) for text in said if text.startswith("[{")]
    assert config.pop("dataset")["num_graphs"] == 48
    assert config == saved(tmp_path / "run" / "last.ckpt")["plumbline"]["config"]
    assert (folder, resume_step) == (str(tmp_path / "run"), None)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, 1)])
def test_a_stopped_training_ends_it_and_a_resumed_one_continues(
    tiny: Path, tmp_path: Path, mine: Path, signum: signal.Signals, code: int
) -> None:
    run = tmp_path / "run"
    given = {"logger": [f"{mine}:JsonLines"], "max_epochs": 100_000}
    with running("-m", "plumbline", "train", *flags(tiny, run, **given), env=fresh_environment()) as process:
        until(
            lambda: (run / "last.ckpt").exists() and (run / "rows.jsonl").exists() and len(logged(run)) > 20
        )
        process.send_signal(signum)
        process.communicate()
    until(lambda: "exit_code" in logged(run)[-1])
    first, *lines, last = logged(run)
    assert last == {"exit_code": code}
    assert rows_of(lines) == of_csv(run)[: len(lines)], "a kill may only lose the last ones"
    step = saved(run / "last.ckpt")["global_step"]
    again = in_fresh_process(flags(tiny, run, **{**given, "max_epochs": step // 5 + 2}, resume=""))
    assert again.returncode == 0, again.stdout + again.stderr
    now, *lines, last = logged(run)
    assert now == first, "the same run"
    kept = [row["step"] for row in rows_of(lines)]
    assert kept == sorted(kept)
    missing = [row for row in of_csv(run) if row not in rows_of(lines)]
    assert rows_of(lines) == [row for row in of_csv(run) if row not in missing]
    assert all(row["step"] <= step for row in missing)
    assert not missing or signum == signal.SIGKILL
    assert last == {"exit_code": 0}


@pytest.mark.parametrize("name", FAILURES)
def test_what_fails_is_said_once_with_its_line_and_the_training_is_the_same(
    tiny: Path, tmp_path: Path, others: Path, plain: Path, name: str
) -> None:
    run = tmp_path / "run"
    done = train(tiny, run, logger=[f"{others}:{name}"])
    assert done.code == 0
    assert f"{others}:{name} cannot be used: {FAILURES[name]}\n" in done.text
    assert done.text.count("cannot be used") == 1
    assert "Traceback" not in done.text
    assert_same_end(plain, run)


@pytest.mark.parametrize("name", HANGING)
def test_what_hangs_is_ended_after_a_bounded_time(
    tiny: Path, tmp_path: Path, others: Path, plain: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training itself has long been done; the limits are shortened here."""
    monkeypatch.setattr(tracker, "_START_SECONDS", 30.0 if name != "HangsAtTheStart" else 1.0)
    monkeypatch.setattr(tracker, "FINISH_SECONDS", 1.0)
    monkeypatch.setattr(tracker, "_SPARE_SECONDS", 0.0)
    run = tmp_path / "run"
    done = train(tiny, run, logger=[f"{others}:{name}"])
    assert done.code == 0
    assert f"{others}:{name} cannot be used: {HANGING[name]}\n" in done.text
    assert_same_end(plain, run)


def test_a_slow_one_gets_every_row_and_the_training_does_not_wait(tmp_path: Path, others: Path) -> None:
    """Fifty rows of a tenth of a second each: all are added before the tracker has half of them."""
    logging = Logging(tmp_path / "run", use_wandb=False, logger=[f"{others}:Slow"])
    logging.log(range(50))
    slow = tmp_path / "run" / "slow.txt"
    assert not slow.exists() or len(slow.read_text().splitlines()) < 25
    logging.finish()
    assert slow.read_text().split() == [str(step) for step in range(50)]


def test_several_at_once_each_get_all(tiny: Path, tmp_path: Path, mine: Path, others: Path) -> None:
    run = tmp_path / "run"
    names = ["tensorboard", f"{mine}:JsonLines", f"{others}:NoRun", f"{others}:Quiet"]
    done = train(tiny, run, logger=names)
    assert done.code == 0
    assert done.text.count("cannot be used") == 1
    assert "to nobody" not in done.text
    assert rows_of(logged(run)) == of_csv(run)
    assert list((run / "tensorboard").iterdir())


def test_only_the_first_of_two_processes_tracks(tiny: Path, tmp_path: Path, mine: Path) -> None:
    run, starts = tmp_path / "run", tmp_path / "starts"
    starts.mkdir()
    mine.write_text(JSON_LINES + f"\nimport os\nopen({str(starts)!r} + f'/{{os.getpid()}}', 'w').close()\n")
    done = in_fresh_process(flags(tiny, run, logger=[f"{mine}:JsonLines"], devices=2, batch_size=4))
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows_of(logged(run)) == of_csv(run)
    assert len(list(starts.iterdir())) == 1


def test_from_python_a_class_is_enough(
    tiny: Path, tmp_path: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a name that is found from another folder too."""
    found = load(f"{mine}:JsonLines")
    for logger in (found, ["csv", found]):
        done = plumbline.train(
            logger=logger, data_dir=tiny, checkpoint_dir=tmp_path / "run", hidden_dim=8, max_epochs=1
        )
        assert rows_of(logged(done.run_folder)) == of_csv(done.run_folder)


def test_a_class_of_the_running_program_is_refused(tiny: Path, tmp_path: Path) -> None:
    """Its process would run the program again, and so on."""
    program, run = tmp_path / "program.py", tmp_path / "run"
    program.write_text(
        f"{JSON_LINES}\nimport plumbline\n"
        f"plumbline.train(logger=[JsonLines], data_dir={str(tiny)!r}, checkpoint_dir={str(run)!r})\n"
    )
    done = run_python(str(program))
    assert "InputError: --logger JsonLines: it is defined in the program that runs" in done.stderr
    assert not run.exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Nothing", "FILE defines no class Nothing at its top level; it has Quiet, NoRun, NoLog, "),
        ("time", "FILE defines no class time at its top level"),
    ],
)
def test_what_is_no_class_is_refused_before_training(
    tiny: Path, tmp_path: Path, others: Path, name: str, said: str
) -> None:
    done = train(tiny, tmp_path / "run", logger=[f"{others}:{name}"])
    assert done.code == 2
    assert said.replace("FILE", str(others)) in done.text
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=r"choose one of csv, tensorboard, wandb, path/to/file.py:ClassName"):
        plumbline.train_settings(logger=["mlflow"])


def test_a_trial_run_does_not_start_it(tiny: Path, tmp_path: Path, mine: Path) -> None:
    done = train(tiny, tmp_path / "run", logger=[f"{mine}:JsonLines"], fast_dev_run=2)
    assert done.code == 0
    assert "in a process of its own" not in done.text
    assert not (tmp_path / "run").exists()
