"""Losses of what is predicted next to the centre of mass."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from plumbline.training.optim.losses import covariance_loss, payload_loss

WEIGHT = 0.1
"""Of all these losses, compared with that of the centre of mass."""


def ellipsoid(*axes: float, seed: int = 0) -> Tensor:
    """``[3, 3]`` float64 covariance with these standard deviations along random directions."""
    turned = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.manual_seed(seed)))[0]
    return turned @ torch.diag(torch.tensor(axes, dtype=torch.float64).square()) @ turned.T


def samples(covariance: Tensor, number: int, seed: int = 1) -> Tensor:
    """Errors whose density falls off exponentially with their distance by ``covariance``."""
    rng = np.random.default_rng(seed)
    way = rng.normal(size=(number, 3))
    way *= rng.gamma(3.0, size=(number, 1)) / np.linalg.norm(way, axis=1, keepdims=True)
    return torch.from_numpy(way) @ torch.linalg.cholesky(covariance).T


class TestCovarianceLoss:
    def test_against_its_definition(self) -> None:
        rng = torch.manual_seed(2)
        factor = torch.randn(50, 3, 3, dtype=torch.float64, generator=rng)
        covariance = factor @ factor.mT + 0.01 * torch.eye(3)
        error = torch.randn(50, 3, dtype=torch.float64, generator=rng)
        radius = torch.rand(50, dtype=torch.float64, generator=rng) + 0.5
        scaled = covariance / radius[:, None, None] ** 2
        away = error / radius[:, None]
        m = (away[:, None] @ torch.linalg.inv(scaled) @ away[:, :, None])[:, 0, 0].sqrt()
        expected = WEIGHT * (m + 0.5 * torch.logdet(scaled)).mean()
        torch.testing.assert_close(covariance_loss(error, covariance, radius), expected, rtol=1e-10, atol=0)

    def test_by_hand(self) -> None:
        """Two units along an axis of standard deviation 4, in an object of radius 2."""
        covariance = torch.diag(torch.tensor([16.0, 1.0, 1.0]))[None]
        found = covariance_loss(torch.tensor([[2.0, 0.0, 0.0]]), covariance, torch.tensor([2.0]))
        assert found.item() == pytest.approx(WEIGHT * (0.5 + math.log(4 / 8)))

    def test_it_is_least_at_the_true_scatter(self) -> None:
        """It is what gradient descent finds from a ball, and any other size, shape or direction is worse."""
        true, radius = ellipsoid(0.3, 1.0, 2.5), torch.full((20_000,), 1.7, dtype=torch.float64)
        error = samples(true, 20_000)
        lower = torch.eye(3, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([lower], max_iter=200, line_search_fn="strong_wolfe")

        def loss(covariance: Tensor) -> Tensor:
            return covariance_loss(error, covariance.expand(len(error), 3, 3), radius)

        def closure() -> Tensor:
            optimizer.zero_grad()
            value = loss(lower @ lower.T)
            value.backward()
            return value

        optimizer.step(closure)
        found = (lower @ lower.T).detach()
        assert (found - true).norm() < 0.05 * true.norm()
        torch.testing.assert_close(found, true, rtol=0.1, atol=0.05)
        least = loss(true)
        for other in (1.2 * true, true / 1.2, ellipsoid(0.3, 1.0, 2.5, seed=5), ellipsoid(1.0, 1.0, 2.5),
                      torch.eye(3, dtype=torch.float64) * true.trace() / 3):  # fmt: skip
            assert loss(other) > least + 1e-4

    def test_the_unit_does_not_matter(self) -> None:
        true = ellipsoid(0.1, 0.2, 0.5)
        error, covariance = samples(true, 100), (1.3 * true).expand(100, 3, 3)
        radius = torch.linspace(1, 2, 100, dtype=torch.float64)
        one = covariance_loss(error, covariance, radius)
        millimetres = covariance_loss(1000 * error, 1e6 * covariance, 1000 * radius)
        torch.testing.assert_close(millimetres, one, rtol=1e-12, atol=0)
        assert (covariance_loss(error, covariance, 1000 * radius) - one).abs() > 0.1, "the control"

    def test_no_gradient_flows_into_the_error(self) -> None:
        error = torch.randn(4, 3, requires_grad=True)
        covariance = torch.eye(3).repeat(4, 1, 1).requires_grad_()
        covariance_loss(error, covariance, torch.ones(4)).backward()
        assert error.grad is None
        assert covariance.grad is not None
        assert covariance.grad.abs().max() > 0

    def test_an_error_of_zero_has_a_finite_gradient(self) -> None:
        covariance = torch.eye(3).repeat(2, 1, 1).requires_grad_()
        covariance_loss(torch.zeros(2, 3), covariance, torch.ones(2)).backward()
        assert covariance.grad is not None
        assert covariance.grad.isfinite().all()

    @pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
    @pytest.mark.parametrize("length", [1.0, 10.0, 300.0, 1000.0])
    def test_float32_is_enough_for_needles(self, length: float, scale: float) -> None:
        """A determinant by its formula would be negative, or too small for float32."""
        shape = torch.stack([ellipsoid(1.0, 1.0, length, seed=seed) for seed in range(40)]) * scale**2
        error = scale * samples(torch.eye(3, dtype=torch.float64), 40)
        one = torch.ones(40, dtype=torch.float64)
        rounded = shape.float().requires_grad_()
        found = covariance_loss(error.float(), rounded, one.float())
        found.backward()
        assert rounded.grad is not None
        assert rounded.grad.isfinite().all()
        assert found.item() == pytest.approx(covariance_loss(error, shape, one).item(), abs=1e-3)


class TestPayloadLoss:
    def test_by_hand(self) -> None:
        """Twice the volume; half the first inertia; the second is off by one of three times its size."""
        inertia = torch.stack([torch.eye(3), torch.diag(torch.tensor([4.0, 2.0, 2.0]))])
        true = torch.stack([2 * torch.eye(3), torch.diag(torch.tensor([1.0, 2.0, 2.0]))])
        log_volume = torch.tensor([6.0, 1.0]).log()
        found = payload_loss(log_volume, inertia, torch.tensor([3.0, 1.0]), true)
        assert found.item() == pytest.approx(WEIGHT * (math.log(2) / 2 + (0.5 + 3 / 3) / 2))
        assert (
            payload_loss(torch.tensor([3.0, 1.0]).log(), true, torch.tensor([3.0, 1.0]), true).item() < 1e-9
        )

    @pytest.mark.parametrize("unknown", [math.nan, 0.0])
    def test_unknown_labels_count_for_nothing(self, unknown: float) -> None:
        rng = torch.manual_seed(4)
        log_volume = torch.randn(4, generator=rng).requires_grad_()
        inertia = torch.randn(4, 3, 3, generator=rng).requires_grad_()
        volume, true = torch.rand(4, generator=rng) + 0.5, torch.randn(4, 3, 3, generator=rng)
        volume[[0, 1]], true[[1, 2]] = unknown, unknown
        found = payload_loss(log_volume, inertia, volume, true)
        found.backward()
        nothing = true[:0]
        expected = payload_loss(log_volume[2:], nothing, volume[2:], nothing)
        expected = expected + payload_loss(log_volume[:0], inertia[[0, 3]], volume[:0], true[[0, 3]])
        torch.testing.assert_close(found, expected)
        assert log_volume.grad is not None
        assert inertia.grad is not None
        assert (log_volume.grad != 0).tolist() == [False, False, True, True]
        assert (inertia.grad != 0).flatten(1).all(1).tolist() == [True, False, False, True]
        assert (inertia.grad == 0).flatten(1).all(1).tolist() == [False, True, True, False]
        assert log_volume.grad.isfinite().all()
        assert inertia.grad.isfinite().all()

    def test_a_batch_without_labels_has_no_loss_and_no_gradient(self) -> None:
        log_volume, inertia = torch.randn(3).requires_grad_(), torch.randn(3, 3, 3).requires_grad_()
        found = payload_loss(log_volume, inertia, torch.full((3,), math.nan), torch.full((3, 3, 3), math.nan))
        found.backward()
        assert found.item() == 0
        for part in (log_volume, inertia):
            assert part.grad is not None
            assert torch.equal(part.grad, torch.zeros_like(part))

    def test_the_unit_does_not_matter(self) -> None:
        rng = torch.manual_seed(4)
        log_volume, inertia = torch.randn(4, generator=rng), torch.randn(4, 3, 3, generator=rng)
        volume, true = torch.rand(4, generator=rng) + 0.5, torch.randn(4, 3, 3, generator=rng)
        one = payload_loss(log_volume, inertia, volume, true)
        other = payload_loss(log_volume + 3 * math.log(1000), 1e6 * inertia, 1e9 * volume, 1e6 * true)
        torch.testing.assert_close(one, other)

    def test_an_exact_prediction_has_a_finite_gradient(self) -> None:
        inertia = torch.eye(3).repeat(2, 1, 1).requires_grad_()
        log_volume = torch.zeros(2, requires_grad=True)
        payload_loss(log_volume, inertia, torch.ones(2), torch.eye(3).repeat(2, 1, 1)).backward()
        for part in (log_volume, inertia):
            assert part.grad is not None
            assert torch.equal(part.grad, torch.zeros_like(part))
