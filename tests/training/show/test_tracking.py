"""Where metrics go, and that tracking neither delays nor ends a training."""

import csv
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest

from plumbline import train_settings
from plumbline.data.store.reader import PackedStore
from plumbline.training.show import tracking, wandb_run
from plumbline.training.show.metrics_file import COLUMNS, CsvFile
from plumbline.training.show.tracking import Trackers, open_trackers
from plumbline.training.show.wandb_run import plan_wandb
from tests.helpers.processes import DEADLINE
from tests.helpers.training_fixtures import (
    flags,
    in_fresh_process,
    metric_rows,
    run_python,
    telling,
    train,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

KEY = "0123456789" * 4
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


# -- the plan ----------------------------------------------------------------------------------------------


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_run, "find_spec", lambda name: None)
    assert plan_wandb({"WANDB_API_KEY": KEY}).mode == "off"


@pytest.mark.parametrize(
    ("environment", "mode", "words"),
    [
        ({}, "offline", "not logged in"),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": KEY}, "offline", "WANDB_MODE"),
        ({"WANDB_MODE": "disabled", "WANDB_API_KEY": KEY}, "off", "turned off"),
        ({"WANDB_API_KEY": KEY, "WANDB_BASE_URL": NOBODY}, "offline", "127.0.0.1 is not reachable"),
    ],
)
def test_the_plan(environment: dict[str, str], mode: str, words: str) -> None:
    plan = plan_wandb({"NETRC": "/nowhere", **environment})
    assert plan.mode == mode
    assert words in plan.sentence


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def talking() -> Iterator[str]:
    """A server that answers every HEAD with "not found", and is silent after any other request."""
    asleep = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(404)

        def do_POST(self) -> None:
            asleep.wait(DEADLINE)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    asleep.set()
    server.shutdown()


def test_logged_in_and_reachable_is_online(talking: str, silent: str, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1\n  login user\n  password {KEY}\n")
    netrc.chmod(0o600)
    assert plan_wandb({"WANDB_BASE_URL": talking, "NETRC": str(netrc)}).mode == "online"
    assert plan_wandb({"WANDB_BASE_URL": talking, "WANDB_API_KEY": KEY, "NETRC": "/nowhere"}).mode == "online"
    for nobody in (NOBODY, silent):
        assert plan_wandb({"WANDB_BASE_URL": nobody, "NETRC": str(netrc)}).mode == "offline"


def test_looking_up_a_name_that_hangs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    released, ended = threading.Event(), threading.Event()

    def hang(*_: Any, **__: Any) -> NoReturn:
        released.wait(DEADLINE)
        ended.set()
        raise OSError

    monkeypatch.setattr(wandb_run, "urlopen", hang)
    plan = plan_wandb({"WANDB_API_KEY": KEY, "WANDB_BASE_URL": "https://far.away"})
    assert plan.mode == "offline"
    assert not ended.is_set()
    released.set()


def test_starting_wandb_is_bounded() -> None:
    assert wandb_run._PROBE_SECONDS < wandb_run._START_SECONDS < 5


# -- trainings ---------------------------------------------------------------------------------------------


def records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: LevelDB's log format behind a header of seven bytes."""
    from wandb.proto import wandb_internal_pb2

    content, at, parts = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while at < len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        checksum, length, kind = struct.unpack_from("<IHB", content, at)
        piece = content[at + 7 : at + 7 + length]
        assert zlib.crc32(piece, zlib.crc32(bytes([kind]))) == checksum
        at, parts = at + 7 + length, parts + piece
        if kind in (1, 4):  # a whole record, or the last piece of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def read_offline_run(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Config and history of the one offline run below a folder."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    config: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    for record in records(path):
        if record.WhichOneof("record_type") == "run":
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            assert (record.run.display_name, list(record.run.tags)) == ("first", ["a", "b"])
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            history.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in items})
    return config, history


PATIENT = f"""
import sys
from plumbline.cli import main
from plumbline.training.show import tracking
tracking._START_SECONDS = {DEADLINE}
sys.exit(main())
"""
"""The program with patience for W&B, which takes seconds to start on a busy machine."""


def test_with_an_unreachable_server_the_run_is_readable(
    tiny: Path,
    tmp_path: Path,
) -> None:
    wandb_flags = {"use_wandb": True, "wandb_name": "first", "wandb_tags": ["a", "b"], "max_epochs": 3}
    done = run_python(
        "-c", PATIENT, "train", *flags(tiny, tmp_path, **wandb_flags),
        WANDB_BASE_URL=NOBODY, WANDB_API_KEY=KEY, NETRC=str(tmp_path / "none"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is not reachable; it records offline" in done.stdout
    if find_spec("tensorboard") is not None:
        assert "; logging locally: metrics.csv and TensorBoard in " in done.stdout
        assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))
    assert done.stderr == ""
    config, history = read_offline_run(tmp_path)
    rows = metric_rows(tmp_path)
    epochs = [row for row in history if "val_loss" in row]
    assert [row["val_loss"] for row in epochs] == [float(row["val_loss"]) for row in rows]
    assert [row["_step"] for row in epochs] == [int(row["step"]) for row in rows]
    for name in COLUMNS:
        if name != "step" and not name.endswith("_step"):
            assert name in epochs[0], name
    assert config["batch_size"] == 8
    dataset = config["dataset"]
    assert (dataset["num_graphs"], dataset["num_train"], dataset["num_val"]) == (48, 44, 4)
    assert dataset["num_nodes"] == PackedStore.open(tiny).node_ptr[-1]
    assert dataset["data_dir"] == str(tiny)
    assert dataset["rejected"] == ["meshes/open_cup.off: the mesh is open: 12 boundary edges"]
    assert dataset["used_share"] == pytest.approx(48 / 49)


