"""A network of the user's own that says more than the centre of mass is trained and calibrated too."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from plumbline.data.batches.collate import make_batch
from plumbline.errors import InputError
from plumbline.models.answer import Answer
from plumbline.testing import scans, store_of
from plumbline.training.loop.task import CentreOfMassTask


class Said(nn.Module):
    """Predicts the mean of the points, one covariance, one volume and one inertia for all graphs."""

    symmetry = "none"

    def __init__(self, *needs: str, payload: bool = True) -> None:
        super().__init__()
        self.needs, self.payload = frozenset(needs), payload
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, batch: Any) -> Tensor:
        return self.answer(batch).com

    def answer(self, batch: Any) -> Answer:
        com = batch.centre + 0 * self.scale
        tensor = self.scale.exp() * torch.eye(3).expand(len(com), 3, 3)
        volume = self.scale.expand(len(com)) if self.payload else None
        inertia = tensor if self.payload else None
        return Answer(com, covariance=tensor, log_volume=volume, inertia=inertia)


def step(model: Said) -> tuple[CentreOfMassTask, Any]:
    batch = make_batch(store_of(scans(), dtype=np.float32), np.arange(8), model.needs)
    task = CentreOfMassTask(model, lr=0.1)
    return task, batch


def test_a_payload_without_its_truth_in_the_batch_is_refused() -> None:
    task, batch = step(Said())
    with pytest.raises(InputError, match='add "payload" to its needs'):
        task.training_step(batch, 0)
    task, batch = step(Said("payload"))
    loss = task.training_step(batch, 0)
    assert loss is not None
    loss.backward()
    assert task.model.scale.grad.abs() > 0


def test_a_covariance_without_an_expected_error_is_calibrated() -> None:
    task, batch = step(Said(payload=False))
    with torch.no_grad():
        for _ in range(2):  # sixteen graphs: enough for nine in ten
            task.validation_step(batch, 0)
    found = task._calibrated()
    error = (batch.centre - batch.target).double().numpy() / np.exp(0.25)
    lengths = np.sort(np.repeat(np.linalg.norm(error, axis=1), 2))
    assert found.error_factors == {}
    assert found.ellipsoid_factors["0.9"] == pytest.approx(lengths[15], rel=1e-5)
    assert found.ellipsoid_factors["0.5"] == pytest.approx(lengths[8], rel=1e-5)
