"""The best models are kept, by what they really measured."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from plumbline.predictors.find_checkpoint import find_best
from plumbline.training.persistence import saving
from tests.helpers.training_fixtures import assert_same_end, interrupt_at, metric_rows, saved, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SETTINGS: dict[str, Any] = {"lr": 3e-2, "save_top_k": 3, "max_epochs": 8}


def kept(folder: Path) -> list[int]:
    """Epochs of the kept models, the best one first."""
    metrics = [saved(path)["plumbline"]["metrics"] for path in folder.glob("best-model-*.ckpt")]
    return [row["epoch"] for row in sorted(metrics, key=lambda row: row["val_loss"])]


def ranked(folder: Path) -> list[int]:
    """Epochs of the training, the best one first."""
    rows = sorted(metric_rows(folder), key=lambda row: float(row["val_loss"]))
    return [int(row["epoch"]) for row in rows]


@pytest.fixture(scope="module")
def straight(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight")
    assert train(tiny, folder, **SETTINGS).code == 0
    return folder


def test_the_best_are_kept_in_the_documented_names(straight: Path) -> None:
    assert kept(straight) == ranked(straight)[:3] != [7, 6, 5]
    losses = {int(row["epoch"]): float(row["val_loss"]) for row in metric_rows(straight)}
    names = {f"best-model-{epoch:02d}-{losses[epoch]:.3f}.ckpt" for epoch in kept(straight)}
    assert {path.name for path in straight.glob("best-model-*")} == names
    assert saved(find_best(straight))["plumbline"]["metrics"]["epoch"] == ranked(straight)[0]


@pytest.mark.parametrize("step", [12, 27])
def test_resuming_keeps_the_same_ones(
    tiny: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(step, patch)
        assert train(tiny, tmp_path, **SETTINGS).code == 130
    assert train(tiny, tmp_path, **SETTINGS, resume="").code == 0
    assert_same_end(straight, tmp_path)


@pytest.fixture
def half(tiny: Path, tmp_path: Path) -> Path:
    """Five epochs, to be continued."""
    assert train(tiny, tmp_path / "run", **{**SETTINGS, "max_epochs": 5}).code == 0
    return tmp_path / "run"


@pytest.mark.parametrize("number", [1, 2, 5])
def test_another_number_holds_from_the_resume_on(tiny: Path, straight: Path, half: Path, number: int) -> None:
    """What was kept before and is one too many now stays on the disk."""
    before = kept(half)
    assert train(tiny, half, **{**SETTINGS, "save_top_k": number}, resume="").code == 0
    state = saved(half / "last.ckpt")["callbacks"]["BestAndLast"]
    assert len(state["best_k_models"]) == number
    assert set(kept(half)[:number]) == set(ranked(straight)[:number])
    if number == 1:
        assert set(before[1:]) <= set(kept(half))


def test_a_missing_one_is_said_and_the_others_stay(tiny: Path, half: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(half, tmp_path / "copy"))
    lost = find_best(half)
    others = kept(half)[1:]
    lost.unlink()
    again = {**SETTINGS, "max_epochs": 6, "lr": 10.0, "allow_mismatch": True, "resume": ""}
    outcome = train(tiny, half, **again)
    assert f"the best model so far, {lost}, is missing: the best from here on is kept" in outcome.text
    assert kept(half)[:2] == others
    shutil.rmtree(half)
    elsewhere = tmp_path / "elsewhere"
    assert train(tiny, elsewhere, **{**again, "resume": str(copy / "last.ckpt")}).code == 0
    assert kept(elsewhere) == kept(copy)


@pytest.mark.parametrize(("lr", "better"), [(10.0, "first"), (1e-3, "second")])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_two_models_of_one_epoch_whose_losses_round_alike_are_both_kept(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lr: float, better: str, number: int
) -> None:
    """The first is validated at the end of ``--max_steps``, the second at the end of the same epoch."""
    monkeypatch.setattr(saving, "BEST_NAME", "best-model-{epoch:02d}")  # as if all losses did
    settings: dict[str, Any] = {"save_top_k": number, "max_epochs": 1}
    assert train(tiny, tmp_path, **settings, lr=1e-3, max_steps=3).code == 0
    assert train(tiny, tmp_path, **settings, lr=lr, allow_mismatch=True, resume="").code == 0
    losses = [float(row["val_loss"]) for row in metric_rows(tmp_path)]
    assert (losses[0] < losses[1]) == (better == "first")
    found = {path: saved(path)["plumbline"]["metrics"]["val_loss"] for path in tmp_path.glob("best-model-*")}
    assert sorted(found.values()) == sorted(losses)[:number]
    assert found[find_best(tmp_path)] == min(losses)


def test_the_model_that_training_resumed_from_keeps_its_name(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if a better one of the same epoch has a loss that rounds alike."""
    monkeypatch.setattr(saving, "BEST_NAME", "best-model-{epoch:02d}")
    settings: dict[str, Any] = {"lr": 1e-3, "max_epochs": 1}
    assert train(tiny, tmp_path, **settings, max_steps=3).code == 0
    resumed = find_best(tmp_path)
    before = resumed.read_bytes()
    assert train(tiny, tmp_path, **settings, resume=str(resumed)).code == 0
    assert resumed.read_bytes() == before
    assert find_best(tmp_path) != resumed
