"""Trainings with ``--batch_points`` and ``--accumulate``: gradients, steps, resuming, processes."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

import plumbline
from plumbline.data.batches.collate import make_batch
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.predictors import inference
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.training.loop import task as loop_task
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.optim import accumulation
from plumbline.training.persistence import ensembles
from plumbline.training.persistence.saving import BestAndLast
from tests.helpers.training_fixtures import (
    assert_same_end,
    differences,
    metric_rows,
    saved,
    step_rows,
    train,
    write_seeded,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seeded(tmp_path_factory.mktemp("seeded"), payload=True)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """40 graphs of 12 to 29 points to train on, in double precision and without random numbers."""
    split = tmp_path_factory.mktemp("split") / "split.json"
    names = [f"random/{number:03d}" for number in range(12)]
    split.write_text(json.dumps({"train": names[2:], "val": names[:2]}))
    return {"precision": "64", "dropout": 0, "log_every_n_steps": 1, "split_file": split}


def assert_nearly_same(one: Path, other: Path) -> None:
    """Metrics of all steps and epochs, and weights, to 1e-10."""
    for rows in (metric_rows, step_rows):
        pairs = list(zip(rows(one), rows(other), strict=True))
        assert pairs
        for a, b in pairs:
            assert a.keys() == b.keys()
            for name in a:
                assert bool(a[name]) == bool(b[name])
                assert not a[name] or abs(float(a[name]) - float(b[name])) < 1e-10, name
    here, there = saved(one / "last.ckpt"), saved(other / "last.ckpt")
    assert here["global_step"] == there["global_step"] > 1
    for name, weights in here["state_dict"].items():
        torch.testing.assert_close(there["state_dict"][name], weights, rtol=0, atol=1e-10)


@pytest.mark.parametrize("flags", [
    {"model": "ept", "ema": 0.9, "schedule": "cosine", "warmup": 0.2, "gradient_clip": 0.05},
    {"model": "gcn", "optimizer": "muon", "loader": "workers", "num_workers": 1, "max_steps": 7},
])  # fmt: skip
def test_two_batches_make_the_step_of_one_of_twice_the_size(
    seeded: Path, exact: dict[str, Any], tmp_path: Path, flags: Any
) -> None:
    whole = train(seeded, tmp_path / "whole", batch_size=8, **exact, **flags)
    parts = train(seeded, tmp_path / "parts", batch_size=4, accumulate=2, **exact, **flags)
    assert (whole.code, parts.code) == (0, 0), parts.text
    assert "10 per epoch; 5 steps per epoch, of 2 batches each (--accumulate)" in " ".join(parts.text.split())
    assert_nearly_same(tmp_path / "whole", tmp_path / "parts")
    assert len(step_rows(tmp_path / "parts")) == saved(tmp_path / "parts" / "last.ckpt")["global_step"]


def test_the_last_graphs_of_an_epoch_may_make_another_step(
    seeded: Path, exact: dict[str, Any], tmp_path: Path
) -> None:
    """Of 40 graphs, batches of 16 leave out 8; batches of 8 do not."""
    flags = {**exact, "model": "ept", "max_epochs": 1}
    assert train(seeded, tmp_path / "whole", batch_size=16, **flags).code == 0
    assert train(seeded, tmp_path / "parts", batch_size=8, accumulate=2, **flags).code == 0
    whole, parts = step_rows(tmp_path / "whole"), step_rows(tmp_path / "parts")
    assert (len(whole), len(parts)) == (2, 3)
    for one, other in zip(whole, parts, strict=False):
        assert float(one["train_loss_step"]) == pytest.approx(float(other["train_loss_step"]), rel=1e-10)


@pytest.mark.parametrize("devices", [1, 2])
def test_uneven_batches_of_an_epoch_make_the_step_of_one(
    seeded: Path, exact: dict[str, Any], tmp_path: Path, devices: int
) -> None:
    """The mean over graphs, not over batches; the group is shorter than ``--accumulate``."""
    flags = {**exact, "model": "ept", "max_epochs": 3}
    whole = train(seeded, tmp_path / "whole", batch_size=40, **flags)
    parts = train(seeded, tmp_path / "parts", batch_points=60, accumulate=99, devices=devices, **flags)
    assert (whole.code, parts.code) == (0, 0), parts.text
    assert_nearly_same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("accumulate", [1, 3])
def test_two_processes_take_in_a_step_what_one_takes_in_two_batches(
    seeded: Path, exact: dict[str, Any], tmp_path: Path, accumulate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = []
    original = DistributedDataParallel.no_sync
    monkeypatch.setattr(
        DistributedDataParallel, "no_sync", lambda network: quiet.append(1) or original(network)
    )
    flags = {**exact, "model": "ept", "batch_points": 100, "overfit_batches": 4}
    both = train(seeded, tmp_path / "both", accumulate=accumulate, devices=2, **flags)
    flags["overfit_batches"] *= 2
    alone = train(seeded, tmp_path / "alone", accumulate=2 * accumulate, **flags)
    assert (alone.code, both.code) == (0, 0), both.text
    assert_nearly_same(tmp_path / "alone", tmp_path / "both")
    steps = saved(tmp_path / "both" / "last.ckpt")["global_step"]
    assert steps == 2 * -(-4 // accumulate)
    assert len(quiet) == 2 * 4 - steps, "gradients are averaged once for each step"


def stop_in_batch(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during a batch, counted over all epochs."""
    original, seen = CentreOfMassTask.training_step, []

    def step(task: CentreOfMassTask, batch: Any, batch_idx: int) -> Any:
        seen.append(batch_idx)
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGINT)
        return original(task, batch, batch_idx)

    monkeypatch.setattr(CentreOfMassTask, "training_step", step)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("stop", "flags"), [
    (13, {"batch_size": 4, "accumulate": 3}),
    (15, {"batch_size": 4, "accumulate": 3, "loader": "workers", "num_workers": 1}),
    (13, {"batch_points": 110}),
    (15, {"batch_points": 110, "accumulate": 2, "loader": "workers", "num_workers": 1}),
])  # fmt: skip
def test_it_resumes_with_the_same_bits(
    tiny: Path, tmp_path: Path, stop: int, flags: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in different batches of a group, in epochs whose last group is short."""
    common = {"max_epochs": 4, "lr": 1e-2, "ema": 0.9, "schedule": "cosine", "log_every_n_steps": 2, **flags}
    assert train(tiny, tmp_path / "straight", **common).code == 0
    with monkeypatch.context() as patch:
        stop_in_batch(stop, patch)
        assert train(tiny, tmp_path / "stopped", **common).code == 130
    state = saved(tmp_path / "stopped" / "last.ckpt")["plumbline"]
    assert state["batches_done"] % common.get("accumulate", 1) == 0 < state["batches_done"]
    assert train(tiny, tmp_path / "stopped", **common, resume="").code == 0
    assert_same_end(tmp_path / "straight", tmp_path / "stopped")


def test_checkpoints_averages_and_rows_count_steps(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """11 batches of 4 make 4 steps: 3, 3, 3 and 2."""
    written = []
    original = BestAndLast.save_last_now

    def save(self: BestAndLast, trainer: Any) -> None:
        written.append((trainer.global_step, accumulation.within_group(trainer)))
        original(self, trainer)

    monkeypatch.setattr(BestAndLast, "save_last_now", save)
    flags = {"batch_size": 4, "accumulate": 3, "ema": 0.9, "checkpoint_every_n_steps": 2, "max_steps": 7}
    assert train(tiny, tmp_path, **flags, log_every_n_steps=3).code == 0
    assert written == [(2, False), (6, False)], "validation follows steps 4 and 7"
    content = saved(tmp_path / "last.ckpt")
    assert (content["global_step"], content["plumbline"]["batches_done"]) == (7, 9)
    assert content["callbacks"]["AveragedWeights"]["updates"] == 7
    assert [row["step"] for row in step_rows(tmp_path)] == ["3", "6"]


@pytest.mark.parametrize(("bad", "precision"), [(3, "32"), (4, "bf16-mixed"), (5, "32")])
def test_a_loss_that_is_not_finite_leaves_out_the_whole_step(
    tiny: Path, tmp_path: Path, bad: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of groups of three batches: what its other batches have added is dropped."""
    original, weights, steps = CentreOfMassTask.training_step, [], []

    def step(task: CentreOfMassTask, batch: Any, batch_idx: int) -> Any:
        if batch_idx % 3 == 0:
            weights.append([weight.detach().clone() for weight in task.parameters()])
        steps.append(task.global_step)
        if batch_idx == bad:
            batch.target = batch.target * np.nan
        return original(task, batch, batch_idx)

    def axis_sums(error: Any) -> Any:
        errors.append(float(error.abs().mean()))
        return sums_of(error)

    errors: list[float] = []
    sums_of = loop_task.axis_sums
    monkeypatch.setattr(loop_task, "axis_sums", axis_sums)
    monkeypatch.setattr(CentreOfMassTask, "training_step", step)
    flags = {"batch_size": 4, "accumulate": 3, "max_epochs": 1, "precision": precision, "max_steps": 3}
    outcome = train(tiny, tmp_path, **flags, skip_nonfinite=True, log_every_n_steps=1)
    assert outcome.code == 0, outcome.text
    assert "step 2 skipped, 1 so far" in outcome.text
    assert "skipped 1 step:" in outcome.text
    assert steps == [0] * 3 + [1] * 3 + [2] * 3
    assert differences(weights[1], weights[2]) == []
    assert differences(weights[0], weights[1])
    assert [row["step"] for row in step_rows(tmp_path)] == ["1", "3"]
    (row,) = metric_rows(tmp_path)
    assert float(row["train_mae_epoch"]) == pytest.approx(np.mean(errors[:3] + errors[-3:]))


def test_no_batch_has_more_points_than_given_and_every_graph_comes_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, list[Any]] = {"training_step": [], "validation_step": []}
    for name, batches in found.items():
        original = getattr(CentreOfMassTask, name)

        def watched(task: Any, batch: Any, number: int, original: Any = original, to: Any = batches) -> Any:
            to.append(batch)
            return original(task, batch, number)

        monkeypatch.setattr(CentreOfMassTask, name, watched)
    outcome = train(tiny, tmp_path, batch_points=70, max_epochs=3, schedule="cosine")
    assert outcome.code == 0, outcome.text
    text = " ".join(outcome.text.split())
    steps = saved(tmp_path / "last.ckpt")["global_step"]
    mean = 44 / (steps // 3)
    assert f"batches of at most 70 points, {steps // 3} per epoch, on average of {mean:.1f} graphs" in text
    for batches, graphs in ((found["training_step"], 44), (found["validation_step"], 4)):
        assert len(batches) % 3 == 0
        for epoch in range(3):
            each = batches[epoch * len(batches) // 3 : (epoch + 1) * len(batches) // 3]
            assert max(batch.num_nodes for batch in each) <= 70
            assert len({index for batch in each for index in batch.index.tolist()}) == graphs
            assert sum(batch.num_graphs for batch in each) == graphs
    rate = saved(tmp_path / "last.ckpt")["optimizer_states"][0]["param_groups"][0]["lr"]
    last = (steps - 1) / steps
    assert rate == pytest.approx(1e-3 * (0.01 + 0.99 * (1 + np.cos(np.pi * last)) / 2)), "the schedule's end"


def test_a_graph_larger_than_a_batch_is_said(tiny: Path, tmp_path: Path) -> None:
    outcome = train(tiny, tmp_path, batch_points=20, max_epochs=1)
    text = " ".join(outcome.text.split())
    assert "of the training set with up to 29 points, more than --batch_points 20: batches of their" in text


def test_few_batches_are_the_first_ones_of_a_training_on_all(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    original = CentreOfMassTask.training_step

    def step(task: CentreOfMassTask, batch: Any, batch_idx: int) -> Any:
        seen.append(batch.index.tolist())
        return original(task, batch, batch_idx)

    monkeypatch.setattr(CentreOfMassTask, "training_step", step)
    assert train(tiny, tmp_path / "few", batch_points=70, overfit_batches=3).code == 0
    few = seen[:]
    assert train(tiny, tmp_path / "all", batch_points=70, max_epochs=1).code == 0
    assert few == 2 * seen[6:9]
    before, steps = len(seen), []
    monkeypatch.setattr(
        CentreOfMassTask, "on_before_optimizer_step", lambda *_: steps.append(len(seen) - before)
    )
    trial = train(tiny, tmp_path / "trial", batch_points=70, accumulate=2, fast_dev_run=3)
    assert trial.code == 0, trial.text
    assert steps == [2, 3], "the last step has one batch"


def test_another_number_of_processes_takes_the_graphs_that_are_left(seeded: Path, tmp_path: Path) -> None:
    flags = {"model": "ept", "batch_points": 60, "accumulate": 2, "log_every_n_steps": 1}
    stopped = train(seeded, tmp_path, devices=2, max_steps=2, **flags)
    assert stopped.code == 0, stopped.text
    (state,) = saved(tmp_path / "last.ckpt")["plumbline"]["loader"]
    resumed = train(seeded, tmp_path, max_epochs=1, resume="", **flags)
    assert resumed.code == 0, resumed.text
    assert "by 1 process instead of 2: batches of 60 instead of 120 points" in " ".join(resumed.text.split())
    sums = saved(tmp_path / "last.ckpt")["plumbline"]["train_sums"]
    (end,) = saved(tmp_path / "last.ckpt")["plumbline"]["loader"]
    assert 0 < state["graphs"] < end["graphs"] == 44
    assert sums["num_graphs"] == 0, "the epoch is over"


def test_few_batches_of_another_number_of_processes_are_refused(tiny: Path, tmp_path: Path) -> None:
    flags = {"overfit_batches": 2, "batch_size": 4}
    assert train(tiny, tmp_path, **flags).code == 0
    refused = train(tiny, tmp_path, **flags, devices=2, max_epochs=3, resume="")
    assert refused.code == 2
    text = " ".join(refused.text.split())
    assert "--overfit_batches with another number of --devices takes other graphs" in text
    assert json.loads((tmp_path / "result.json").read_text())["epochs"] == 2
    allowed = train(tiny, tmp_path, **flags, devices=2, max_epochs=3, resume="", allow_mismatch=True)
    assert allowed.code == 0, allowed.text
    assert "val_loss is measured differently from here on" in allowed.text


def test_the_best_model_is_measured_and_an_ensemble_joined_by_points(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in batches of ``--batch_size``, which may not fit into the memory."""
    points: dict[str, list[int]] = {"inference": [], "ensembles": []}
    for module in (inference, ensembles):
        sizes = points[module.__name__.rpartition(".")[2]]

        def made(*given: Any, to: list[int] = sizes) -> Any:
            batch = make_batch(*given)
            to.append(batch.num_nodes)
            return batch

        monkeypatch.setattr(module, "make_batch", made)
    flags = {"batch_size": 64, "batch_points": 70, "val_split": 0.5, "max_epochs": 1}
    outcome = train(tiny, tmp_path, ensemble=2, **flags)
    assert outcome.code == 0, outcome.text
    assert all(len(sizes) > 4 and max(sizes) <= 70 for sizes in points.values()), points
    assert outcome.text.count("--batch_size has no effect with --batch_points") >= 1
    assert not plumbline.train_settings(batch_size=64).without_effect()
    assert not plumbline.train_settings(recipe="best", batch_points=70).without_effect()


def test_a_batch_of_points_that_does_not_fit_is_said_in_points(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(tiny, tmp_path, max_epochs=1).code == 0
    model, store = load_checkpoint(tmp_path / "last.ckpt").model, PackedStore.open(tiny)

    def full(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(model, "forward", full)
    with pytest.raises(InputError, match=r"does not hold --batch_points 70 .*: try --batch_points \d\d$"):
        inference.predict(model, store, np.arange(12), batch_points=70)


def test_another_batch_size_may_be_given_where_points_replace_it(tiny: Path, tmp_path: Path) -> None:
    flags = {"batch_points": 70, "lr": 1e-2}
    assert train(tiny, tmp_path / "straight", **flags, max_epochs=2).code == 0
    assert train(tiny, tmp_path / "resumed", **flags, max_epochs=1).code == 0
    outcome = train(tiny, tmp_path / "resumed", **flags, max_epochs=2, batch_size=4, resume="")
    assert outcome.code == 0, outcome.text
    assert_same_end(tmp_path / "straight", tmp_path / "resumed")
    refused = train(tiny, tmp_path / "resumed", lr=1e-2, max_epochs=3, batch_size=4, resume="")
    assert refused.code == 2
    assert "--batch_points 0 here, 70 in the checkpoint" in refused.text


def test_a_trainer_of_the_users_own_accumulates_by_itself(tiny: Path) -> None:
    with pytest.raises(InputError, match=r"give lightning.Trainer\(accumulate_grad_batches=4\) instead"):
        plumbline.lightning_parts(data_dir=tiny, accumulate=4, accelerator="cpu")
    model, train_loader, _ = plumbline.lightning_parts(data_dir=tiny, batch_points=70, accelerator="cpu")
    assert max(batch.num_nodes for batch in train_loader) <= 70
    assert model.batches is None
