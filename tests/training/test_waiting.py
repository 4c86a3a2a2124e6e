"""No step waits for the device, unless it is logged: nothing that a step computes is read on the host."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from plumbline.models import MODELS
from plumbline.training.loop.nonfinite import NonFinite
from plumbline.training.loop.task import CentreOfMassTask
from tests.helpers.training_fixtures import train

READING = {"_local_scalar_dense", "nonzero", "equal", "masked_select", "unique_dim", "_unique2", "bincount"}
"""Operations whose answer, or the size of whose answer, the host must know before it goes on."""
METHODS = ("tolist", "numpy", "cpu", "__array__")


class Reads(TorchDispatchMode):
    """Notes what is read on the host from one batch of an epoch to the next, the loop around them too."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.steps = 0
        self.between = False

    def note(self, name: str) -> None:
        if self.between:
            self.found.append(name)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = func.overloadpacket.__name__
        mask = name in ("index", "index_put", "index_put_") and any(
            part is not None and part.dtype == torch.bool for part in args[1]
        )
        if name in READING or mask:
            self.note(name)
        return func(*args, **(kwargs or {}))

    def noting(self, name: str, method: Callable) -> Callable:
        def noted(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            self.note(name)
            return method(tensor, *args, **kwargs)

        return noted

    def bounding(self, step: Callable) -> Callable:
        def bounded(task: CentreOfMassTask, batch: Any, number: int) -> Any:
            self.steps += 1
            self.between = number < task.trainer.num_training_batches - 1
            return step(task, batch, number)

        return bounded


def reads(tiny: Path, folder: Path, **changed: Any) -> Reads:
    mode = Reads()
    with pytest.MonkeyPatch.context() as patch:
        for name in METHODS:
            patch.setattr(Tensor, name, mode.noting(name, getattr(Tensor, name)))
        # The one look that a step takes on a CPU only.
        patch.setattr(NonFinite, "leaves_out", lambda *args, **named: False)
        patch.setattr(CentreOfMassTask, "training_step", mode.bounding(CentreOfMassTask.training_step))
        chosen = {"batch_size": 5, "dropout": 0, "loader": "resident", "log_every_n_steps": 50, **changed}
        with mode:
            outcome = train(tiny, folder, **chosen)
    assert outcome.code == 0, outcome.text
    return mode


@pytest.mark.parametrize("recipe", ["documented", "best"])
@pytest.mark.parametrize("model", MODELS)
def test_no_step_reads_a_tensor_on_the_host(tiny: Path, tmp_path: Path, model: str, recipe: str) -> None:
    chosen: dict[str, Any] = {"model": model} | ({"recipe": "best", "ema": 0.9} if recipe == "best" else {})
    found = reads(tiny, tmp_path, **chosen)
    assert found.steps >= 4
    assert found.found == []


def test_a_step_that_reads_is_found(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = CentreOfMassTask.training_step

    def reading(task: CentreOfMassTask, batch: Any, number: int) -> Any:
        loss = original(task, batch, number)
        assert loss.item() >= 0
        return loss

    monkeypatch.setattr(CentreOfMassTask, "training_step", reading)
    assert "_local_scalar_dense" in reads(tiny, tmp_path).found


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("model", MODELS)
def test_no_training_step_waits_for_the_gpu(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """PyTorch itself refuses what would wait, from one batch of an epoch to the next."""
    original = CentreOfMassTask.training_step

    def watched(task: CentreOfMassTask, batch: Any, number: int) -> Any:
        torch.cuda.set_sync_debug_mode("error" if number else "default")
        return original(task, batch, number)

    def over(task: CentreOfMassTask) -> None:
        torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(CentreOfMassTask, "training_step", watched)
    monkeypatch.setattr(CentreOfMassTask, "on_validation_start", over)
    try:
        assert train(tiny, tmp_path, model=model, accelerator="cuda", log_every_n_steps=50).code == 0
    finally:
        torch.cuda.set_sync_debug_mode("default")
