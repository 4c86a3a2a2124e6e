"""Training and validation on the same few batches."""

import json
from pathlib import Path
from typing import Any

import pytest

from plumbline.training.loop.task import CentreOfMassTask
from tests.helpers.training_fixtures import assert_same_end, interrupt_at, metric_rows, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SETTINGS: dict[str, Any] = {"overfit_batches": 3, "max_epochs": 4, "dropout": 0}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[int]]]:
    """The graphs of every batch, by the kind of step."""
    found: dict[str, list[list[int]]] = {"training_step": [], "validation_step": []}
    for name, batches in found.items():
        original = getattr(CentreOfMassTask, name)

        def watched(
            task: Any, batch: Any, number: int, original: Any = original, batches: Any = batches
        ) -> Any:
            batches.append(batch.index.tolist())
            return original(task, batch, number)

        monkeypatch.setattr(CentreOfMassTask, name, watched)
    return found


@pytest.mark.parametrize("loader", ["resident", "workers"])
def test_both_sides_see_the_same_batches_every_epoch(
    tiny: Path, tmp_path: Path, seen: dict[str, list[list[int]]], loader: str
) -> None:
    outcome = train(tiny, tmp_path, **SETTINGS, lr=1e-30, loader=loader, num_workers=1)
    batches = seen["training_step"][:3]
    assert seen["training_step"] == seen["validation_step"] == 4 * batches
    assert [len(set(batch)) for batch in batches] == [8] * 3
    assert "training and validation: the same 24 graphs of 11 objects (--overfit_batches)" in outcome.text
    for row in metric_rows(tmp_path):
        assert float(row["train_loss_epoch"]) == pytest.approx(float(row["val_loss"]), rel=1e-6)
    table = json.loads((tmp_path / "result.json").read_text())["table"]
    assert "on objects that include those it was trained on" in table["sentence"]
    train(tiny, tmp_path, max_epochs=1)
    assert seen["training_step"][12:15] == batches, "the first ones of a training on all"


@pytest.mark.parametrize(("number", "batch_size", "used"), [(9, 8, 40), (2, 64, 44)])
def test_more_batches_than_there_are_are_all(
    tiny: Path, tmp_path: Path, number: int, batch_size: int, used: int
) -> None:
    outcome = train(tiny, tmp_path, overfit_batches=number, batch_size=batch_size, max_epochs=1)
    assert f"training and validation: the same {used} graphs of 11 objects" in outcome.text


def test_it_resumes_with_the_same_bits(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**SETTINGS, "dropout": 0.2, "lr": 1e-2}
    assert train(tiny, tmp_path / "straight", **settings).code == 0
    with monkeypatch.context() as patch:
        interrupt_at(7, patch)
        assert train(tiny, tmp_path / "stopped", **settings).code == 130
    assert train(tiny, tmp_path / "stopped", **settings, resume="").code == 0
    assert_same_end(tmp_path / "straight", tmp_path / "stopped")
