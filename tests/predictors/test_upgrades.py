"""Checkpoints of earlier formats are read, resumed and predicted with as if they were of today."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from plumbline.data.batches.collate import make_batch
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.models import arguments_for, build_model
from plumbline.models.ept import Head
from plumbline.predictors.calibration import Calibration
from plumbline.predictors.checkpoint import FORMAT, load_checkpoint, read_checkpoint
from plumbline.predictors.inference import answers_for, predict
from plumbline.training.loop.task import CentreOfMassTask
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

OLD = {number: ROOT / "tests" / "golden" / f"checkpoint-format-{number}.ckpt" for number in (2, 3)}
"""By format, of a training with ``RECIPE`` on the data set of ``write_seeded``, interrupted after 8 of 15
steps. The objects of format 3 have a volume and an inertia."""
SIZE: dict[str, Any] = {
    "hidden_dim": 8, "num_layers": 1, "model_args": ["num_tokens=4", "num_neighbours=4", "patch_dim=8"],
}  # fmt: skip
RECIPE: dict[str, Any] = {"recipe": "best", "max_epochs": 3, **SIZE}
ANSWERS = [[-0.200040534, -0.076253787, -0.240094498], [0.072733864, 0.110922083, 0.058153011]]
"""For the first two scans, of the programs that wrote them."""
LOG_SCALES = [-1.9968146085739136, -2.1298813819885254]
"""Logarithms of the expected errors of the same."""
LOSSES = [0.034081718698143956, 0.03255982026457786, 0.028919900581240655]
"""``train_loss_epoch`` when the programs that wrote them resumed them."""
ROUNDING = 1e-5


def as_format_3(content: dict[str, Any]) -> None:
    """Reverse the upgrade of a checkpoint without side heads."""
    ours = content["plumbline"]
    for part in ours["model_args"].get("members", [ours]):
        part["model_args"] = dict(part["model_args"])
        assert part["model_args"].pop("covariance") is False
        part["model_args"].pop("payload")
    ours["error_factors"] = ours.pop("calibration")["error_factors"]
    ours["format"] = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The data sets by format; their fingerprints must be those that the checkpoints record."""
    folder = tmp_path_factory.mktemp("seeded")
    return {number: write_seeded(folder / str(number), payload=number == 3) for number in OLD}


@pytest.mark.parametrize("number", OLD)
def test_a_checkpoint_answers_as_before(data: dict[int, Path], number: int) -> None:
    assert saved(OLD[number])["plumbline"]["format"] == number
    found = answers_for(load_checkpoint(OLD[number]).model, PackedStore.open(data[number]), np.arange(2))
    np.testing.assert_allclose(found.com, ANSWERS, rtol=0, atol=1e-6)
    assert found.expected_error is not None
    np.testing.assert_allclose(np.log(found.expected_error), LOG_SCALES, rtol=0, atol=1e-5)
    assert (found.covariance, found.volume, found.inertia) == (None, None, None)


@pytest.mark.parametrize("number", OLD)
def test_its_factors_are_kept_and_nothing_else_is_calibrated(number: int) -> None:
    factors = saved(OLD[number])["plumbline"]["error_factors"]
    assert factors.keys() >= {"0.5"}
    assert load_checkpoint(OLD[number]).calibration == Calibration(factors)


@pytest.mark.parametrize("number", OLD)
def test_a_training_is_resumed_without_new_heads(data: dict[int, Path], tmp_path: Path, number: int) -> None:
    """Format 3 resumes on data with volume and inertia: a training from the start would have the heads."""
    assert PackedStore.open(data[number]).has_payload == (number == 3)
    shutil.copy(OLD[number], tmp_path / "last.ckpt")
    outcome = train(data[number], tmp_path, **RECIPE, resume="")
    assert outcome.code == 0, outcome.text
    ended = saved(tmp_path / "last.ckpt")
    assert (ended["plumbline"]["format"], ended["global_step"]) == (FORMAT, 15)
    found = [float(row["train_loss_epoch"]) for row in metric_rows(tmp_path)]
    assert found == pytest.approx(LOSSES[-len(found) :], rel=ROUNDING)
    model_args = ended["plumbline"]["model_args"]
    assert (model_args["covariance"], model_args["payload"]) == (False, False)
    assert not any("side_heads" in name for name in ended["state_dict"])
    with torch.inference_mode():
        trained = load_checkpoint(tmp_path / "last.ckpt")
        answer = trained.model.answer(
            make_batch(PackedStore.open(data[number]), np.arange(2), frozenset({"patches"}))
        )
    assert answer.covariance is answer.log_volume is answer.inertia is None
    assert trained.calibration.ellipsoid_factors == {}


