"""What ``ept`` predicts next to the centre of mass: how it moves with the scan, and what it can never be.

In float64, from raw points: features and graphs are recomputed on moved points. Letters: G scans.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from plumbline.data.batches.batch import Batch
from plumbline.data.batches.collate import make_batch
from plumbline.models import build_model
from plumbline.models.answer import Answer
from plumbline.models.ept import EPT
from plumbline.models.side_heads import OuterProducts, SideHeads
from plumbline.predictors.answers import Answers
from plumbline.predictors.inference import answers_for
from plumbline.records import FEATURE_NAMES, VECTOR_NAMES, Float, Scan
from plumbline.testing import Move, moves, scans, store_of
from tests.helpers.architectures import model_of

DATA = {"feature_names": FEATURE_NAMES, "vector_names": VECTOR_NAMES}
CLOSE, FAR = 1e-10, 1e-2
"""Relative to the size of a prediction: rounding, and a symmetry that is not there."""
SEEDS = range(6)

KINDS = {**moves(), "scale": Move(np.eye(3), 40.0, np.zeros(3))}


def build(**changes: object) -> EPT:
    """With all heads, weights of order one, float64; but widths so moderate that no ball hides the rest."""
    model = model_of("ept", DATA, payload=True, **changes)
    assert isinstance(model, EPT)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith(("side_heads.doubt_size.2", "side_heads.sizes.last")):
                weight.mul_(0.05)
    return model.eval()


def world(model: EPT, some: list[Scan], normalise: str) -> Answers:
    """Predictions for the raw scans, in their frames and units."""
    store = store_of(some, normalise)
    found = answers_for(model, store, np.arange(len(store)))
    return found.placed(
        np.array([sample.origin for sample in store.samples]),
        np.array([sample.scale for sample in store.samples]),
    )


def moved(found: Answers, move: Move) -> Answers:
    """The predictions that the same network must give for moved scans."""

    def turned(tensor: Float | None) -> Float:
        assert tensor is not None
        return move.scale**2 * move.rotation @ tensor @ move.rotation.T

    assert found.volume is not None
    assert found.expected_error is not None
    return Answers(
        com=move.points(found.com),
        expected_error=move.scale * found.expected_error,
        covariance=turned(found.covariance),
        volume=move.scale**3 * found.volume,
        inertia=turned(found.inertia),
        features=found.features,
    )


def gaps(found: Answers, wanted: Answers) -> dict[str, float]:
    """By prediction, the largest difference relative to the prediction's own size for that scan."""
    result = {}
    for name in ("expected_error", "covariance", "volume", "inertia", "features"):
        one, other = (getattr(answers, name).reshape(len(answers.com), -1) for answers in (found, wanted))
        off = np.linalg.norm(one - other, axis=1) / np.linalg.norm(other, axis=1)
        result[name] = float(off.max())
    return result


