"""Validation at the end of a training, wherever that is, and after every Nth epoch; both resume exactly."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.training.loop import graceful_stop
from tests.helpers.training_fixtures import (
    assert_same_end,
    differences,
    interrupt_at,
    metric_rows,
    saved,
    step_rows,
    train,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

LONG: dict[str, Any] = {
    "max_epochs": 9, "lr": 2e-2, "plateau_patience": 0, "early_stopping": 7, "save_top_k": 2, "ema": 0.5,
}  # fmt: skip
"""Five steps an epoch; the schedule, early stopping and the sums would show every validation too many."""


def steps(folder: Path) -> list[int]:
    """The steps at which it was validated."""
    return [int(row["step"]) for row in metric_rows(folder)]


@pytest.fixture(scope="module")
def straight(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine epochs in one go."""
    folder = tmp_path_factory.mktemp("straight")
    assert train(tiny, folder, **LONG).code == 0
    return folder


@pytest.fixture(scope="module")
def every_third(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, validated three times."""
    folder = tmp_path_factory.mktemp("every-third")
    assert train(tiny, folder, **LONG, val_every_n_epochs=3).code == 0
    return folder


# -- max_steps ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [3, 10, 12])
def test_it_ends_after_exactly_these_steps_validated_and_saved(
    tiny: Path, tmp_path: Path, limit: int
) -> None:
    outcome = train(tiny, tmp_path, **LONG, max_steps=limit)
    assert outcome.code == 0
    assert f"9 epochs or {limit} steps, whichever come first" in outcome.text
    assert f"--resume --max_epochs 18 --max_steps {2 * limit}" in outcome.text
    assert steps(tmp_path) == [*range(5, limit, 5), limit]
    assert [int(row["step"]) for row in step_rows(tmp_path)] == [*range(1, limit + 1)]
    last = saved(tmp_path / "last.ckpt")
    assert (last["global_step"], last["plumbline"]["epochs_done"]) == (limit, limit // 5)
    assert last["plumbline"]["metrics"]["val_loss"] == float(metric_rows(tmp_path)[-1]["val_loss"])
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["outcome"], result["epochs"]) == ("finished", limit // 5)
    best = min(metric_rows(tmp_path), key=lambda row: float(row["val_loss"]))
    assert load_checkpoint(result["best_checkpoint"]).metrics["val_loss"] == float(best["val_loss"])
    again = train(tiny, tmp_path, **LONG, max_steps=limit, resume="")
    assert f"has already finished {limit} steps: raise --max_steps to resume" in again.text


@pytest.mark.parametrize("limit", [3, 10, 12])
@pytest.mark.parametrize("loader", ["resident", "workers"])
def test_a_larger_number_continues_with_the_same_bits(
    tiny: Path, straight: Path, tmp_path: Path, limit: int, loader: str
) -> None:
    """But for the models and rows of metrics that were validated where a longer training is not."""
    more = {"loader": loader, "num_workers": 1}
    assert train(tiny, tmp_path, **LONG, **more, max_steps=limit).code == 0
    early = set(tmp_path.glob("best-model-*.ckpt"))
    assert train(tiny, tmp_path, **LONG, **more, resume="").code == 0
    assert_same_bits(straight, tmp_path)
    extra = [] if limit % 5 == 0 else [limit]
    assert steps(tmp_path) == sorted([*steps(straight), *extra])
    kept = [row for row in metric_rows(tmp_path) if int(row["step"]) not in extra]
    assert kept == metric_rows(straight)
    assert step_rows(tmp_path) == step_rows(straight)
    losses = sorted(float(row["val_loss"]) for row in metric_rows(tmp_path))[:2]
    found = {saved(path)["plumbline"]["metrics"]["val_loss"] for path in tmp_path.glob("best-model-*.ckpt")}
    assert found == set(losses)
    assert early


def assert_same_bits(one: Path, other: Path) -> None:
    """The ends of two trainings, all of it but which earlier models were the best."""
    here, there = (saved(folder / "last.ckpt") for folder in (one, other))
    for part in (
        "state_dict",
        "training_weights",
        "optimizer_states",
        "lr_schedulers",
        "global_step",
        "epoch",
    ):
        assert differences(here[part], there[part]) == [], part
    for part in ("rng", "metrics", "epochs_done", "batches_done", "train_sums", "calibration"):
        assert differences(here["plumbline"][part], there["plumbline"][part]) == [], part
    names = [name for name in here["callbacks"] if name.startswith(("EarlyStopping", "AveragedWeights"))]
    assert len(names) == 2
    for name in names:
        assert differences(here["callbacks"][name], there["callbacks"][name]) == [], name


def test_a_cosine_ends_with_the_steps(tiny: Path, tmp_path: Path) -> None:
    settings = {"schedule": "cosine", "lr": 1e-2}
    assert train(tiny, tmp_path, **settings, max_epochs=9, max_steps=12).code == 0
    rates = [float(row["learning_rate"]) for row in metric_rows(tmp_path)]
    assert rates[-1] < 0.05 * settings["lr"]
    longer = train(tiny, tmp_path, **settings, max_epochs=9, max_steps=13, resume="")
    assert "--max_steps 13 here, 12 in the checkpoint" in longer.text


def test_the_last_of_both_limits_is_the_earlier(tiny: Path, tmp_path: Path) -> None:
    assert train(tiny, tmp_path, max_epochs=2, max_steps=99).code == 0
    assert steps(tmp_path) == [5, 10]
    assert "has already finished 2 epochs" in train(tiny, tmp_path, max_steps=99, resume="").text


@pytest.mark.parametrize("every", [3, 4])
def test_a_state_that_is_due_anyway_does_not_replace_the_last_validation(
    tiny: Path, tmp_path: Path, every: int
) -> None:
    assert train(tiny, tmp_path, max_steps=12, checkpoint_every_n_steps=every, lr=1e-3).code == 0
    last = saved(tmp_path / "last.ckpt")
    assert last["plumbline"]["metrics"]["val_loss"] == float(metric_rows(tmp_path)[-1]["val_loss"])
    assert len(list(tmp_path.glob("best-model-*"))) == 1


def test_ctrl_c_in_the_last_step_is_an_interruption_with_everything_saved(
    tiny: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(11, patch)
        assert train(tiny, tmp_path, **LONG, max_steps=12).code == 130
    assert steps(tmp_path)[-1] == 12
    assert train(tiny, tmp_path, **LONG, resume="").code == 0
    assert_same_bits(straight, tmp_path)


# -- val_every_n_epochs ------------------------------------------------------------------------------------


def test_every_third_epoch_and_the_last_one_are_validated(
    tiny: Path, every_third: Path, tmp_path: Path
) -> None:
    assert steps(every_third) == [15, 30, 45]
    outcome = train(tiny, tmp_path, **{**LONG, "max_epochs": 8}, val_every_n_epochs=3)
    assert steps(tmp_path) == [15, 30, 40]
    assert [line.split()[1] for line in outcome.text.splitlines() if line.startswith("epoch ")] == [
        "3/8", "6/8", "8/8",
    ]  # fmt: skip
    for row, whole in zip(metric_rows(tmp_path)[:2], metric_rows(every_third), strict=False):
        assert row == whole


def test_what_is_trained_does_not_depend_on_it_but_through_the_schedule(tiny: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        train(tiny, tmp_path / str(number), max_epochs=4, lr=1e-3, val_every_n_epochs=number)
    assert metric_rows(tmp_path / "2") == metric_rows(tmp_path / "1")[1::2]
    assert step_rows(tmp_path / "2") == step_rows(tmp_path / "1")


@pytest.mark.parametrize("epochs", [2, 3, 7])
def test_more_epochs_continue_with_the_same_bits(
    tiny: Path, every_third: Path, tmp_path: Path, epochs: int
) -> None:
    run = {**LONG, "val_every_n_epochs": 3}
    assert train(tiny, tmp_path, **{**run, "max_epochs": epochs}).code == 0
    assert train(tiny, tmp_path, **run, resume="").code == 0
    assert_same_bits(every_third, tmp_path)
    assert steps(tmp_path) == sorted({15, 30, 45, 5 * epochs})


@pytest.mark.parametrize("step", [2, 4, 9, 14, 17])
def test_ctrl_c_anywhere_resumes_with_the_same_bits(
    tiny: Path, every_third: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """After the last step of an epoch that is not validated, the training takes one step more."""
    run = {**LONG, "val_every_n_epochs": 3}
    with monkeypatch.context() as patch:
        interrupt_at(step, patch)
        assert train(tiny, tmp_path, **run).code == 130
    between = (step + 1) % 5 == 0 and (step + 1) % 15 != 0
    assert saved(tmp_path / "last.ckpt")["global_step"] == step + 1 + between
    assert train(tiny, tmp_path, **run, resume="").code == 0
    assert_same_end(every_third, tmp_path)


def test_states_that_are_due_between_two_epochs_are_saved_a_step_later(
    tiny: Path, every_third: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    save = graceful_stop.BestAndLast.save_last_now
    monkeypatch.setattr(
        graceful_stop.BestAndLast,
        "save_last_now",
        lambda self, trainer: (written.append(trainer.global_step), save(self, trainer)),
    )
    run = {**LONG, "val_every_n_epochs": 3, "checkpoint_every_n_steps": 5}
    assert train(tiny, tmp_path, **run).code == 0
    assert written == [6, 11, 21, 26, 36, 41]
    assert_same_end(every_third, tmp_path)


@pytest.mark.parametrize(("early_stopping", "stops"), [(3, 6), (4, 9), (6, 9)])
def test_early_stopping_and_the_schedule_count_epochs(
    tiny: Path, tmp_path: Path, early_stopping: int, stops: int
) -> None:
    settings = {"lr": 1e-30, "val_every_n_epochs": 3, "max_epochs": 30, "early_stopping": early_stopping}
    outcome = train(tiny, tmp_path, **settings)
    assert (
        f"stopped early after epoch {stops}: val_loss has not improved for {stops - 3} epochs" in outcome.text
    )
    again = train(tiny, tmp_path, **settings, resume="")
    assert (
        f"stopped early after {stops} epochs: val_loss had not improved for {stops - 3} epochs" in again.text
    )
    shutil.rmtree(tmp_path)
    slow = {"lr": 4e-6, "batch_size": 64, "max_epochs": 12, "plateau_patience": 5}
    train(tiny, tmp_path, **slow, val_every_n_epochs=3)
    assert [float(row["learning_rate"]) for row in metric_rows(tmp_path)] == [4e-6] * 3 + [2e-6]
