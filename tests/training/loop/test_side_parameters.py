"""Heads that predict more than the centre of mass change none of its bits."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from plumbline.data.store.reader import PackedStore
from plumbline.models import arguments_for
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.predictors.inference import answers_for
from plumbline.training.lightning_import import LightningModule
from plumbline.training.loop.task import CentreOfMassTask
from tests.helpers.training_fixtures import differences, metric_rows, saved, train, write_seeded

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SMALL: dict[str, Any] = {
    "recipe": "best", "hidden_dim": 32, "num_layers": 1, "max_epochs": 2, "batch_size": 8,
    "loader": "resident", "gradient_clip": 0.05,
    "model_args": ["num_tokens=4", "num_neighbours=4", "patch_dim=16"],
}  # fmt: skip
"""So wide that muon turns matrices, also of the heads; clipped so low that every step is."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seeded(tmp_path_factory.mktemp("seeded") / "data", payload=True)


def trained(data: Path, out: Path, *, heads: bool = True, **flags: Any) -> dict[str, Any]:
    """The last checkpoint of a training with or without the heads."""

    def chosen(*args: Any, **sizes: Any) -> dict[str, Any]:
        return arguments_for(*args, **sizes) | ({} if heads else {"covariance": False, "payload": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plumbline.training.phases.arguments_for", chosen)
        outcome = train(data, out, **SMALL | flags)
    assert outcome.code == 0, outcome.text
    content = saved(out / "last.ckpt")
    assert any("side_heads.moments" in name for name in content["state_dict"]) == heads
    return content


def trunk(content: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in content["state_dict"].items() if "side_heads" not in name}


@pytest.fixture(scope="module", params=["muon", "adamw", "adam"])
def without(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("without")
    content = trained(data, folder, heads=False, optimizer=request.param)
    return SimpleNamespace(folder=folder, content=content, optimizer=request.param)


def test_the_centre_of_mass_has_the_same_bits(data: Path, tmp_path: Path, without: Any) -> None:
    found = trained(data, tmp_path, optimizer=without.optimizer)
    assert differences(trunk(found), trunk(without.content)) == []
    store = PackedStore.open(data)
    one, other = (
        answers_for(load_checkpoint(folder / "last.ckpt").model, store, np.arange(len(store)))
        for folder in (tmp_path, without.folder)
    )
    np.testing.assert_array_equal(one.com, other.com)
    np.testing.assert_array_equal(one.expected_error, other.expected_error)
    for part in ("train_loss_epoch", "val_loss", "val_error_rel"):
        assert [row[part] for row in metric_rows(tmp_path)] == [
            row[part] for row in metric_rows(without.folder)
        ]
    assert one.volume is not None
    assert one.volume.std() > 0
    assert other.covariance is other.volume is None


def test_clipped_together_they_change_it(
    data: Path, tmp_path: Path, without: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: as Lightning clips, the heads' gradient shrinks the others'."""
    monkeypatch.setattr(CentreOfMassTask, "clip_gradients", LightningModule.clip_gradients)
    found = trained(data, tmp_path, optimizer=without.optimizer)
    assert differences(trunk(found), trunk(without.content)) != []


# ---------------------------------------------------------------------------------------------- clipping


class Two(nn.Module):
    """Four weights of the centre of mass, three of the side."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Parameter(torch.zeros(4))
        self.side, self.unused = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))

    def forward(self, batch: Any) -> Tensor:
        raise NotImplementedError

    def side_parameters(self) -> list[nn.Parameter]:
        return [self.side, self.unused]


def clipped(
    model: nn.Module, value: float | None, main: list[float], side: list[float]
) -> tuple[Tensor, Tensor]:
    """The gradients after clipping, as the trainer calls it."""
    task = CentreOfMassTask(model, lr=1.0)
    task._trainer = SimpleNamespace(  # type: ignore[assignment]
        gradient_clip_val=None, gradient_clip_algorithm=None, precision_plugin=_plugin(),
    )  # fmt: skip
    model.main.grad, model.side.grad = torch.tensor(main), torch.tensor(side)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    task.clip_gradients(optimizer, gradient_clip_val=value, gradient_clip_algorithm="norm")
    assert model.unused.grad is None
    return model.main.grad, model.side.grad


def _plugin() -> Any:
    from lightning.pytorch.plugins.precision import Precision

    return Precision()


@pytest.mark.parametrize(
    ("side", "side_clipped"),
    [([0.3, 0.4], [0.3, 0.4]), ([300.0, 400.0], [0.6, 0.8]), ([0.0, 0.0], [0.0, 0.0])],
)
@pytest.mark.parametrize(
    ("main", "main_clipped"),
    [([0.5] * 4, [0.5] * 4), ([5.0] * 4, [0.5] * 4), ([0.0, 3.0, 4.0, 0.0], [0, 0.6, 0.8, 0])],
)
def test_each_group_is_clipped_to_its_own_norm(
    main: list[float], main_clipped: list[float], side: list[float], side_clipped: list[float]
) -> None:
    found = clipped(Two(), 1.0, main, side)
    torch.testing.assert_close(
        found, (torch.tensor(main_clipped), torch.tensor(side_clipped)), check_dtype=False
    )


@pytest.mark.parametrize("value", [None, 0.0])
def test_without_clipping_nothing_is_clipped(value: float | None) -> None:
    main, side = clipped(Two(), value, [5.0] * 4, [300.0, 400.0])
    assert (main.tolist(), side.tolist()) == ([5.0] * 4, [300.0, 400.0])


def test_a_model_that_lists_none_is_clipped_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Two, "side_parameters")
    main, side = clipped(Two(), 1.0, [0.0, 0.0, 0.0, 3.0], [0.0, 4.0])
    torch.testing.assert_close(main[3:], torch.tensor([0.6]))
    torch.testing.assert_close(side[1:], torch.tensor([0.8]))
