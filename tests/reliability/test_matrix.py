"""Resumed trainings equal uninterrupted ones: every network, recipe, precision and loader, with dropout."""

import multiprocessing
import os
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from plumbline.data.batches.loader import Loader
from plumbline.models import MODELS
from plumbline.training.loop import task as owner
from plumbline.training.loop.task import CentreOfMassTask
from tests.helpers.training_fixtures import assert_same_end, interrupt_at, saved, train

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="sends a signal"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SETTINGS = {"max_epochs": 3, "dropout": 0.2, "hidden_dim": 8}
RECIPES: dict[str, dict[str, Any]] = {
    "documented": {},
    "best": {"recipe": "best", "batch_size": 8, "ema": 0.9, "warmup": 0.2},  # muon, cosine, displacement
}
LOADERS: dict[str, dict[str, Any]] = {
    "resident": {"loader": "resident"},
    "workers0": {"loader": "workers", "num_workers": 0},
    "workers2": {"loader": "workers", "num_workers": 2},
}
STOPS = {"mid-epoch": 7, "epoch-end": 9}
"""Five steps make an epoch; a stop in step 9 leaves two whole epochs."""

ALL = list(product(MODELS, RECIPES, ("32", "bf16-mixed"), LOADERS, STOPS))
"""Every combination."""

SOME = [
    (
        model,
        tuple(RECIPES)[i % 2],
        ("bf16-mixed", "32")[i // 2 % 2],
        tuple(LOADERS)[i % 3],
        tuple(STOPS)[i // 3 % 2],
    )
    for i, model in enumerate(MODELS)
]
"""Every network once, and every other choice at least twice."""


def stop_and_go_on(
    tiny: Path, tmp_path: Path, model: str, recipe: str, precision: str, loader: str, stop: str
) -> None:
    """Trains in one go and with a stop, and compares all that both leave behind."""
    chosen = SETTINGS | RECIPES[recipe] | LOADERS[loader] | {"model": model, "precision": precision}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert train(tiny, whole, **chosen).code == 0
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(STOPS[stop], patch)
        assert train(tiny, broken, **chosen).code == 130
    assert multiprocessing.active_children() == [], "reader processes outlive the training"
    assert saved(broken / "last.ckpt")["global_step"] == STOPS[stop] + 1
    torch.rand(7)  # whatever happens in between must not matter
    resumed = train(tiny, broken, **chosen, resume="")
    assert resumed.code == 0, resumed.text
    assert_same_end(whole, broken)
    assert multiprocessing.active_children() == [], "reader processes outlive the training"


@pytest.mark.parametrize(("model", "recipe", "precision", "loader", "stop"), SOME)
def test_some(
    tiny: Path, tmp_path: Path, model: str, recipe: str, precision: str, loader: str, stop: str
) -> None:
    stop_and_go_on(tiny, tmp_path, model, recipe, precision, loader, stop)


@pytest.mark.long
@pytest.mark.parametrize(("model", "recipe", "precision", "loader", "stop"), ALL)
def test_all(
    tiny: Path, tmp_path: Path, model: str, recipe: str, precision: str, loader: str, stop: str
) -> None:
    stop_and_go_on(tiny, tmp_path, model, recipe, precision, loader, stop)


def test_some_holds_every_choice() -> None:
    for column, choices in enumerate((MODELS, RECIPES, ("32", "bf16-mixed"), LOADERS, STOPS)):
        assert {case[column] for case in SOME} == set(choices)


def test_without_the_random_states_it_would_be_another_training(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "restore_random_states", lambda _: None)
    with pytest.raises(AssertionError, match=r"state_dict|the losses in the names"):
        stop_and_go_on(tiny, tmp_path, "gcn", "documented", "32", "resident", "mid-epoch")


# -- order and validation after a stop within an epoch -----------------------------------------------------


def watched(tiny: Path, folder: Path, **changed: Any) -> dict[str, list[tuple[int, list[int]]]]:
    """Trains, and returns the epoch and the graphs of every batch that was trained on and validated on."""
    seen: dict[str, list[tuple[int, list[int]]]] = {"training_step": [], "validation_step": []}
    with pytest.MonkeyPatch.context() as patch:
        for name in seen:
            original = getattr(CentreOfMassTask, name)

            def noted(task: CentreOfMassTask, batch: Any, number: int, name=name, original=original) -> Any:
                seen[name].append((task.current_epoch, batch.index.tolist()))
                return original(task, batch, number)

            patch.setattr(CentreOfMassTask, name, noted)
        train(tiny, folder, **changed)
    return seen


@pytest.mark.parametrize("loader", ["resident", "workers2"])
def test_the_order_goes_on_and_the_next_validation_is_whole(tiny: Path, tmp_path: Path, loader: str) -> None:
    chosen = {"max_epochs": 3, **LOADERS[loader]}
    whole = watched(tiny, tmp_path / "whole", **chosen)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(7, patch)
        before = watched(tiny, tmp_path / "broken", **chosen)
    after = watched(tiny, tmp_path / "broken", **chosen, resume="")
    assert before["training_step"] + after["training_step"] == whole["training_step"]
    assert before["validation_step"] + after["validation_step"] == whole["validation_step"]
    per_epoch = [[rows for epoch, rows in whole["training_step"] if epoch == number] for number in range(3)]
    assert per_epoch[0] != per_epoch[1] != per_epoch[2] != per_epoch[0]
    first_validated = [row for epoch, rows in after["validation_step"] if epoch == 1 for row in rows]
    data = saved(tmp_path / "broken" / "last.ckpt")["plumbline"]["data"]
    assert len(set(first_validated)) == len(first_validated) == data["num_val"]


def test_without_the_loaders_place_the_order_would_be_another(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Loader, "load_state_dict", lambda *_: None)
    with pytest.raises(AssertionError):
        stop_and_go_on(tiny, tmp_path, "gcn", "documented", "32", "resident", "mid-epoch")
