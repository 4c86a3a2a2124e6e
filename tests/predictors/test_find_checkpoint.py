"""Which checkpoint a folder stands for."""

from pathlib import Path

import pytest
import torch

from plumbline import InputError
from plumbline.predictors.checkpoint import FORMAT
from plumbline.predictors.find_checkpoint import find_best


def write(path: Path, val_loss: float) -> Path:
    """A checkpoint that says no more than its format and its loss."""
    ours = {"format": FORMAT, "metrics": {"val_loss": val_loss}}
    torch.save({"state_dict": {}, "plumbline": ours}, path)
    return path


def test_the_loss_in_the_file_decides_and_not_the_rounded_one_in_its_name(tmp_path: Path) -> None:
    write(tmp_path / "best-model-13-0.013.ckpt", 0.01321)
    best = write(tmp_path / "best-model-21-0.013.ckpt", 0.01279)
    assert find_best(tmp_path) == best
    best = write(tmp_path / "best-model-07-0.014.ckpt", 0.0101)  # renamed by hand
    assert find_best(tmp_path) == best


def test_a_single_best_model_needs_no_reading(tmp_path: Path) -> None:
    (tmp_path / "best-model-07-0.123.ckpt").touch()
    (tmp_path / "last.ckpt").touch()
    assert find_best(tmp_path).name == "best-model-07-0.123.ckpt"


def test_of_several_best_models_a_damaged_one_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "best-model-13-0.013.ckpt", 0.013)
    (tmp_path / "best-model-21-0.013.ckpt").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"best-model-21-0\.013\.ckpt is not a readable checkpoint"):
        find_best(tmp_path)


def test_ensemble_best_last_and_nothing_in_this_order(tmp_path: Path) -> None:
    for name in ("ensemble.ckpt", "best-model-07-0.123.ckpt", "last.ckpt"):
        write(tmp_path / name, 0.1)
    for name in ("ensemble.ckpt", "best-model-07-0.123.ckpt", "last.ckpt"):
        assert find_best(tmp_path) == tmp_path / name
        assert find_best(tmp_path / "last.ckpt") == tmp_path / "last.ckpt"
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match="neither best-model"):
        find_best(tmp_path)
