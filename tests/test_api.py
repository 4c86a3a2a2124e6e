"""Training from Python: the command's bits, its refusals, and a process that is as it was."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import plumbline
from plumbline import Event, InputError, TrainSettings
from plumbline.config.train import TrainConfig
from plumbline.training.show.startup import PHASES
from tests.helpers.training_fixtures import assert_same_end, interrupt_at, run_python, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SMALL: dict[str, Any] = {
    "batch_size": 8, "hidden_dim": 16, "num_layers": 2, "max_epochs": 2, "accelerator": "cpu"
}  # fmt: skip

PROCESS = """
import asyncio, os, random, signal, sys, threading, warnings, logging
import numpy as np
import torch
import plumbline

def state():
    return {
        "generators": [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()],
        "torch": [
            torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(), torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic,
        ],
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "threads": threading.enumerate(),
        "hook": sys.excepthook,
    }

def libraries():
    named = ("", "lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    return {
        "filters": list(warnings.filters),
        "loggers": [(logging.getLogger(name).level, logging.getLogger(name).handlers[:]) for name in named],
        "compiler": [type(sys.modules.get(name)).__name__ for name in ("torch._dynamo", "lightning.pytorch")],
    }

import plumbline.training.run  # libraries add variables and filters, and draw, when they are first imported
torch.backends.cuda.matmul.allow_tf32 = True
torch.set_num_threads(2)
random.seed(1), np.random.seed(2), torch.manual_seed(3)
data, out = sys.argv[1:3]

def once(name, **more):
    before = state()
    result = plumbline.train(
        data_dir=data, checkpoint_dir=os.path.join(out, name), batch_size=8, hidden_dim=16, num_layers=2,
        max_epochs=2, accelerator="cpu", **more,
    )
    assert (result.outcome, result.exit_code) == ("finished", 0)
    after = state()
    assert before == after, [name for name in before if before[name] != after[name]]
    return libraries()
"""
"""Trains in many ways, and looks each time whether anything is left behind."""

WAYS = {
    "twice": """
first = once("one")
assert once("two") == first
other = once("other", deterministic=True, precision="64", loader="workers", num_workers=1)
assert other["filters"] == first["filters"]
assert once("three")["filters"] == first["filters"]
""",
    "thread": """
failed = []
def work():
    try:
        once("one")
        once("two")
    except BaseException as error:
        failed.append(repr(error))
thread = threading.Thread(target=work)
thread.start()
thread.join()
assert not failed, failed
""",
    "loop": """
async def cell():
    once("one")
    await asyncio.sleep(0)
    once("two")
