"""The warm-up leaves no trace."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from plumbline.data.batches.collate import make_batch
from plumbline.data.batches.loader import make_loaders
from plumbline.data.store.reader import PackedStore
from plumbline.models import build_model
from plumbline.records import FEATURE_NAMES
from plumbline.reporting import Reporter
from plumbline.training.loop.precision import Precision
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.loop.warmup import warm_up
from plumbline.training.randomness import random_states, restore_random_states, seed_everything
from plumbline.training.records import TrainSettings
from plumbline.training.show.facts import Data
from tests.helpers.training_fixtures import differences, saved, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.mark.parametrize("precision", ["32", "bf16", "bf16-mixed", "64"])
def test_nothing_changes(tiny: Path, precision: str) -> None:
    store = PackedStore.open(tiny)
    indices = np.arange(len(store))
    seed_everything(3)
    model = build_model("gcn", input_dim=len(FEATURE_NAMES), hidden_dim=16, num_layers=3, dropout=0.5)
    task = CentreOfMassTask(model, lr=1e-3, precision=Precision(precision))
    loaders = make_loaders(store, train_idx=indices, val_idx=indices, batch_size=8)
    next(iter(loaders.train))
    weights, states = copy.deepcopy(model.state_dict()), random_states()
    position = loaders.train.state_dict()
    used: list[torch.optim.Optimizer] = []

    def make(parameters):
        used.append(task.make_optimizer(parameters))
        return used[-1]

    batch = make_batch(store, indices[:8], model.needs)
    trouble = warm_up(
        model, batch, make, precision=Precision(precision), gradient_clip=1.0, device=torch.device("cpu")
    )
    assert trouble == ""
    assert differences(model.state_dict(), weights) == []
    assert all(weight.grad is None for weight in model.parameters())
    assert model.training
    assert differences(random_states(), states) == []
    assert loaders.train.state_dict() == position
    (state, *_) = used[0].state.values()
    assert state["step"] == 2, "the steps must have been taken, on the copy"


def test_a_training_is_the_same_with_and_without(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(tiny, tmp_path / "without")
    calls = []

    def always(settings: TrainSettings, _: Reporter, task: CentreOfMassTask, data: Data) -> float:
        calls.append(
            warm_up(
                task.model, data.largest_batch(settings, task.model.needs), task.make_optimizer,
                precision=task.precision, gradient_clip=1.0, device=task.device,
            )
        )  # fmt: skip
        return 0.0

    monkeypatch.setattr("plumbline.training.run._warm_up", always)
    train(tiny, tmp_path / "with")
    assert calls == [""]
    one, other = (saved(tmp_path / name / "last.ckpt") for name in ("without", "with"))
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert differences(one[part], other[part]) == []
    assert differences(one["plumbline"]["rng"], other["plumbline"]["rng"]) == []
    assert (tmp_path / "without/metrics.csv").read_bytes() == (tmp_path / "with/metrics.csv").read_bytes()


def test_a_failure_is_a_sentence_and_leaves_no_trace_either(tiny: Path) -> None:
    store = PackedStore.open(tiny)
    model = build_model("gcn", input_dim=len(FEATURE_NAMES), hidden_dim=16)
    states = random_states()

    def fail(parameters):
        torch.rand(5)
        raise RuntimeError("no kernel image is available\nand more")

    trouble = warm_up(
        model, make_batch(store, np.arange(4), model.needs), fail,
        precision=Precision("32"), gradient_clip=0, device=torch.device("cpu"),
    )  # fmt: skip
    assert trouble == "the warm-up failed and was skipped (RuntimeError: no kernel image is available)"
    assert differences(random_states(), states) == []


def test_a_cpu_and_a_trial_run_need_none(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plumbline.training.run.warm_up", lambda *_, **__: 1 / 0)
    assert train(tiny, tmp_path, max_epochs=1).code == 0
    assert train(tiny, tmp_path, fast_dev_run=1).code == 0


def test_random_states_go_there_and_back() -> None:
    seed_everything(11)
    states = random_states()
    drawn = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    restore_random_states(states)
    assert torch.equal(torch.rand(3), drawn[0])
    assert np.array_equal(np.random.rand(3), drawn[1])  # noqa: NPY002