class TestSymmetry:
    @pytest.mark.parametrize("normalise", ["unit", "none"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_prediction_moves_with_the_raw_points(self, kind: str, normalise: str) -> None:
        model, move = build(), KINDS[kind]
        still = world(model, list(scans()), normalise)
        found = world(model, [move.scan(scan) for scan in scans()], normalise)
        off = gaps(found, moved(still, move))
        assert max(off.values()) < CLOSE, off

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_does_not_move_is_noticed(self, kind: str) -> None:
        """The control: without each part of the move, the predictions of the moved scans are far off."""
        model, move = build(), KINDS[kind]
        still = world(model, list(scans()), "unit")
        found = world(model, [move.scan(scan) for scan in scans()], "unit")
        turns = not np.allclose(move.rotation, np.eye(3))
        unturned = gaps(found, moved(still, replace(move, rotation=np.eye(3))))
        assert {name for name, off in unturned.items() if off > FAR} == (
            {"covariance", "inertia"} if turns else set()
        )
        backward = gaps(found, moved(still, replace(move, rotation=move.rotation.T)))
        assert (min(backward["covariance"], backward["inertia"]) > FAR) == turns
        unscaled = gaps(found, moved(still, replace(move, scale=1.0)))
        assert {name for name, off in unscaled.items() if off > FAR} == {
            "expected_error", "covariance", "volume", "inertia",
        }  # fmt: skip

    def test_the_predictions_differ_from_scan_to_scan(self) -> None:
        """A constant ball for every scan would move with it."""
        found = world(build(), list(scans()), "unit")
        for name in ("covariance", "inertia"):
            values = np.linalg.eigvalsh(getattr(found, name))
            assert (values[:, 2] / values[:, 0]).min() > 1.2, f"{name} has a direction"
        for name in ("covariance", "volume", "inertia", "features"):
            part = getattr(found, name).reshape(len(scans()), -1)
            assert (part.std(0) / np.abs(part).mean(0)).max() > 0.01, name

    def test_a_cross_product_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The control for mirrors: products with a vector that does not turn with them."""

        original = OuterProducts.forward

        def handed(self: OuterProducts, s: Tensor, v: Tensor) -> Tensor:
            pseudo = torch.linalg.cross(v[..., 0], v[..., 1], dim=2)
            return original(self, s, torch.cat([v[..., :-1] + 5 * pseudo[..., None], v[..., -1:]], -1))

        monkeypatch.setattr(OuterProducts, "forward", handed)
        model = build()
        still = world(model, list(scans()), "unit")
        for kind, seen in (("rotation", False), ("mirror", True)):
            off = gaps(
                world(model, [KINDS[kind].scan(scan) for scan in scans()], "unit"), moved(still, KINDS[kind])
            )
            assert (off["covariance"] > FAR) == seen
            assert (off["covariance"] < CLOSE) != seen


# ------------------------------------------------------------------------------ what a body cannot be


def random_model(seed: int, spread: float) -> EPT:
    """As training starts it, with all weights random, also those that start at zero, times ``spread``."""
    torch.manual_seed(seed)
    model = build_model("ept", **DATA, hidden_dim=16, num_layers=2, payload=True)
    assert isinstance(model, EPT)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(spread * torch.randn_like(weight) / max(weight.shape[-1], 1) ** 0.5)
    return model.eval()


def check_possible(answer: Answer) -> None:
    """Everything is finite; covariance and second moment are positive definite, also after rounding."""
    assert all(part.isfinite().all() for part in answer.parts)
    assert answer.covariance is not None
    assert answer.inertia is not None
    for tensor in (answer.covariance, answer.inertia):
        assert torch.equal(tensor, tensor.mT)
        assert tensor.dtype in (torch.float32, torch.float64)
    assert np.linalg.eigvalsh(answer.covariance.double().numpy()).min() > 0
    inertia = answer.inertia.double().numpy()
    principal = np.linalg.eigvalsh(inertia)
    assert principal.min() > 0
    assert (principal[:, 0] + principal[:, 1] > principal[:, 2]).all(), "of any body"
    trace = np.trace(inertia, axis1=1, axis2=2)
    assert np.linalg.eigvalsh(trace[:, None, None] / 2 * np.eye(3) - inertia).min() > 0


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    """The scans as they are, flat (in a plane), as one line, and from far below and above in size."""
    needs = EPT.needs
    flat = [replace(scan, points=scan.points * [1, 1, 0]) for scan in scans()]
    thin = [replace(scan, points=scan.points * [1, 0, 0]) for scan in scans()]
    small, large = (
        [Move(np.eye(3), scale, np.zeros(3)).scan(scan) for scan in scans()] for scale in (1e-3, 1e3)
    )
    return [
        make_batch(store_of(some, normalise, np.float32), np.arange(len(some)), needs)
        for some, normalise in (
            (scans(), "unit"),
            (flat, "unit"),
            (thin, "unit"),
            (small, "none"),
            (large, "none"),
        )
    ]


class TestPossible:
    @pytest.mark.parametrize("spread", [0.0, 0.3, 1.0, 2.0])
    def test_every_answer_is_possible(self, batches: list[Batch], spread: float) -> None:
        for seed in SEEDS:
            model = random_model(seed, spread)
            for batch in batches:
                with torch.inference_mode():
                    check_possible(model.answer(batch))

    @pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
    def test_also_in_bfloat16(self, batches: list[Batch], spread: float) -> None:
        for seed in SEEDS:
            model = random_model(seed, spread)
            for batch in batches[:3]:
                with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
                    check_possible(model.answer(batch))
            for batch in batches[:3]:
                with torch.inference_mode():
                    check_possible(model.bfloat16().answer(batch))

    def test_the_principal_moments_of_what_is_learnt_are_those_of_a_flat_plate_at_most(self) -> None:
        """With the smallest width, all mass lies where the outer products say: a plate, nothing beyond."""
        torch.manual_seed(0)
        heads = SideHeads(8, 4, payload=True).double()
        assert heads.sizes is not None
        with torch.no_grad():
            heads.sizes.last.bias[1] = -30.0
        s, pooled = torch.randn(5, 6, 8).double(), torch.randn(5, 8).double()
        v, pos = (
            torch.randn(5, 6, 3, size).double() * torch.tensor([1.0, 1.0, 0.0])[:, None] for size in (4, 1)
        )
        inertia = heads(s, v, pos[..., 0], pooled)[2]
        principal = torch.linalg.eigvalsh(inertia)
        torch.testing.assert_close(principal[:, 0] + principal[:, 1], principal[:, 2], rtol=1e-9, atol=0)


# ------------------------------------------------------------------------------------------ the rest of it


class TestTrunk:
    def test_a_seed_draws_the_same_other_weights_with_and_without_heads(self) -> None:
        drawn = []
        for heads in ({"covariance": False}, {"covariance": True}, {"payload": True}):
            torch.manual_seed(5)
            state = build_model("ept", **DATA, hidden_dim=16, num_layers=2, **heads).state_dict()
            after = torch.rand(3)
            drawn.append(
                ({k: v for k, v in state.items() if not k.startswith("side_heads.")}, after, len(state))
            )
        assert drawn[0][2] < drawn[1][2] < drawn[2][2]
        for weights, after, _ in drawn[1:]:
            assert weights.keys() == drawn[0][0].keys()
            assert all(torch.equal(value, drawn[0][0][name]) for name, value in weights.items())
            assert torch.equal(after, drawn[0][1]), "what is drawn next is the same, too"

    def test_no_gradient_of_the_heads_leaves_them(self) -> None:
        model = build().train()
        batch = make_batch(store_of(scans()), np.arange(8), model.needs)
        answer = model.answer(batch)
        others = [part.square().sum() for part in answer[2:5] if part is not None]
        assert len(others) == 3
        sum(others).backward()  # type: ignore[union-attr]
        own = {id(weight) for weight in model.side_parameters()}
        assert len(own) > 10
        for name, weight in model.named_parameters():
            assert (weight.grad is not None) == (id(weight) in own), name
            assert name.startswith("side_heads.") == (id(weight) in own), name
        assert answer.features is not None
        assert not answer.features.requires_grad

    def test_without_heads_there_is_nothing_of_them(self) -> None:
        model = build(covariance=False)
        batch = make_batch(store_of(scans()), np.arange(2), model.needs)
        answer = model.answer(batch)
        assert (answer.covariance, answer.log_volume, answer.inertia) == (None, None, None)
        assert model.side_parameters() == []
        assert answer.log_scale is not None
        assert answer.features is not None
        torch.testing.assert_close(answer.com, model(batch), rtol=0, atol=0)

    def test_the_inertia_is_about_the_predicted_centre(self) -> None:
        """Only the positions relative to it count: the second moment is the mean of their outer products."""
        heads = SideHeads(4, 2, payload=True).double()
        assert heads.moments is not None
        assert heads.sizes is not None
        with torch.no_grad():
            for weight in heads.parameters():
                weight.zero_()
            heads.moments.gate.bias[2] = 1.0
            heads.moments.mix.weight[0, 2] = 3.0
            heads.sizes.last.bias[:] = torch.tensor([0.7, 2.0])
        pos = torch.randn(2, 5, 3).double()
        _, log_volume, inertia = heads(torch.randn(2, 5, 4).double(), torch.randn(2, 5, 3, 2).double(), pos,
                                       torch.zeros(2, 4).double())  # fmt: skip
        second = 9 * pos.mT @ pos / 5 + torch.eye(3)
        trace = second.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
        torch.testing.assert_close(inertia, trace * torch.eye(3) - second)
        torch.testing.assert_close(log_volume, torch.tensor([0.7, 0.7]).double())