asyncio.run(cell())
""",
}


@pytest.fixture(scope="module")
def command(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training as the command does it."""
    folder = tmp_path_factory.mktemp("command")
    assert train(tiny, folder).code == 0
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_the_bits_are_the_commands_and_the_process_is_as_it_was(
    tiny: Path, command: Path, tmp_path: Path, way: str
) -> None:
    done = run_python("-c", PROCESS + WAYS[way], str(tiny), str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for name in ("one", "two", "three") if way == "twice" else ("one", "two"):
        assert_same_end(command, tmp_path / name)
        for record in ("result.json", "config.yaml"):
            texts = [(folder / record).read_text("utf-8") for folder in (command, tmp_path / name)]
            assert texts[0] == texts[1].replace(str(tmp_path / name), str(command))


def test_two_processes_leave_the_process_as_it_was(tiny: Path, tmp_path: Path) -> None:
    """Lightning sets OMP_NUM_THREADS; a second training would take it for the user's and divide no cores."""
    ways = 'del os.environ["OMP_NUM_THREADS"]\nonce("one", devices=2)\nonce("two", devices=2)\n'
    done = run_python("-c", PROCESS + ways, str(tiny), str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_signals_are_left_alone_in_a_thread_while_it_runs(tiny: Path, tmp_path: Path) -> None:
    code = """
import signal, sys, threading, plumbline
before = {number: signal.getsignal(number) for number in signal.valid_signals()}
seen = []
def watch(event):
    seen.append(before == {number: signal.getsignal(number) for number in signal.valid_signals()})
def work():
    plumbline.train(
        data_dir=sys.argv[1], checkpoint_dir=sys.argv[2], batch_size=8, hidden_dim=16, max_epochs=3,
        report=watch,
    )
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(len(seen) > 10 and all(seen))
"""
    assert run_python("-c", code, str(tiny), str(tmp_path)).stdout == "True\n"


def test_settings_are_the_flags() -> None:
    assert [item.name for item in fields(TrainSettings)] == [item.name for item in fields(TrainConfig)]
    best = plumbline.train_settings(recipe="best", max_epochs=3, features=["sensor", "normal"], debug=True)
    assert (best.model, best.lr, best.max_epochs, best.debug) == ("ept", 6e-3, 3, True)
    assert best.features == ("sensor", "normal")
    assert plumbline.train_settings(lr=1 / 3).lr == 1 / 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"batchsize": 3}, "there is no flag --batchsize; did you mean --batch_size?"),
        ({"lr": -1}, "--lr -1.*: must be above 0"),
        ({"precision": "31"}, "--precision 31: choose one of"),
        (
            {"lr": object()},
            "--lr <object object at .*>: give a text, a number, a switch, a list of texts, for model a class",
        ),
        ({"data_dir": "nowhere/at/all"}, "nowhere/at/all"),
        ({"fast_dev_run": 1, "resume": "last"}, "leave --resume out"),
        ({"features": ["taste"]}, "--features taste: not in the data set"),
    ],
)
def test_what_the_caller_can_fix_is_an_input_error(
    tiny: Path, tmp_path: Path, flags: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        plumbline.train(**{"data_dir": tiny, "checkpoint_dir": tmp_path / "run", **SMALL, **flags})
    assert not (tmp_path / "run").exists()


def test_everything_is_reported_and_nothing_printed(
    tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[Event] = []
    plumbline.train(data_dir=tiny, checkpoint_dir=tmp_path / "run", report=told.append, **SMALL)
    ended = [event for event in told if event.kind == "phase"]
    names = ("Interpreter and imports", *PHASES, "Total startup time", "Warm-up")
    assert tuple(event.phase for event in ended) == names
    assert [event.phase for event in ended if event.text] == ["Model Compilation"]
    phases = json.loads((tmp_path / "run" / "startup.json").read_text())["phases"]
    assert [event.seconds for event in ended[1:9]] == [phase["seconds"] for phase in phases]
    said = [(event.phase, event.text) for event in told if event.kind == "message"]
    assert (
        "Dataset Splitting",
        "training: 44 graphs of 11 objects; validation: 4 graphs of 1 other object",
    ) in said
    assert [event.text[:9] for event in told if event.kind == "step"] == ["epoch 1/2", "epoch 2/2"]
    assert capfd.readouterr() == ("", "")


def test_the_result_says_how_it_ended(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = plumbline.train_settings(data_dir=tiny, checkpoint_dir=tmp_path / "run", **SMALL)
    with monkeypatch.context() as patch:
        interrupt_at(7, patch)
        stopped = plumbline.train(settings)
    assert (stopped.outcome, stopped.exit_code, stopped.table) == ("interrupted", 130, None)
    assert stopped.last_checkpoint == tmp_path / "run" / "last.ckpt"
    done = plumbline.train(settings, resume="last")
    assert (done.outcome, done.exit_code, done.run_folder) == ("finished", 0, tmp_path / "run")
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert done.table is not None
    assert done.table.to_dict() == written["table"]
    assert (str(done.best_checkpoint), done.metrics) == (written["best_checkpoint"], written["metrics"])
    again = plumbline.train(settings, resume="last")
    assert (again.outcome, again.exit_code, again.last_checkpoint) == (
        "already finished", 0, tmp_path / "run" / "last.ckpt"
    )  # fmt: skip
    early = plumbline.train(settings, max_epochs=50, early_stopping=1, lr=1e-30)
    assert (early.outcome, early.exit_code) == ("stopped early", 0)
    timed = plumbline.train(settings, max_epochs=100_000, max_time="00:00:00:01")
    assert (timed.outcome, timed.exit_code) == ("out of time", 0)
    trial = plumbline.train(settings, fast_dev_run=1, checkpoint_dir=tmp_path / "trial")
    assert (trial.outcome, trial.exit_code, trial.last_checkpoint) == ("finished", 0, None)
    assert not (tmp_path / "trial").exists()


def test_an_ensemble_returns_its_members(tiny: Path, tmp_path: Path) -> None:
    result = plumbline.train(data_dir=tiny, checkpoint_dir=tmp_path, ensemble=2, **SMALL | {"max_epochs": 1})
    assert result.best_checkpoint == tmp_path / "ensemble.ckpt"
    assert [member.run_folder.name for member in result.members] == ["member-0", "member-1"]
    assert all(member.table is not None for member in result.members)


def test_settings_need_no_torch() -> None:
    code = "import plumbline, sys; plumbline.train_settings(recipe='best'); print('torch' in sys.modules)"
    assert run_python("-c", code).stdout == "False\n"
