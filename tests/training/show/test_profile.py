"""``--profile``: the same training, a trace of some of its steps, and tables that say what the trace says."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import plumbline
from plumbline.errors import InputError
from plumbline.training.distributed.world import ALONE
from plumbline.training.loop.step_parts import (
    BACKWARD,
    CHECKPOINT,
    FETCH,
    FORWARD,
    METRICS,
    OPTIMIZER,
    REST,
    STEP_PARTS,
)
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.records import TrainResult
from plumbline.training.show import profile
from plumbline.training.show.trace import summarise
from tests.helpers.training_fixtures import assert_same_end, in_fresh_process, interrupt_at, train
from tests.helpers.training_fixtures import flags as command_line

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
ALWAYS = {FETCH, FORWARD, BACKWARD, OPTIMIZER, METRICS, REST}
"""Parts of every step."""


def profiled(data: Path, folder: Path, said: list[str] | None = None, **changed: Any) -> TrainResult:
    """A profiled training of ten steps in two epochs, from Python."""
    small = {"batch_size": 8, "hidden_dim": 16, "num_layers": 2, "max_epochs": 2, "accelerator": "cpu"}
    return plumbline.train(
        data_dir=data, checkpoint_dir=folder, profile=True,
        report=lambda event: None if said is None else said.append(event.text), **{**small, **changed},
    )  # fmt: skip


def events(folder: Path) -> list[dict[str, Any]]:
    """The timed events of a trace."""
    trace = json.loads(gzip.decompress((folder / "profile.json.gz").read_bytes()))
    return [event for event in trace["traceEvents"] if event["ph"] == "X"]


def within(event: dict[str, Any], ranges: list[dict[str, Any]]) -> list[str]:
    """The names of the ranges that hold an event."""
    return [
        one["name"]
        for one in ranges
        if one["ts"] <= event["ts"] and event["ts"] + event["dur"] <= one["ts"] + one["dur"]
    ]


def test_the_training_is_the_same(tiny: Path, tmp_path: Path) -> None:
    ends = []
    for name in (True, False):
        ends.append(tmp_path / str(name))
        assert train(tiny, ends[-1], profile=name, checkpoint_every_n_steps=3).code == 0
    assert_same_end(*ends)
    assert [path.name for path in ends[1].iterdir() if "profile" in path.name] == []


def test_the_trace_has_every_step_in_its_parts_and_the_tables_say_the_same(
    tiny: Path, tmp_path: Path
) -> None:
    found = profiled(tiny, tmp_path).profile
    assert found is not None
    assert (found.first, found.last, found.trace) == (6, 10, tmp_path / "profile.json.gz")
    marked = [event for event in events(tmp_path) if event["cat"] == "user_annotation"]
    steps = [event for event in marked if event["name"].startswith("step ")]
    assert [step["name"] for step in steps] == [f"step {number}" for number in range(6, 11)]
    parts = [event for event in marked if event["name"] in STEP_PARTS]
    assert all(len(within(part, steps)) == 1 for part in parts)
    for step in steps:
        here = sorted((part for part in parts if within(part, [step])), key=lambda part: part["ts"])
        assert {part["name"] for part in here} == ALWAYS
        assert here[0]["name"] == FETCH
        ends = [part["ts"] + part["dur"] for part in here]
        assert all(end <= later["ts"] for end, later in zip(ends, here[1:], strict=False)), "no overlap"
        assert sum(part["dur"] for part in here) <= step["dur"]
    assert found.seconds == pytest.approx(sum(step["dur"] for step in steps) / 5 / 1e6)
    for share in found.parts:
        mine = [part["dur"] for part in parts if part["name"] == share.name]
        assert (share.calls, share.seconds) == (len(mine) / 5, pytest.approx(sum(mine) / 5 / 1e6))
    assert tuple(share.name for share in found.parts) == STEP_PARTS
    ops = [event for event in events(tmp_path) if event["cat"] == "cpu_op" and within(event, steps)]
    own = {share.name: share for share in found.operations}
    assert own.keys() == {event["name"] for event in ops}
    assert sum(share.calls for share in found.operations) * 5 == pytest.approx(len(ops))
    outer = sum(event["dur"] for event in ops if len(within(event, ops)) == 1)
    assert sum(share.seconds for share in found.operations) == pytest.approx(outer / 5 / 1e6), "once each"
    times = [share.seconds for share in found.operations]
    assert times == sorted(times, reverse=True)
    backward = [within(event, parts) for event in ops if event["name"].endswith("Backward0")]
    assert backward == [[BACKWARD]] * len(backward)
    assert len(backward) >= 5
    assert set(found.after_epoch) == {"validation", "checkpoint"}


def test_the_tables_fit_a_terminal_and_name_parts_operations_and_the_trace(
    tiny: Path, tmp_path: Path
) -> None:
    text = train(tiny, tmp_path, profile=True).text
    begin = text.index("profile of steps 6 to 10: ")
    lines = text[begin : text.index("miss / radius")].splitlines()
    assert max(map(len, lines[:-2])) <= 80
    for name in ALWAYS:
        assert sum(line.startswith(f"{name} ") for line in lines) == 1, name
    assert sum(line.startswith("aten::") for line in lines) > 3
    assert re.search(r"^after epoch   validation [\d.]+ s, checkpoint [\d.]+ s$", text, re.MULTILINE)
    assert f"trace         {tmp_path / 'profile.json.gz'} (open it at ui.perfetto.dev)" in lines
    assert "GPU" not in "".join(lines)


@pytest.mark.parametrize(
    ("steps_per_epoch", "changed", "first", "last"),
    [
        (44, {"max_epochs": 1}, 11, 30),
        (22, {"max_epochs": 3}, 23, 42),
        (11, {"max_epochs": 3}, 12, 22),
        (11, {"max_epochs": 1}, 6, 11),
        (5, {"max_epochs": 4}, 11, 15),
        (5, {"max_steps": 3}, 2, 3),
        (5, {"max_epochs": 4, "val_every_n_epochs": 4}, 11, 15),
        (1, {"max_epochs": 1}, 1, 1),
    ],
)
def test_which_steps(
    tiny: Path, tmp_path: Path, steps_per_epoch: int, changed: dict[str, int], first: int, last: int
) -> None:
    """Twenty of one epoch after ten others, as far as the training has as many."""
    found = profiled(tiny, tmp_path, batch_size=44 // steps_per_epoch, **changed).profile
    assert found is not None
    assert (found.first, found.last) == (first, last)
    names = [event["name"] for event in events(tmp_path) if event["name"].startswith("step ")]
    assert names == [f"step {number}" for number in range(first, last + 1)]
    assert set(found.after_epoch) == {"validation", "checkpoint"}


def test_what_is_saved_within_the_epoch_is_a_part(tiny: Path, tmp_path: Path) -> None:
    found = profiled(tiny, tmp_path, checkpoint_every_n_steps=2).profile
    assert found is not None
    (share,) = [part for part in found.parts if part.name == CHECKPOINT]
    assert share.calls == 2 / 5, "steps 6 and 8; step 10 is saved after its validation"


def test_a_trial_run_shows_the_tables_and_writes_nothing(tiny: Path, tmp_path: Path) -> None:
    done = train(tiny, tmp_path / "run", profile=True, fast_dev_run=4)
    assert done.code == 0
    assert "--profile: a trial run shows where the time goes, and writes no trace" in done.text
    assert "profile of steps 3 to 4: " in done.text
    assert "perfetto" not in done.text
    assert not (tmp_path / "run").exists()


def test_a_resumed_training_profiles_its_own_steps(tiny: Path, tmp_path: Path) -> None:
    assert train(tiny, tmp_path, max_epochs=1).code == 0
    found = profiled(tiny, tmp_path, max_epochs=3, resume="last").profile
    assert found is not None
    assert (found.first, found.last) == (11, 15)


@pytest.mark.parametrize(("step", "shown"), [(2, False), (8, True)])
def test_an_interrupted_training_shows_its_whole_steps(
    tiny: Path, tmp_path: Path, step: int, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(step, monkeypatch)
    done = train(tiny, tmp_path, profile=True)
    assert done.code == 130
    assert ("profile of steps 6 to 9: " in done.text) == shown
    ended = "--profile: the training ended before the steps that were to be profiled"
    assert (ended in done.text) == (not shown)
    assert (tmp_path / "profile.json.gz").exists() == shown


def test_the_other_processes_wait_while_the_trace_is_written(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy: list[bool] = []

    def reads(*arguments: Any) -> Any:
        busy.append(ALONE.busy)
        return summarise(*arguments)

    monkeypatch.setattr(profile, "summarise", reads)
    profiled(tiny, tmp_path)
    assert [*busy, ALONE.busy] == [True, False]


def test_an_error_ends_the_profiler_too(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = CentreOfMassTask.training_step

    def fails(task: CentreOfMassTask, batch: Any, batch_idx: int) -> Any:
        if task.global_step == 7:
            raise InputError("made up")
        return original(task, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(CentreOfMassTask, "training_step", fails)
        with pytest.raises(InputError, match="made up"):
            profiled(tiny, tmp_path)
    assert profiled(tiny, tmp_path).profile is not None


def test_within_another_profiler_the_training_goes_through(tiny: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as outer:
        done = profiled(tiny, tmp_path, said)
    assert (done.outcome, done.profile) == ("finished", None)
    assert "--profile: the program is being profiled already; leave one of the two out" in said
    engine = "autograd::engine::evaluate_function"
    assert sum(event.name.startswith(engine) for event in outer.events()) >= 10, "the other profile is whole"


def test_a_trace_that_cannot_be_written_is_said(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(profile, "write_atomically", full)
    said: list[str] = []
    found = profiled(tiny, tmp_path, said).profile
    assert found is not None
    assert found.trace is None
    name = tmp_path / "profile.json.gz"
    assert f"cannot write {name} (No space left on device); training continues" in said


def test_torch_prints_nothing_of_its_own_and_one_of_two_processes_is_profiled(
    tiny: Path, tmp_path: Path
) -> None:
    done = in_fresh_process(command_line(tiny, tmp_path, profile=True, devices=2, batch_size=4))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("profile of steps 6 to 10: ") == 1
    assert len({event["pid"] for event in events(tmp_path) if event["cat"] == "user_annotation"}) == 1


def test_work_of_a_gpu_counts_where_it_was_submitted() -> None:
    """A trace as CUDA gives it: kernels run later than the operations that submit them."""

    def event(cat: str, name: str, ts: float, dur: float, tid: Any = 1, **args: Any) -> dict[str, Any]:
        return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "tid": tid, "args": args}

    trace = [
        {"ph": "M", "name": "process_name", "ts": 0.0},
        event("user_annotation", "step 1", 0, 100),
        event("gpu_user_annotation", "step 1", 20, 100, tid=7),
        event("user_annotation", FORWARD, 0, 40),
        event("user_annotation", BACKWARD, 40, 60),
        event("gpu_user_annotation", FORWARD, 20, 10, tid=7),
        event("cpu_op", "aten::linear", 1, 20),
        event("cpu_op", "aten::addmm", 2, 10),
        event("cuda_runtime", "cudaLaunchKernel", 5, 2, correlation=1),
        event("cuda_runtime", "cudaDeviceSynchronize", 30, 2),
        event("cpu_op", "MmBackward0", 50, 30, tid=2),
        event("cuda_runtime", "cudaLaunchKernel", 60, 2, tid=2, correlation=2),
        event("cuda_driver", "cuLaunchKernel", 90, 2, correlation=3),
        event("cuda_runtime", "cudaLaunchKernel", 120, 2, correlation=4),
        event("kernel", "gemm", 45, 25, tid=7, correlation=1),
        event("gpu_memset", "Memset", 70, 5, tid=7, correlation=2),
        event("kernel", "triton", 130, 7, tid=7, correlation=3),
        event("kernel", "after the steps", 150, 7, tid=7, correlation=4),
    ]
    times = summarise(trace, ["step 1"])
    assert times.seconds == pytest.approx(100e-6)
    parts = {part.name: (part.seconds * 1e6, part.gpu_seconds * 1e6) for part in times.parts if part.calls}
    assert parts == {FORWARD: pytest.approx((40, 25)), BACKWARD: pytest.approx((60, 12))}
    operations = [(one.name, one.calls, one.seconds * 1e6, one.gpu_seconds * 1e6) for one in times.operations]
    assert operations == [
        ("MmBackward0", 1, pytest.approx(30), pytest.approx(5)),
        ("aten::addmm", 1, pytest.approx(10), pytest.approx(25)),
        ("aten::linear", 1, pytest.approx(10), 0),
        ("triton", 0, 0, pytest.approx(7)),
    ]
