"""The precisions: what they mean, what a device cannot do, and that errors stay in float32."""

from pathlib import Path
from typing import Any

import pytest
import torch

from plumbline.models.gcn import GCN
from plumbline.training.loop.precision import LIGHTNING_NAMES, Precision, choose_precision
from plumbline.training.loop.task import CentreOfMassTask
from tests.helpers.training_fixtures import metric_rows, saved, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_true_and_mixed_are_what_the_document_says() -> None:
    assert LIGHTNING_NAMES == {
        "32": "32-true", "16": "16-true", "bf16": "bf16-true", "16-mixed": "16-mixed",
        "bf16-mixed": "bf16-mixed", "64": "64-true",
    }  # fmt: skip


@pytest.mark.parametrize("name", list(LIGHTNING_NAMES))
def test_a_gpu_does_them_all(name: str) -> None:
    assert choose_precision(name, CUDA) == Precision(name)


@pytest.mark.parametrize(("asked", "done"), [("16", "bf16"), ("16-mixed", "bf16-mixed"), ("32", "32")])
def test_float16_on_a_cpu_is_replaced_with_a_sentence(asked: str, done: str) -> None:
    precision = choose_precision(asked, CPU)
    assert precision.name == done
    assert (f"--precision {asked} runs as {done}" in precision.note) == (asked != done)


@pytest.mark.parametrize(
    ("asked", "weights", "states"),
    [
        ("32", torch.float32, torch.float32),
        ("16", torch.bfloat16, torch.bfloat16),
        ("bf16", torch.bfloat16, torch.bfloat16),
        ("16-mixed", torch.float32, torch.float32),
        ("bf16-mixed", torch.float32, torch.float32),
        ("64", torch.float64, torch.float64),
    ],
)
def test_training_in_every_precision(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    asked: str, weights: torch.dtype, states: torch.dtype,
) -> None:  # fmt: skip
    seen: set[tuple[str, torch.dtype]] = set()
    forward, step = GCN.forward, CentreOfMassTask.training_step

    def watched(model: GCN, batch):
        answer = forward(model, batch)
        if not model.training:
            return answer
        seen.update({("features", batch.gcn.aggregated.dtype), ("target", batch.target.dtype)})
        seen.update({("matrix", batch.gcn.propagate.value.dtype), ("answer", answer.dtype)})
        return answer

    def watched_step(task, batch, batch_idx):
        loss = step(task, batch, batch_idx)
        seen.add(("loss", loss.dtype))
        return loss

    monkeypatch.setattr(GCN, "forward", watched)
    monkeypatch.setattr(CentreOfMassTask, "training_step", watched_step)
    outcome = train(tiny, tmp_path, precision=asked, lr=1e-2, max_epochs=3)
    assert outcome.code == 0, outcome.text
    assert ("runs as" in outcome.text) == asked.startswith("16")
    content = saved(tmp_path / "last.ckpt")
    assert {value.dtype for value in content["state_dict"].values()} == {weights}
    assert content["optimizer_states"][0]["state"][0]["exp_avg"].dtype == states
    wide = torch.float64 if asked == "64" else torch.float32
    short = torch.bfloat16 if asked.startswith(("16", "bf16")) else wide
    assert seen == {
        ("features", torch.float32), ("target", torch.float32), ("matrix", torch.float32),
        ("answer", short), ("loss", wide),
    }  # fmt: skip
    losses = [float(row["train_loss_epoch"]) for row in metric_rows(tmp_path)]
    assert losses[-1] < losses[0]


def test_mixed_and_double_precision_stay_near_single(tiny: Path, tmp_path: Path) -> None:
    losses = {}
    for name in ("32", "64", "bf16-mixed"):
        train(tiny, tmp_path / name, precision=name, dropout=0)
        losses[name] = float(metric_rows(tmp_path / name)[-1]["val_loss"])
    assert losses["64"] == pytest.approx(losses["32"], rel=1e-5)
    assert losses["64"] != losses["32"]
    assert losses["bf16-mixed"] == pytest.approx(losses["32"], rel=2e-2)


def test_tf32_is_off_in_a_training_and_back_after_it(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = True
    seen: set[bool] = set()
    step = CentreOfMassTask.training_step

    def watched(task: CentreOfMassTask, *given: Any) -> Any:
        seen.update(place.allow_tf32 for place in places)
        return step(task, *given)

    monkeypatch.setattr(CentreOfMassTask, "training_step", watched)
    try:
        assert train(tiny, tmp_path, max_epochs=1).code == 0
        assert seen == {False}
        assert all(place.allow_tf32 for place in places)
    finally:
        for place, allowed in zip(places, before, strict=True):
            place.allow_tf32 = allowed


def test_adam_in_float16_survives_units_without_gradient() -> None:
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float16))
    for eps, finite in ((Precision("32").adam_eps, False), (Precision("16").adam_eps, True)):
        optimizer = torch.optim.Adam([weight], lr=1e-3, eps=eps)
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        assert bool(weight.isfinite().all()) == finite
        weight.data.fill_(1)
