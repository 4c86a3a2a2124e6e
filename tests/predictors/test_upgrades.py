"""Checkpoints of earlier formats are read, resumed and predicted with as if they were of today."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.models import build_model
from plumbline.models.ept import Head
from plumbline.predictors.checkpoint import FORMAT, load_checkpoint, read_checkpoint
from plumbline.predictors.inference import predict
from plumbline.training.optim.optimizers import make_optimizer
from plumbline.training.persistence.ensembles import write_ensemble
from tests.helpers.training_fixtures import (
    ROOT,
    differences,
    interrupt_at,
    metric_rows,
    saved,
    train,
    write_seeded,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

OLD = ROOT / "tests" / "golden" / "checkpoint-format-2.ckpt"
"""Of a training with ``RECIPE`` on the data set of ``write_seeded``, interrupted after 8 of 15 steps."""
SIZE: dict[str, Any] = {
    "hidden_dim": 8, "num_layers": 1, "model_args": ["num_tokens=4", "num_neighbours=4", "patch_dim=8"],
}  # fmt: skip
RECIPE: dict[str, Any] = {"recipe": "best", "max_epochs": 3, **SIZE}
ANSWERS = [[-0.200040534, -0.076253787, -0.240094498], [0.072733864, 0.110922083, 0.058153011]]
"""For the first two scans, of the program that wrote it."""
LOSSES = [0.034081718698143956, 0.03255982026457786, 0.028919900581240655]
"""``train_loss_epoch`` when the program that wrote it resumed it."""
ROUNDING = 1e-5


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seeded(tmp_path_factory.mktemp("seeded") / "data")


def test_a_checkpoint_of_format_2_answers_as_before(data: Path) -> None:
    assert saved(OLD)["plumbline"]["format"] == 2
    found = predict(load_checkpoint(OLD).model, PackedStore.open(data), np.arange(2))
    np.testing.assert_allclose(found, ANSWERS, rtol=0, atol=1e-6)


def test_a_training_of_format_2_is_resumed(data: Path, tmp_path: Path) -> None:
    shutil.copy(OLD, tmp_path / "last.ckpt")
    outcome = train(data, tmp_path, **RECIPE, resume="")
    assert outcome.code == 0, outcome.text
    ended = saved(tmp_path / "last.ckpt")
    assert (ended["plumbline"]["format"], ended["global_step"]) == (FORMAT, 15)
    found = [float(row["train_loss_epoch"]) for row in metric_rows(tmp_path)]
    assert found == pytest.approx(LOSSES[-len(found) :], rel=ROUNDING)


def test_an_ensemble_of_format_2_is_read(data: Path, tmp_path: Path) -> None:
    path = write_ensemble(tmp_path, [OLD, OLD])
    content = saved(path)
    content["plumbline"]["format"] = 2
    for member in range(2):
        content["state_dict"][f"model.members.{member}.head.vote.bias"] = torch.ones(1)
    torch.save(content, tmp_path / "old.ckpt")
    found = predict(load_checkpoint(tmp_path / "old.ckpt").model, PackedStore.open(data), np.arange(2))
    np.testing.assert_allclose(found, ANSWERS, rtol=0, atol=1e-6)


@pytest.mark.parametrize("ema", [0, 0.9])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_the_optimizer_keeps_the_state_of_every_weight(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, ema: float
) -> None:
    """The votes get back the bias that they had in format 2, and a training with it is upgraded."""
    original = Head.__init__

    def biased(self: Head, hidden_dim: int, *sizes: int) -> None:
        original(self, hidden_dim, *sizes)
        self.vote = nn.Linear(hidden_dim, 1)

    def by_name(content: dict[str, Any]) -> dict[str, Any]:
        """All that belongs to each weight of the model as this moment's ``Head`` has them."""
        model = build_model("ept", **content["plumbline"]["model_args"])
        state = make_optimizer(optimizer, model.parameters(), lr=1.0, weight_decay=0.1, eps=1e-8, fused=False)
        state.load_state_dict(content["optimizer_states"][0])
        names = [name for name, _ in model.named_parameters()]
        average = content["callbacks"].get("AveragedWeights", {}).get("average", names)
        parts = dict(
            zip(names, zip(average, map(state.state.get, model.parameters()), strict=True), strict=True)
        )
        assert {f"model.{name}" for name in parts} == set(content["state_dict"])
        assert "training_weights" not in content or set(content["training_weights"]) == set(
            content["state_dict"]
        )
        return parts

    with monkeypatch.context() as patch:
        patch.setattr(Head, "__init__", biased)
        patch.setattr("plumbline.training.loop.task.FORMAT", 2)
        interrupt_at(7, patch)
        assert train(data, tmp_path, **RECIPE, optimizer=optimizer, ema=ema).code == 130
        before = by_name(saved(tmp_path / "last.ckpt"))
    del before["head.vote.bias"]
    assert differences(before, by_name(read_checkpoint(tmp_path / "last.ckpt"))) == []
    assert train(data, tmp_path, **RECIPE, optimizer=optimizer, ema=ema, resume="").code == 0
    assert saved(tmp_path / "last.ckpt")["global_step"] == 15


def test_one_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    content = saved(OLD)
    content["optimizer_states"] = [{}]
    torch.save(content, tmp_path / "cut.ckpt")
    with pytest.raises(InputError, match="is not a complete checkpoint of format 2"):
        read_checkpoint(tmp_path / "cut.ckpt")


def test_a_seed_draws_the_weights_that_it_drew_in_format_2() -> None:
    torch.manual_seed(3)
    model = build_model("ept", **saved(OLD)["plumbline"]["model_args"])
    last = model.state_dict()["head.doubt.2.weight"]  # behind the bias that the votes had
    wanted = [[-0.47009360790252686, 0.3500499129295349, -0.2916967272758484, 0.02318406105041504]]
    torch.testing.assert_close(last, torch.tensor(wanted), rtol=0, atol=1e-7)
