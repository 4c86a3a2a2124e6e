"""W&B in a process of its own: every condition of the server, of the library and of the process."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plumbline.training.records import DOCUMENTED_PROJECT
from plumbline.training.show import tracker
from tests.helpers.offline_runs import read_run, recorded
from tests.helpers.processes import DEADLINE
from tests.helpers.trackers import Logging, open_files, until
from tests.helpers.training_fixtures import metric_rows
from tests.helpers.wandb_server import WandbServer

pytestmark = pytest.mark.usefixtures("logged_out")

NOBODY = "http://127.0.0.1:1"


def kill(logging: Logging, signum: int = signal.SIGKILL) -> None:
    """Send a signal to the process of W&B."""
    process = logging.trackers._others[0]._process
    assert process is not None
    process.send_signal(signum)


def uploaded(sentences: list[str]) -> Path:
    """Carry out the command ``wandb sync`` of the last sentence, and return the folder of the run."""
    words = shlex.split(re.findall(r"wandb sync .*", sentences[-1])[0])
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(words[-1])


# -- servers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0, 2, pytest.param(10, marks=pytest.mark.long)])
def test_a_slow_server_gets_every_row(tmp_path: Path, server: WandbServer, delay: float) -> None:
    """Rows from before its first answer too; nobody waits for it to log them."""
    server.delay = delay
    server.answering.clear()
    logging = Logging(tmp_path / "run")
    logging.log(range(5))
    assert server.asked.wait(60)
    logging.log(range(5, 10))
    assert logging.said == ["metrics.csv; W&B starts in a process of its own"]
    assert server.runs == {}
    before = time.time()
    server.answering.set()
    logging.until_said("W&B run: ")
    server.delay = 0  # else it may not take everything at the end
    logging.log(range(10, 12))
    said = logging.finish()
    run = logging.trackers.kept["wandb_id"]
    assert said[1] == f"W&B run: {server.url}/me/{DOCUMENTED_PROJECT}/runs/{run}"
    assert server.steps(run) == list(range(12))
    times = [row["_timestamp"] for _, row in sorted(server.runs[run]["history"].items())]
    assert times == sorted(times)
    assert times[9] <= before < times[10]
    assert (server.runs[run]["exit_code"], server.runs[run]["config"]["lr"]) == (0, {"value": 1})
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert server.greeted == 0


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_server_that_refuses_is_replaced_by_a_record(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")  # it is asked again until then if it says 500
    server.status = status
    logging = Logging(tmp_path / "run")
    logging.log(range(5))
    said = logging.until_said("W&B failed (")
    assert f"made-up trouble {status}" in said
    assert "); all rows are recorded offline, upload with: wandb sync " in said
    logging.log(range(5, 8))
    assert f"TensorBoard: {tmp_path / 'run' / 'tensorboard'}" in logging.finish()
    run = recorded(tmp_path / "run")
    assert (run.id, run.steps) == (logging.trackers.kept["wandb_id"], list(range(8)))
    assert run.history[3]["val_loss"] == 3 / 7


@pytest.mark.parametrize("place", ["hanging", "nowhere"])
def test_the_time_limit_is_wandbs_own(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    server.answering.clear()
    if place == "nowhere":
        monkeypatch.setenv("WANDB_BASE_URL", NOBODY)
    logging = Logging(tmp_path / "run")
    logging.log(range(5))
    assert "W&B failed (Timed out" in logging.until_said("W&B failed (")
    logging.finish()
    assert recorded(tmp_path / "run").steps == list(range(5))


def test_the_end_waits_for_the_first_answer_within_bounds(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker, "_START_SECONDS", 0.1)
    monkeypatch.setattr(tracker, "_SOON", 0.1)
    monkeypatch.setattr(tracker, "_SPARE_SECONDS", 100.0)  # for the second process, on a busy machine
    server.answering.clear()
    logging = Logging(tmp_path / "run")
    logging.log(range(5))
    said = logging.finish()
    assert "waiting for W&B to receive the rest" in said
    assert any("it did not start within 0 s of the end of the training" in sentence for sentence in said)
    assert recorded(tmp_path / "run").steps == list(range(5))


@pytest.mark.parametrize("death", ["refusing", "hanging"])
def test_a_server_that_dies_midway_leaves_a_run_to_upload(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch, death: str
) -> None:
    monkeypatch.setattr("plumbline.training.show.tracking.FINISH_SECONDS", 2.0)
    logging = Logging(tmp_path / "run")
    logging.log(range(5))
    logging.until_said("W&B run: ")
    if death == "refusing":
        server.status = 404
    else:
        server.answering.clear()
    logging.log(range(5, 10))
    said = logging.finish()
    assert "W&B has not received everything; upload the rest with: wandb sync " in said[-1]
    assert "W&B: Fatal error while uploading data" in said[-2]
    server.status = 200
    server.answering.set()
    run = read_run(uploaded(said))
    assert run.steps == server.steps(run.id) == list(range(10))


# -- the process -------------------------------------------------------------------------------------------


def test_a_process_that_dies_is_replaced_and_no_row_is_lost(tmp_path: Path, server: WandbServer) -> None:
    logging = Logging(tmp_path / "run")
    logging.log(range(5))
    logging.until_said("W&B run: ")
    kill(logging)
    logging.log(range(5, 10))
    assert "its process ended with signal 9" in logging.until_said("W&B failed (")
    logging.log(range(10, 12))
    said = logging.finish()
    uploaded([sentence for sentence in said if "W&B failed" in sentence])
    run = recorded(tmp_path / "run")
    assert run.steps == server.steps(run.id) == list(range(12))
    assert list(server.runs) == [logging.trackers.kept["wandb_id"]]


def test_a_second_death_is_the_end_of_wandb_and_of_nothing_else(tmp_path: Path, server: WandbServer) -> None:
    logging = Logging(tmp_path / "run")
    for said in ("W&B run: ", "W&B failed ("):
        logging.log(range(5))
        logging.until_said(said)
        kill(logging)
    said = logging.until_said("W&B cannot be used: ")
    assert said == "W&B cannot be used: its process ended with signal 9"
    logging.log(range(5, 10))
    logging.finish()
    assert len(metric_rows(tmp_path / "run")) == 15


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_signals_to_a_whole_job_lose_no_row(tmp_path: Path, server: WandbServer) -> None:
    logging = Logging(tmp_path / "run")
    logging.until_said("W&B run: ")
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
        kill(logging, getattr(signal, name))
    logging.log(range(5))
    logging.finish(143)
    run = server.runs[logging.trackers.kept["wandb_id"]]
    assert (len(run["history"]), run["exit_code"]) == (5, 143)


def test_no_process_is_left_behind(tmp_path: Path, server: WandbServer) -> None:
    logging = Logging(tmp_path / "run")
    logging.log(range(5))
    logging.finish()
    process = logging.trackers._others[0]._process
    assert process is not None
    assert process.returncode == 0


def test_a_process_whose_training_is_gone_ends_whatever_the_server_does(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "from plumbline.training.show import tracker_program as p; p.LINGER = 1.0; p.main()"
    monkeypatch.setattr(tracker, "_PROGRAM", program)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", str(2 * DEADLINE))
    server.answering.clear()
    logging = Logging(tmp_path / "run")
    assert server.asked.wait(60)
    wandb = logging.trackers._others[0]
    process, wandb._again = wandb._process, None
    assert process is not None
    assert logging.trackers._rows is not None
    logging.trackers._rows.add({}, last=True)  # closes its input, as a killed training does
    assert process.wait(DEADLINE) == 1


def test_what_python_prints_at_its_start_does_no_harm(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("print('hello')\nprint(5)\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    logging = Logging(tmp_path / "run")
    logging.log(range(3))
    assert "W&B run: " in logging.finish()[-1]


def test_what_is_said_is_said_in_the_thread_of_the_training(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from plumbline.reporting import Reporter

    threads = set()
    say = Reporter.say
    monkeypatch.setattr(Reporter, "say", lambda *a: (threads.add(threading.current_thread()), say(*a)))
    logging = Logging(tmp_path / "run")
    logging.until_said("W&B run: ")
    logging.finish()
    assert threads == {threading.current_thread()}


# -- resuming ----------------------------------------------------------------------------------------------


def test_a_resumed_training_continues_its_run(tmp_path: Path, server: WandbServer) -> None:
    """The server already has rows from after the checkpoint: they are not logged twice."""
    first = Logging(tmp_path / "run")
    first.log(range(10))
    first.finish(1)
    kept = first.trackers.kept
    again = Logging(tmp_path / "run", kept=kept, resume_step=6)
    again.log(range(7, 15))
    said = again.finish()
    assert said[-1] == f"W&B resumes: {server.url}/me/{DOCUMENTED_PROJECT}/runs/{kept['wandb_id']}"
    assert again.trackers.kept == kept
    assert server.steps(kept["wandb_id"]) == list(range(15))
    assert server.runs[kept["wandb_id"]]["exit_code"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_resumed_training_waits_for_what_a_killed_one_is_still_sending(
    tmp_path: Path, server: WandbServer
) -> None:
    """Its tracker does, not the training: two of them would overwrite each other's rows."""
    first = Logging(tmp_path / "run")
    first.log(range(6))
    first.until_said("W&B run: ")
    again = Logging(tmp_path / "run", kept=first.trackers.kept, resume_step=5)
    again.log(range(6, 10))
    second = again.trackers._others[0]
    until(lambda: second._process and str(tmp_path / "run" / "wandb") in open_files(second._process.pid))
    time.sleep(2)  # in which it would start, if it did not wait
    first.finish(1)
    assert "W&B resumes: " in again.finish()[-1]
    assert server.steps(first.trackers.kept["wandb_id"]) == list(range(10))


def test_offline_a_resumed_training_keeps_its_id(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    first = Logging(tmp_path / "run")
    first.log(range(6))
    one = first.finish()
    again = Logging(tmp_path / "run", kept=first.trackers.kept, resume_step=5)
    again.log(range(6, 10))
    other = again.finish()
    monkeypatch.delenv("WANDB_MODE")
    runs = [read_run(uploaded(said)) for said in (one, other)]
    assert [run.id for run in runs] == [first.trackers.kept["wandb_id"]] * 2
    assert [run.steps for run in runs] == [list(range(6)), list(range(6, 10))]
    assert server.steps(runs[0].id) == list(range(10))


def test_two_trainings_are_two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same seed too."""
    import random

    ids = []
    for name in "ab":
        random.seed(0)
        logging = Logging(tmp_path / name, use_wandb=True)
        ids.append(logging.trackers.kept["wandb_id"])
        logging.finish()
    assert ids[0] != ids[1]
    assert all(re.fullmatch("[a-z0-9]{8}", each) for each in ids)
