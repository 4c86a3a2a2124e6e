"""Trainings with W&B: the same training, whatever becomes of W&B, and all of its rows."""

import asyncio
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plumbline
from plumbline.data.store.reader import PackedStore
from plumbline.training.show.metrics_file import COLUMNS
from tests.helpers.offline_runs import read_run
from tests.helpers.processes import running
from tests.helpers.trackers import processes_with, until
from tests.helpers.training_fixtures import (
    assert_same_end,
    flags,
    fresh_environment,
    in_fresh_process,
    metric_rows,
    saved,
    step_rows,
    train,
)
from tests.helpers.wandb_server import WandbServer, wandb_server

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

LONG = {"use_wandb": True, "max_epochs": 100_000, "early_stopping": 0}
"""A training that has not ended when a test ends it."""


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with wandb_server() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def plain(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training without W&B."""
    folder = tmp_path_factory.mktemp("plain")
    assert train(tiny, folder).code == 0
    return folder


def steps(folder: Path) -> list[int]:
    """The steps of the rows of the CSV file, each once."""
    return sorted({int(row["step"]) for row in (*metric_rows(folder), *step_rows(folder))})


def test_an_offline_run_holds_all_metrics_and_the_data_set(tiny: Path, tmp_path: Path, plain: Path) -> None:
    named = {"wandb_name": "first", "wandb_tags": ["a", "b"]}
    done = in_fresh_process(
        flags(tiny, tmp_path, use_wandb=True, **named), WANDB_BASE_URL="http://127.0.0.1:1",
        WANDB_API_KEY="0" * 40, WANDB_INIT_TIMEOUT="1", NETRC="/nowhere",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert re.search(
        r"^W&B failed \(.*; all rows are recorded offline, upload with: wandb sync ", done.stdout, re.M
    )
    (path,) = tmp_path.glob("wandb/offline-run-*")
    run = read_run(path)
    assert (run.name, run.tags) == ("first", ["a", "b"])
    assert run.id == saved(tmp_path / "last.ckpt")["plumbline"]["tracking"]["wandb_id"]
    rows = metric_rows(tmp_path)
    epochs = [row for row in run.history if "val_loss" in row]
    assert [row["val_loss"] for row in epochs] == [float(row["val_loss"]) for row in rows]
    assert [row["_step"] for row in epochs] == [int(row["step"]) for row in rows]
    for name in COLUMNS:
        if name != "step" and not name.endswith("_step"):
            assert name in epochs[0], name
    assert run.config["batch_size"] == 8
    dataset = run.config["dataset"]
    assert (dataset["num_graphs"], dataset["num_train"], dataset["num_val"]) == (48, 44, 4)
    assert dataset["num_nodes"] == PackedStore.open(tiny).node_ptr[-1]
    assert dataset["data_dir"] == str(tiny)
    assert dataset["rejected"] == ["meshes/open_cup.off: the mesh is open: 12 boundary edges"]
    assert dataset["used_share"] == pytest.approx(48 / 49)
    assert_same_end(plain, tmp_path)


def test_a_training_does_not_wait_for_the_first_answer(
    tiny: Path, tmp_path: Path, server: WandbServer, plain: Path
) -> None:
    """It has trained for epochs when the server answers, and the server gets all of them."""
    server.answering.clear()
    arguments = flags(tiny, tmp_path, **LONG)
    with running(
        "-m", "plumbline", "train", *arguments, env=fresh_environment(**server.environment())
    ) as process:
        assert server.asked.wait(60)
        before = len(metric_rows(tmp_path))
        until(lambda: len(metric_rows(tmp_path)) > before + 5)
        assert server.runs == {}
        server.answering.set()
        until(lambda: server.runs)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate()
    assert process.returncode == 130
    (run,) = server.runs
    assert f"W&B run: {server.url}" in said
    assert server.steps(run) == steps(tmp_path)
    assert server.runs[run]["exit_code"] == 130
    assert metric_rows(tmp_path)[:2] == metric_rows(plain)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_loses_no_row(
    tiny: Path, tmp_path: Path, server: WandbServer, signum: signal.Signals
) -> None:
    arguments = flags(tiny, tmp_path, **LONG)
    environment = fresh_environment(**server.environment())
    with running("-m", "plumbline", "train", *arguments, env=environment, start_new_session=True) as process:
        until(lambda: server.runs)
        os.killpg(process.pid, signum)
        process.communicate()
    (run,) = server.runs
    assert server.steps(run) == steps(tmp_path)
    assert server.runs[run]["exit_code"] == 128 + signum


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_after_a_killed_training_the_run_ends_by_itself_and_continues_on_resume(
    tiny: Path, tmp_path: Path, server: WandbServer
) -> None:
    environment = fresh_environment(**server.environment())
    with running("-m", "plumbline", "train", *flags(tiny, tmp_path, **LONG), env=environment) as process:
        until(lambda: server.runs and (tmp_path / "last.ckpt").exists() and len(metric_rows(tmp_path)) > 5)
        process.kill()
        process.wait()
    until(lambda: not processes_with(server.url))
    (run,) = server.runs
    assert server.runs[run]["exit_code"] == 1
    sent, logged = server.steps(run), steps(tmp_path)
    assert len(sent) > 5
    assert sent == logged[: len(sent)], "a kill may only lose the last rows, on their way out of the training"
    lost = set(logged[len(sent) :])
    done = saved(tmp_path / "last.ckpt")["plumbline"]["epochs_done"]
    arguments = flags(tiny, tmp_path, use_wandb=True, resume="", max_epochs=done + 2)
    again = in_fresh_process(arguments, **server.environment())
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"W&B resumes: {server.url}" in again.stdout
    assert list(server.runs) == [run]
    assert {*server.steps(run)} | lost == {*steps(tmp_path)} | lost
    assert server.runs[run]["exit_code"] == 0
    assert processes_with(server.url) == []


def test_a_broken_library_does_not_end_the_training(tiny: Path, tmp_path: Path, plain: Path) -> None:
    """The case ``wandb_broken_install.sh``, and the same for TensorBoard."""
    for package in ("wandb", "tensorboard"):
        (tmp_path / "site" / package).mkdir(parents=True)
        (tmp_path / "site" / package / "__init__.py").write_text(
            "raise AttributeError('`np.float_` was removed in the NumPy 2.0 release. Use `np.float64`.')\n"
        )
    run = tmp_path / "run"
    arguments = flags(tiny, run, use_wandb=True, logger=["tensorboard"])
    done = in_fresh_process(arguments, PYTHONPATH=str(tmp_path / "site"))
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("W&B", "TensorBoard"):
        assert (
            done.stdout.count(
                f"{name} cannot be used: it is installed, but broken (AttributeError: `np.float_`"
            )
            == 1
        )
    assert "Traceback" not in done.stdout
    assert_same_end(plain, run)


@pytest.mark.parametrize("where", ["thread", "event loop"])
def test_from_python_it_is_the_same(
    tiny: Path, tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """In a thread, and within a running event loop, as in a notebook."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    events: list[Any] = []
    small = {"batch_size": 8, "hidden_dim": 16, "num_layers": 2, "max_epochs": 2, "accelerator": "cpu"}

    def train_here() -> None:
        plumbline.train(data_dir=tiny, checkpoint_dir=tmp_path, use_wandb=True, report=events.append, **small)

    async def loop() -> None:
        train_here()

    if where == "thread":
        thread = threading.Thread(target=train_here)
        thread.start()
        thread.join()
    else:
        asyncio.run(loop())
    assert any("W&B records offline" in event.text for event in events)
    (path,) = tmp_path.glob("wandb/offline-run-*")
    assert read_run(path).steps == steps(tmp_path)
    assert_same_end(plain, tmp_path)
    assert not [thread for thread in threading.enumerate() if thread.name == "W&B"]
