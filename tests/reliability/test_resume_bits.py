"""Flags that may differ on resume do not change a bit of the result: each is tested from within an epoch."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from plumbline.training.persistence.resume import _SAME_NETWORK, _SAME_TRAINING
from tests.helpers.training_fixtures import (
    assert_same_end,
    flags,
    in_fresh_process,
    interrupt_at,
    saved,
    train,
)
from tests.reliability.test_resume_flags import MAY_CHANGE

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SETTINGS = {"max_epochs": 4, "lr": 1e-2}

CHANGES: dict[str, dict[str, Any]] = {
    **{name: {name: value} for name, value in MAY_CHANGE.items()},
    "num_workers": {"loader": "workers", "num_workers": 2},
    "loader": {"loader": "workers", "num_workers": 0},
    "use_wandb": {"use_wandb": True},
}
"""What is changed for each flag; the number of epochs is changed in every case."""


@pytest.fixture(scope="module")
def straight(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four epochs in one go."""
    folder = tmp_path_factory.mktemp("straight")
    assert train(tiny, folder, **SETTINGS).code == 0
    return folder


@pytest.fixture(scope="module")
def stopped(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first eight steps of nine epochs: one epoch and three batches."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(7, patch)
        assert train(tiny, folder, **SETTINGS | {"max_epochs": 9}).code == 130
    return folder


@pytest.mark.parametrize("name", CHANGES)
def test_changing_it_changes_no_bit(
    tiny: Path, straight: Path, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name == "accelerator" and torch.cuda.is_available():
        pytest.skip("another device computes other bits, and auto takes the GPU of this machine")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    config = saved(run / "last.ckpt")["plumbline"]["config"]
    kept = {flag: config[flag] for flag in (*_SAME_NETWORK, *_SAME_TRAINING) if flag != "model_args"}
    outcome = train(tiny, run, **{**kept, **SETTINGS, **CHANGES[name], "resume": ""})
    assert outcome.code == 0, outcome.text
    assert "after 1 epoch and 3 batches" in outcome.text
    assert_same_end(straight, run)


def test_other_folders_change_no_bit(tiny: Path, straight: Path, stopped: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(tiny, tmp_path / "data"))
    outcome = train(data, tmp_path / "run", **SETTINGS, resume=str(stopped / "last.ckpt"))
    assert outcome.code == 0, outcome.text
    assert_same_end(straight, tmp_path / "run")


def test_a_stopped_training_may_become_the_first_of_an_ensemble(
    tiny: Path, straight: Path, stopped: Path, tmp_path: Path
) -> None:
    shutil.copytree(stopped, tmp_path / "member-0")
    outcome = train(tiny, tmp_path, **SETTINGS, ensemble=2, resume="")
    assert outcome.code == 0, outcome.text
    assert "after 1 epoch and 3 batches" in outcome.text
    assert_same_end(straight, tmp_path / "member-0")


def test_the_strategy_for_several_devices_changes_no_bit_on_one(
    tiny: Path, straight: Path, stopped: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    done = in_fresh_process(flags(tiny, run, **SETTINGS, strategy="ddp", resume=""))
    assert done.returncode == 0, done.stderr
    assert_same_end(straight, run)