def test_a_training_from_the_start_has_the_heads(data: dict[int, Path], tmp_path: Path) -> None:
    """The control of the previous test."""
    assert train(data[3], tmp_path, **RECIPE).code == 0
    ended = saved(tmp_path / "last.ckpt")
    assert ended["plumbline"]["model_args"]["payload"] is True
    assert any("side_heads.moments" in name for name in ended["state_dict"])


@pytest.mark.parametrize("number", OLD)
def test_an_ensemble_is_read(data: dict[int, Path], tmp_path: Path, number: int) -> None:
    store = PackedStore.open(data[number])
    path = write_ensemble(tmp_path, [OLD[number]] * 2, store, np.arange(len(store)), batch_size=16)
    content = saved(path)
    as_format_3(content)
    if number == 2:
        content["plumbline"]["format"] = 2
        for member in range(2):
            content["state_dict"][f"model.members.{member}.head.vote.bias"] = torch.ones(1)
    torch.save(content, tmp_path / "old.ckpt")
    trained = load_checkpoint(tmp_path / "old.ckpt")
    found = predict(trained.model, store, np.arange(2))
    np.testing.assert_allclose(found, ANSWERS, rtol=0, atol=1e-6)
    assert trained.calibration.error_factors.keys() == {"0.5", "0.9"}


@pytest.mark.parametrize("ema", [0, 0.9])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_the_optimizer_keeps_the_state_of_every_weight(
    data: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, ema: float
) -> None:
    """The votes get back the bias that they had in format 2, and a training with it is upgraded."""
    original, describe, arguments = Head.__init__, CentreOfMassTask.on_save_checkpoint, arguments_for

    def biased(self: Head, hidden_dim: int, *sizes: int) -> None:
        original(self, hidden_dim, *sizes)
        self.vote = nn.Linear(hidden_dim, 1)

    def saving(self: CentreOfMassTask, content: dict[str, Any]) -> None:
        describe(self, content)
        as_format_3(content)
        content["plumbline"]["format"] = 2

    def without_side_heads(*args: Any, **sizes: Any) -> dict[str, Any]:
        return arguments(*args, **sizes) | {"covariance": False}

    def by_name(content: dict[str, Any]) -> dict[str, Any]:
        """All that belongs to each weight of the model as this moment's ``Head`` has them."""
        model_args = content["plumbline"]["model_args"] | {"covariance": False}
        model = build_model("ept", **model_args)
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
        patch.setattr(CentreOfMassTask, "on_save_checkpoint", saving)
        patch.setattr("plumbline.training.phases.arguments_for", without_side_heads)
        interrupt_at(7, patch)
        assert train(data[3], tmp_path, **RECIPE, optimizer=optimizer, ema=ema).code == 130
        before = by_name(saved(tmp_path / "last.ckpt"))
    del before["head.vote.bias"]
    assert differences(before, by_name(read_checkpoint(tmp_path / "last.ckpt"))) == []
    assert train(data[3], tmp_path, **RECIPE, optimizer=optimizer, ema=ema, resume="").code == 0
    assert saved(tmp_path / "last.ckpt")["global_step"] == 15


@pytest.mark.parametrize("number", OLD)
def test_one_that_is_not_whole_is_refused(tmp_path: Path, number: int) -> None:
    content = saved(OLD[number])
    if number == 2:
        content["optimizer_states"] = [{}]
    else:
        del content["plumbline"]["error_factors"]
    torch.save(content, tmp_path / "cut.ckpt")
    with pytest.raises(InputError, match=f"is not a complete checkpoint of format {number}"):
        read_checkpoint(tmp_path / "cut.ckpt")


def test_a_seed_draws_the_weights_that_it_drew_in_format_2() -> None:
    torch.manual_seed(3)
    model = build_model("ept", **saved(OLD[2])["plumbline"]["model_args"])
    last = model.state_dict()["head.doubt.2.weight"]  # behind the bias that the votes had
    wanted = [[-0.47009360790252686, 0.3500499129295349, -0.2916967272758484, 0.02318406105041504]]
    torch.testing.assert_close(last, torch.tensor(wanted), rtol=0, atol=1e-7)
