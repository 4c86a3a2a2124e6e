"""What a step that runs out of memory says of the batch, and which size fits by what earlier steps took."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from plumbline.data.store.reader import PackedStore
from plumbline.memory import Memory
from plumbline.training.loop import memory_watch
from plumbline.training.loop.error_messages import MemoryUse, Tried
from plumbline.training.loop.memory_watch import MemoryWatch
from plumbline.training.loop.task import CentreOfMassTask
from tests.helpers.training_fixtures import train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
MIB = 1 << 20


class Steps:
    """Steps of a made-up process whose memory is known; ``use`` is what was found."""

    def __init__(self, store: PackedStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.use, self.held = store, MemoryUse("resident"), 100 * MIB
        self.most = self.held
        self.watch = MemoryWatch(self.use, store, torch.device("cpu"))
        monkeypatch.setattr(memory_watch, "resident_memory", lambda: (self.held, self.most))
        monkeypatch.setattr(
            memory_watch, "usable_memory", lambda: Memory(1000 * MIB - self.held, 4000 * MIB, "memory")
        )
        self.none: Any = None

    def begin(self, graphs: list[int]) -> None:
        points = int(np.diff(self.store.node_ptr)[graphs].sum())
        batch: Any = SimpleNamespace(num_nodes=points, index=torch.tensor(graphs))
        self.watch.on_train_batch_start(self.none, self.none, batch, 0)

    def take(self, graphs: list[int], most: int) -> None:
        self.begin(graphs)
        self.most, self.held = max(self.most, most * MIB), most * MIB - 10 * MIB
        self.watch.on_train_batch_end(self.none, self.none)

    def fail(self, graphs: list[int], error: BaseException) -> None:
        self.begin(graphs)
        self.watch.on_exception(self.none, self.none, error)


@pytest.fixture
def steps(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(PackedStore.open(tiny), monkeypatch)


def test_as_many_of_the_largest_graphs_as_the_measured_memory_holds(steps: Steps) -> None:
    """900 MiB were free before the first step, and 400 of them held the first four graphs."""
    points = np.diff(steps.store.node_ptr)
    steps.take([0, 1, 2, 3], 300)
    steps.take([0, 1, 2, 3], 500)
    expected = int(0.9 * points[:4].sum() * 900 / 400)
    assert steps.use.points_that_fit == expected
    failing = list(range(20))
    steps.fail(failing, MemoryError())
    largest = np.sort(points[:20])[::-1]
    fit = steps.use.tried.fit if steps.use.tried is not None else 0
    assert largest[:fit].sum() <= expected < largest[: fit + 1].sum()
    edges = int(np.diff(steps.store.edge_ptr)[failing].sum())
    assert steps.use.tried == Tried(20, int(points[:20].sum()), edges, fit)
    assert steps.use.failed == Memory(1000 * MIB - 490 * MIB, 4000 * MIB, "memory")


def test_a_batch_that_fitted_fits_whatever_the_estimate_says(steps: Steps) -> None:
    steps.take(list(range(8)), 2000)
    points = np.diff(steps.store.node_ptr)[:8]
    assert steps.use.points_that_fit == points.sum()


def test_an_earlier_peak_says_nothing_about_a_step(steps: Steps) -> None:
    """Such as that of another training in the same process; a step that goes beyond it is measured."""
    points = np.diff(steps.store.node_ptr)
    steps.most = 600 * MIB
    steps.take([0, 1, 2, 3], 300)
    assert steps.use.points_that_fit == points[:4].sum()
    steps.take(list(range(8)), 700)
    assert steps.use.points_that_fit == int(0.9 * points[:8].sum() * 900 / 600)


def test_only_larger_batches_are_measured_after_the_first_steps(steps: Steps) -> None:
    for _ in range(3):
        steps.take([0, 1, 2, 3], 500)
    before = steps.use.points_that_fit
    steps.take([0, 1, 2], 900)
    assert steps.use.points_that_fit == before
    steps.take([0, 1, 2, 3, 4], 900)
    assert steps.use.points_that_fit < before


def test_a_measurement_says_nothing_about_batches_of_quite_another_size(steps: Steps) -> None:
    steps.take([0], 101)
    assert steps.use.points_that_fit == 4 * np.diff(steps.store.node_ptr)[0]


def test_an_estimate_that_the_failure_contradicts_does_not_count(steps: Steps) -> None:
    steps.take(list(range(20)), 101)
    steps.fail(list(range(10)), MemoryError())
    assert steps.use.tried is not None
    assert steps.use.tried.fit == 0


def test_other_errors_and_batches_that_are_over_say_nothing(steps: Steps) -> None:
    steps.fail([0, 1], ValueError("a defect"))
    assert (steps.use.tried, steps.use.failed) == (None, None)
    steps.take([0, 1], 200)
    steps.watch.on_exception(steps.none, steps.none, MemoryError())
    assert steps.use.tried is None


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
@pytest.mark.parametrize("where", ["training_step", "validation_step"])
def test_the_sentence_names_the_batch(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    batches: list[Any] = []

    def full(task: CentreOfMassTask, batch: Any, number: int) -> None:
        batches.append(batch)
        raise error

    monkeypatch.setattr(CentreOfMassTask, where, full)
    done = train(tiny, tmp_path)
    assert done.code == 2
    (batch,) = batches
    store = PackedStore.open(tiny)
    edges = np.diff(store.edge_ptr)[batch.index.numpy()].sum()
    size = f"(a batch of {batch.num_graphs} graphs, {batch.num_nodes} points, {edges} edges): "
    line = next(line for line in done.text.splitlines() if line.startswith("error: "))
    assert re.search(
        r"memory[a-z -]* \([\d.]+ [GM]iB, [\d.]+ [GM]iB free\) does not hold --batch_size 8 ", line
    )
    assert size in line
    if where == "training_step":
        assert f"{size}try --batch_size 4" in line
