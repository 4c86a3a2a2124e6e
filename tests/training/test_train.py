"""The training command: phases, files, metrics, flags, and every way it can end."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from plumbline.cli import main
from plumbline.console.text import command
from plumbline.data.batches.collate import make_batch
from plumbline.data.split import group_of, split_by_object
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.evaluation.evaluate import choose_graphs
from plumbline.models import build_model
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.predictors.inference import predict
from plumbline.records import FEATURE_NAMES
from plumbline.training.loop import graceful_stop
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.records import Plateau
from plumbline.training.show.startup import PHASES
from tests.helpers.training_fixtures import (
    REJECTED,
    Outcome,
    metric_rows,
    random_samples,
    saved,
    step_rows,
    train,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

DOCUMENTED_PHASES = [
    "Directory Setup", "Dataset Loading", "Dataset Splitting", "DataLoader Creation", "Model Initialization",
    "Model Compilation", "Logging Setup", "Training Configuration",
]  # fmt: skip

DOCUMENTED_NAMES = (
    [f"train_{name}{when}" for name in ("loss", "mae", "mse") for when in ("_step", "_epoch")]
    + [f"train_{kind}_{axis}" for kind in ("mae", "mse") for axis in "xyz"]
    + ["val_loss", "val_mae", "val_mse"]
    + [f"val_{kind}_{axis}" for kind in ("mae", "mse") for axis in "xyz"]
    + ["learning_rate", "epoch"]
)


class Finished:
    """One finished training that many tests look at."""

    def __init__(self, folder: Path, outcome: Outcome) -> None:
        self.folder, self.code, self.text = folder, outcome.code, outcome.text

    @property
    def best(self) -> Path:
        (path,) = self.folder.glob("best-model-*.ckpt")
        return path


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """26 epochs of 3 steps, so that there are rows of steps too; --debug; a short last validation batch."""
    folder = tmp_path_factory.mktemp("finished")
    changed = {"max_epochs": 26, "batch_size": 12, "val_split": 0.4, "lr": 3e-3, "debug": True}
    return Finished(folder, train(tiny, folder, **changed))


def sides(folder: Path, val_split: float, seed: int = 0) -> tuple[PackedStore, np.ndarray, np.ndarray]:
    store = PackedStore.open(folder)
    return store, *split_by_object(store.object_idx, store.object_names, val_split, seed)


# -- phases and output -------------------------------------------------------------------------------------


def test_the_eight_phases_in_the_documented_order(finished: Finished) -> None:
    assert list(PHASES) == DOCUMENTED_PHASES
    assert finished.code == 0
    printed = re.findall(r"^(\d)\. (.+?)  +(skipped|[\d.]+ s)", finished.text, re.MULTILINE)
    assert [(number, name) for number, name, _ in printed] == [
        (str(i), name) for i, name in enumerate(DOCUMENTED_PHASES, start=1)
    ]
    lines = finished.text.splitlines()
    assert lines[0].split() == ["Interpreter", "and", "imports", *lines[0].split()[3:]]
    assert re.search(r"Model Compilation +skipped   not requested \(--use_compile\)", finished.text)
    assert re.search(r"^   Total startup time +[\d.]+ s$", finished.text, re.MULTILINE)
    record = json.loads((finished.folder / "startup.json").read_text())
    assert [phase["name"] for phase in record["phases"]] == DOCUMENTED_PHASES
    assert record["total"] == pytest.approx(sum(phase["seconds"] for phase in record["phases"]))
    assert record["total"] > 0
    assert record["before"] > 0


def test_the_model_says_its_symmetry_at_start(finished: Finished) -> None:
    assert "symmetry none: the answer changes when the object is turned" in finished.text


def test_debug_shows_every_documented_item(finished: Finished) -> None:
    debug = [line for line in finished.text.splitlines() if line.startswith("debug")]
    text = "\n".join(debug)
    assert "48 loaded, 1 rejected" in text
    assert f"rejected {REJECTED.source}: {REJECTED.reason}" in text
    assert re.search(r"GCN, \d+ parameters", text)
    assert re.search(r"convs\.0\.lin +Linear +weight \[16, 12\]", text)
    assert "loader: loader resident, batch_size 12, drop_last True" in text
    assert len(re.findall(r"batch \d: data [\d.]+ ms, step [\d.]+ ms \(12 graphs, \d+ nodes\)", text)) == 5
    assert "warm-up: none needed on cpu" in text
    assert "first epoch: " in text
    assert "second epoch: " in text


def test_without_debug_nothing_of_it_is_shown(tiny: Path, tmp_path: Path) -> None:
    outcome = train(tiny, tmp_path, max_epochs=1)
    assert not re.search(r"^debug", outcome.text, re.MULTILINE)
    assert "Warning" not in outcome.text
    assert "Trainer" not in outcome.text


def test_rejected_inputs_are_reported(finished: Finished) -> None:
    assert f"1 rejected, the first: {REJECTED.source}: {REJECTED.reason}" in finished.text
    assert (finished.folder / "rejected.txt").read_text() == f"{REJECTED.source}: {REJECTED.reason}\n"


def test_one_line_per_epoch(finished: Finished) -> None:
    lines = re.findall(
        r"^epoch +(\d+)/26  train_loss +\S+  val_loss +(\S+)  val_error_rel +\S+ %"
        r"  lr \S+ +[\d,]+ graphs/s +\S+ s$",
        finished.text,
        re.MULTILINE,
    )
    assert [int(number) for number, _ in lines] == list(range(1, 27))
    epochs = metric_rows(finished.folder)
    assert [shown for _, shown in lines] == [f"{float(row['val_loss']):#.4g}" for row in epochs]
    columns = {
        tuple(found.end() for found in re.finditer(r"train_loss +\S+|val_loss +\S+| %|lr|/s", line))
        for line in finished.text.splitlines()
        if line.startswith("epoch")
    }
    assert len(columns) == 1, "numbers of one kind must stand below each other"


def test_the_end_names_best_model_baselines_files_and_next_steps(finished: Finished) -> None:
    for baseline in ("point mean", "bounding box", "convex hull"):
        assert baseline in finished.text
    assert f"best model    {finished.best}" in finished.text
    assert command("plumbline", "evaluate", finished.best) in finished.text
    assert command("--config", finished.folder / "config.yaml", "--resume") in finished.text
    result = json.loads((finished.folder / "result.json").read_text())
    assert result["best_checkpoint"] == str(finished.best)
    assert set(result["table"]["methods"]) == {"gcn", "point mean", "bounding box", "convex hull"}
    assert (finished.folder / "curves.png").read_bytes().startswith(b"\x89PNG")


# -- metrics -----------------------------------------------------------------------------------------------


def test_every_documented_log_name_has_a_value_in_the_csv(finished: Finished) -> None:
    rows = [*metric_rows(finished.folder), *step_rows(finished.folder)]
    for name in [*DOCUMENTED_NAMES, "val_error", "val_error_rel", "step"]:
        assert any(row[name] for row in rows), name
    assert [int(row["step"]) for row in metric_rows(finished.folder)] == list(range(3, 81, 3))


def test_validation_metrics_are_those_of_the_saved_model(finished: Finished, tiny: Path) -> None:
    store, _, val_idx = sides(tiny, 0.4)
    assert len(val_idx) % 12, "the last batch must be short"
    trained = load_checkpoint(finished.best)
    error = predict(trained.model, store, val_idx) - store.target[val_idx]
    distance = np.linalg.norm(error, axis=1)
    expected = {
        "val_loss": np.abs(error).mean(),
        "val_mae": np.abs(error).mean(),
        "val_mse": np.square(error).mean(),
        "val_error": distance.mean(),
        "val_error_rel": (distance / store.bounding_radius[val_idx]).mean(),
        **{f"val_mae_{axis}": np.abs(error[:, i]).mean() for i, axis in enumerate("xyz")},
        **{f"val_mse_{axis}": np.square(error[:, i]).mean() for i, axis in enumerate("xyz")},
    }
    epochs = metric_rows(finished.folder)
    best = min(epochs, key=lambda row: float(row["val_loss"]))
    for name, value in expected.items():
        assert float(best[name]) == pytest.approx(value, rel=2e-6), name
    assert trained.metrics["val_loss"] == float(best["val_loss"])


def test_training_metrics_are_means_over_the_epoch(tiny: Path, tmp_path: Path) -> None:
    train(tiny, tmp_path, max_epochs=1, lr=1e-30, weight_decay=0, dropout=0, batch_size=4)
    store, train_idx, _ = sides(tiny, 0.1)
    error = predict(load_checkpoint(tmp_path / "last.ckpt").model, store, train_idx) - store.target[train_idx]
    assert len(train_idx) % 4 == 0
    (row,) = metric_rows(tmp_path)
    assert float(row["train_loss_epoch"]) == pytest.approx(np.abs(error).mean(), rel=2e-6)
    assert float(row["train_mse_epoch"]) == pytest.approx(np.square(error).mean(), rel=2e-6)
    for i, axis in enumerate("xyz"):
        assert float(row[f"train_mae_{axis}"]) == pytest.approx(np.abs(error[:, i]).mean(), rel=2e-6)
        assert float(row[f"train_mse_{axis}"]) == pytest.approx(np.square(error[:, i]).mean(), rel=2e-6)


def test_training_learns(finished: Finished) -> None:
    losses = [float(row["train_loss_epoch"]) for row in metric_rows(finished.folder)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_split_by_group_is_kept_in_the_checkpoint(tmp_path: Path, tiny: Path) -> None:
    samples = [replace(one, object_name=f"g{i % 5}/{i // 3}") for i, one in enumerate(random_samples())]
    write_store(tmp_path / "data", samples, feature_names=list(FEATURE_NAMES))
    outcome = train(tmp_path / "data", tmp_path / "run", split_by="group", val_split=0.4, max_epochs=1)
    assert outcome.code == 0
    store, trained = PackedStore.open(tmp_path / "data"), load_checkpoint(tmp_path / "run" / "last.ckpt")
    assert trained.data.split_by == "group"
    parts = [choose_graphs(store, trained.data, side, tmp_path).indices for side in ("train", "val")]
    assert [len(part) for part in parts] == [trained.data.num_train, trained.data.num_val]
    groups = [{group_of(store.object_names[i]) for i in store.object_idx[part]} for part in parts]
    assert len(groups[0]) + len(groups[1]) == len(groups[0] | groups[1]) == 5
    resumed = train(tmp_path / "data", tmp_path / "run", val_split=0.4, max_epochs=2, resume="")
    assert "--split_by object here, group in the checkpoint" in resumed.text
    alone = train(tiny, tmp_path / "alone", split_by="group")
    assert alone.code == 2
    assert "are of one group (random)" in alone.text


def test_the_loss_is_the_mean_absolute_error(tiny: Path) -> None:
    store = PackedStore.open(tiny)
    model = build_model("gcn", input_dim=len(FEATURE_NAMES), hidden_dim=16, dropout=0)
    task, batch = CentreOfMassTask(model, lr=1e-3), make_batch(store, np.arange(7), model.needs)
    loss = task.training_step(batch, 0)
    error = model(batch).detach() - batch.target
    assert loss.item() == pytest.approx(np.abs(error.numpy()).mean(), rel=1e-6)
    loss.backward()
    # The derivative of a mean of absolute values is the mean of their signs.
    assert torch.allclose(model.head[-1].bias.grad, error.sign().mean(0) / 3, atol=1e-6)
    assert task.step_row()["train_loss_step"] == pytest.approx(loss.item(), rel=1e-6)


# -- optimizer ---------------------------------------------------------------------------------------------


def test_the_learning_rate_halves_on_a_plateau_down_to_its_minimum(tiny: Path, tmp_path: Path) -> None:
    assert Plateau() == Plateau(patience=10, factor=0.5, min_lr=1e-6)
    train(tiny, tmp_path, max_epochs=25, lr=1.5e-6, batch_size=64)
    rates = [float(row["learning_rate"]) for row in metric_rows(tmp_path)]
    assert rates == [1.5e-6] * 12 + [1e-6] * 13
    changed = {"plateau_patience": 1, "plateau_factor": 0.25, "min_lr": 5e-7}
    train(tiny, tmp_path, max_epochs=7, lr=4e-6, batch_size=64, **changed)
    rates = [float(row["learning_rate"]) for row in metric_rows(tmp_path)]
    assert rates == [4e-6] * 3 + [1e-6] * 2 + [5e-7] * 2
    outcome = train(tiny, tmp_path, max_epochs=1, schedule="cosine", **changed)
    for flag in changed:
        assert f"--{flag} has no effect without --schedule plateau" in outcome.text


def test_adam_gets_its_flags_and_gradients_are_clipped_by_norm(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    norms: list[float] = []
    groups: list[dict] = []
    make = CentreOfMassTask.make_optimizer

    def watched(task: CentreOfMassTask, parameters) -> torch.optim.Optimizer:
        optimizer = make(task, parameters)
        groups.extend(optimizer.param_groups)

        def look(*_: object) -> None:
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
            norms.append(float(torch.cat([g.flatten() for g in gradients]).norm()))

        optimizer.register_step_post_hook(look)
        return optimizer

    monkeypatch.setattr(CentreOfMassTask, "make_optimizer", watched)
    train(tiny, tmp_path, max_epochs=1, gradient_clip=0, lr=2e-3, weight_decay=0.25)
    assert type(groups[0]) is dict
    assert (groups[0]["lr"], groups[0]["weight_decay"], groups[0]["betas"]) == (2e-3, 0.25, (0.9, 0.999))
    largest = max(norms)
    norms.clear()
    train(tiny, tmp_path, max_epochs=1, gradient_clip=largest / 4)
    assert max(norms) == pytest.approx(largest / 4, rel=1e-4)


def test_early_stopping_and_max_time(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny, tmp_path / "a", max_epochs=50, lr=1e-30, early_stopping=2)
    assert len(metric_rows(tmp_path / "a")) == 3
    ticks = itertools.count()
    monkeypatch.setattr(graceful_stop, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 100))
    outcome = train(tiny, tmp_path / "b", max_epochs=100_000, max_time="00:00:00:01")
    assert outcome.code == 0
    steps = saved(tmp_path / "b" / "last.ckpt")["global_step"]
    assert f"--max_time reached after {steps:,} steps" in outcome.text
    assert steps - 5 < int(metric_rows(tmp_path / "b")[-1]["step"]) <= steps


def test_averaged_weights_are_what_is_validated_and_saved(tiny: Path, tmp_path: Path) -> None:
    train(tiny, tmp_path, max_epochs=3, ema=0.9, lr=1e-2)
    content = saved(tmp_path / "last.ckpt")
    averaged, current = content["state_dict"], content["training_weights"]
    assert averaged.keys() == current.keys()
    assert not torch.equal(averaged["model.head.6.weight"], current["model.head.6.weight"])
    store, _, val_idx = sides(tiny, 0.1)
    error = predict(load_checkpoint(tmp_path / "last.ckpt").model, store, val_idx) - store.target[val_idx]
    assert float(metric_rows(tmp_path)[-1]["val_loss"]) == pytest.approx(np.abs(error).mean(), rel=2e-6)


# -- the run folder ----------------------------------------------------------------------------------------


def test_an_earlier_run_is_put_aside_whole(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    train(tiny, tmp_path, max_epochs=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "notes.txt"}
    (tmp_path / "run-001").mkdir()
    outcome = train(tiny, tmp_path, max_epochs=1, seed=1)
    assert f"was moved to {tmp_path / 'run-002'}" in outcome.text
    assert {path.name: path.read_bytes() for path in (tmp_path / "run-002").iterdir()} == before
    assert (tmp_path / "notes.txt").read_text() == "mine"
    now = sorted(path.name for path in tmp_path.iterdir())
    assert train(tmp_path / "no-such-data", tmp_path).code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == now, "a refused training moves nothing"
    assert len(list(tmp_path.glob("best-model-*.ckpt"))) == 1


def test_the_saved_config_repeats_the_training(tiny: Path, tmp_path: Path) -> None:
    train(tiny, tmp_path, seed=5, lr=2e-3)
    first = (tmp_path / "metrics.csv").read_bytes()
    assert main(["train", "--config", str(tmp_path / "config.yaml")]) == 0
    assert (tmp_path / "run-001" / "metrics.csv").read_bytes() == first
    assert (tmp_path / "metrics.csv").read_bytes() == first


def test_fast_dev_run_tries_every_loop_and_leaves_nothing(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "never"
    outcome = train(tiny, folder, fast_dev_run=2, max_epochs=9, use_wandb=True)
    assert outcome.code == 0
    assert len(re.findall(r"^epoch", outcome.text, re.MULTILINE)) == 1
    assert "nothing was saved" in outcome.text
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"data_dir": "/nowhere/at/all"}, "the data folder /nowhere/at/all does not exist"),
        ({"checkpoint_dir": f"{__file__}/inside"}, "cannot write there"),
        ({"accelerator": "cuda"}, "no NVIDIA GPU"),
        ({"fast_dev_run": 1, "resume": ""}, "leave --resume out"),
    ],
)
def test_what_cannot_work_is_refused(tiny: Path, tmp_path: Path, changed: dict, sentence: str) -> None:
    if changed.get("accelerator") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    outcome = train(tiny, tmp_path, **changed)
    assert outcome.code == 2
    assert sentence in outcome.text
    assert "Traceback" not in outcome.text


def test_a_training_set_smaller_than_a_batch_keeps_its_short_batch(tiny: Path, tmp_path: Path) -> None:
    outcome = train(tiny, tmp_path, batch_size=64, max_epochs=1)
    assert outcome.code == 0
    assert "smaller than one batch" in outcome.text