def test_a_server_that_never_answers_does_not_stop_the_training(
    tiny: Path,
    tmp_path: Path,
    talking: str,
) -> None:
    done = in_fresh_process(
        flags(tiny, tmp_path, use_wandb=True),
        WANDB_BASE_URL=talking, WANDB_API_KEY=KEY, NETRC=str(tmp_path / "none"),
    )  # fmt: skip
    ended = time.time()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "W&B did not start" in done.stdout
    assert len(metric_rows(tmp_path)) == 2
    phases = json.loads((tmp_path / "startup.json").read_text())["phases"]
    assert next(phase["seconds"] for phase in phases if phase["name"] == "Logging Setup") < DEADLINE / 2
    assert ended - (tmp_path / "curves.png").stat().st_mtime < DEADLINE / 2, (
        "W&B held up the end of the program"
    )


def test_without_wandb_tensorboard_stands_in(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("tensorboard")
    find = wandb_run.find_spec
    monkeypatch.setattr(wandb_run, "find_spec", lambda name: None if name == "wandb" else find(name))
    outcome = train(tiny, tmp_path, use_wandb=True)
    assert outcome.code == 0
    assert "W&B is not installed (pip install wandb); logging locally: metrics.csv and " in outcome.text
    assert f"TensorBoard in {tmp_path / 'tensorboard'}" in outcome.text
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))
    assert len(metric_rows(tmp_path)) == 2


def test_without_either_the_csv_is_enough(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (tracking, wandb_run):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    outcome = train(tiny, tmp_path, use_wandb=True)
    assert "logging locally: metrics.csv\n" in outcome.text
    assert len(metric_rows(tmp_path)) == 2


class Failing:
    """A tracker that fails at its third row."""

    def __init__(self) -> None:
        self.rows = 0

    def log(self, row: Any, step: int) -> None:
        self.rows += 1
        if self.rows == 3:
            raise ConnectionError("the server went away\nfor good")

    def finish(self, exit_code: int) -> None:
        raise AssertionError("a dropped tracker is not finished")


def test_a_tracker_that_fails_is_dropped_once_and_the_rest_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    failing = Failing()
    trackers = Trackers(CsvFile(tmp_path / "metrics.csv"), [failing], telling(said))
    for step in range(5):
        trackers.log({"epoch": 0}, step)
    trackers.finish(0)
    assert failing.rows == 3
    assert said == ["Failing failed and was disabled (the server went away)"]
    assert [row["step"] for row in metric_rows(tmp_path)] == list("01234")


def test_a_finish_that_hangs_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released, ended = threading.Event(), threading.Event()
    monkeypatch.setattr(wandb_run, "_FINISH_SECONDS", -4.8)
    run = object.__new__(wandb_run.WandbRun)

    class Hanging:
        dir = str(tmp_path / "run" / "files")

        def finish(self, exit_code: int) -> None:
            released.wait(DEADLINE)
            ended.set()

    run._run, run._online = Hanging(), False  # type: ignore[assignment]
    said: list[str] = []
    Trackers(None, [run], telling(said)).finish(0)
    assert not ended.is_set()
    assert "not everything was sent in time" in said[0]
    released.set()


def test_an_init_that_fails_is_said_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("timed out")

    monkeypatch.setattr(tracking, "WandbRun", fail)
    said: list[str] = []
    settings = train_settings(checkpoint_dir=tmp_path, use_wandb=True)
    trackers = open_trackers(settings, config={}, resume_step=None, report=telling(said))
    trackers.finish(0)
    assert len(said) == 1
    assert "W&B did not start" in said[0]
    assert "(timed out); logging locally: metrics.csv" in said[0]


# -- the CSV file ------------------------------------------------------------------------------------------


def test_numbers_read_back_equal_and_every_row_is_on_the_file_at_once(tmp_path: Path) -> None:
    file = CsvFile(tmp_path / "metrics.csv")
    file.log({"epoch": 3, "val_loss": 0.1 + 0.2}, 7)
    (row,) = metric_rows(tmp_path)
    assert list(row) == list(COLUMNS)
    assert (float(row["val_loss"]), row["epoch"], row["step"]) == (0.1 + 0.2, "3", "7")
    assert {value for name, value in row.items() if name not in ("epoch", "step", "val_loss")} == {""}
    with pytest.raises(ValueError, match="fields not in fieldnames"):
        file.log({"invented": 1.0}, 8)


def test_continuing_keeps_exactly_the_rows_up_to_the_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    file = CsvFile(path)
    for step in (5, 10, 15):
        file.log({"epoch": step // 5, "val_loss": step / 7}, step)
    file.finish(0)
    before = path.read_text().splitlines()
    with open(path, "a") as damaged:
        damaged.write("4,1")
    CsvFile(path, resume_step=10).finish(0)
    assert path.read_text().splitlines() == before[:3]
    with open(path, newline="") as again:
        assert len(list(csv.reader(again))) == 3


def test_the_tracking_module_does_not_import_wandb() -> None:
    code = "import sys, plumbline.training.show.tracking; sys.exit('wandb' in sys.modules)"
    assert run_python("-c", code).returncode == 0
