"""What lifts tell of a payload: against the theory of the filter, and against weights that are known."""

from dataclasses import replace

import numpy as np
import pytest

from plumbline.errors import InputError
from plumbline.geometry.rotations import random_rotation
from plumbline.payload.lift import update, weigh
from plumbline.payload.record import Payload
from tests.helpers.bodies import masses_of, payload_of

G = 9.81
ERROR = np.diag([0.1, 0.1, 0.1, 0.004, 0.004, 0.004]) ** 2


def skew(v: np.ndarray) -> np.ndarray:
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


def directions(number: int, seed: int = 1) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(number, 3))
    return G * found / np.linalg.norm(found, axis=1, keepdims=True)


def weight(points: np.ndarray, masses: np.ndarray, gravity: np.ndarray) -> np.ndarray:
    """The wrench about the origin, summed over the masses."""
    forces = masses[:, None] * gravity
    return np.concatenate([forces.sum(axis=0), np.cross(points, forces).sum(axis=0)])


def guess(truth: Payload, seed: int = 3, **changed: object) -> Payload:
    """A payload as a scan gives it: the mass is right, the centre off."""
    spread = random_rotation(np.random.default_rng(seed)) @ np.diag([0.05, 0.01, 0.01])
    off = spread @ np.random.default_rng(seed + 1).normal(size=3)
    return replace(truth, com=truth.com + off, covariance=spread @ spread.T, **changed)


def test_with_a_known_mass_the_update_is_the_filter_of_the_textbook():
    """One reading after the other, by Kalman's gain; the program does all at once, by information."""
    points, masses = masses_of(0)
    truth = payload_of(points, masses)
    prior, down = guess(truth), directions(3)
    rng = np.random.default_rng(8)
    readings = np.array([weight(points, masses, g) for g in down]) + rng.normal(size=(3, 6)) * np.sqrt(
        np.diag(ERROR)
    )
    com, covariance = prior.com.copy(), prior.covariance.copy()
    for reading, g in zip(readings, down, strict=True):
        slope = -truth.mass * skew(g)
        gain = covariance @ slope.T @ np.linalg.inv(slope @ covariance @ slope.T + ERROR[3:, 3:])
        com = com + gain @ (reading[3:] - slope @ com)
        covariance = covariance - gain @ slope @ covariance
    found = update(prior, readings, down, ERROR)
    np.testing.assert_allclose(found.com, com, atol=1e-10)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-12)
    assert found.mass == truth.mass
    step = update(update(prior, readings[0], down[0], ERROR), readings[1:], down[1:], ERROR)
    np.testing.assert_allclose(step.com, found.com, atol=1e-10)


def test_one_pose_leaves_the_direction_of_gravity_and_two_leave_nothing():
    """As the errors of the sensor vanish, so does the covariance, but for what gravity cannot tell."""
    points, masses = masses_of(1)
    truth = payload_of(points, masses)
    prior, down = guess(truth), directions(2)
    readings = [weight(points, masses, g) for g in down]
    exact = 1e-12 * np.eye(6)
    one = update(prior, readings[0], down[0], exact)
    along = down[0] / G
    remaining = 1 / (along @ np.linalg.inv(prior.covariance) @ along)
    np.testing.assert_allclose(one.covariance, remaining * np.outer(along, along), rtol=1e-3, atol=1e-8)
    np.testing.assert_allclose(np.cross(one.com - truth.com, along), 0, atol=1e-6)
    assert np.linalg.norm(one.com - truth.com) > 1e-3, "the control: along gravity the scan must tell"
    two = update(prior, readings, down, exact)
    np.testing.assert_allclose(two.com, truth.com, atol=1e-6)
    assert np.abs(two.covariance).max() < 1e-9


def test_an_unknown_mass_is_weighed_with_the_centre():
    points, masses = masses_of(2)
    truth = payload_of(points, masses)
    down = directions(2)
    readings = [weight(points, masses, g) for g in down]
    prior = guess(truth, mass=weigh(readings, down), mass_error=np.inf)
    assert prior.mass == pytest.approx(truth.mass, rel=1e-12)
    wrong = replace(prior, mass=0.7 * truth.mass)
    for start in (prior, wrong):
        found = update(start, readings, down, 1e-14 * np.eye(6))
        assert found.mass == pytest.approx(truth.mass, rel=1e-7)
        np.testing.assert_allclose(found.com, truth.com, atol=1e-6)
        np.testing.assert_allclose(found.inertia, truth.inertia * truth.mass / start.mass, rtol=1e-6)
        assert 0 < found.mass_error < 1e-6
    same = update(wrong, readings, down, ERROR)
    np.testing.assert_allclose(same.com, update(prior, readings, down, ERROR).com, atol=1e-9)


def test_the_errors_are_as_large_as_the_covariance_says():
    """400 lifts of a body whose prior error is drawn from its covariance: the squared distances are chi2."""
    points, masses = masses_of(3)
    truth = payload_of(points, masses)
    down, rng = directions(2, 5), np.random.default_rng(6)
    exact = np.array([weight(points, masses, g) for g in down])
    spread = np.diag([0.05, 0.01, 0.02])
    squares = []
    for _ in range(400):
        prior = replace(
            truth, com=truth.com + spread @ rng.normal(size=3), covariance=spread @ spread, mass_error=0.5
        )
        prior = replace(prior, mass=truth.mass + 0.5 * rng.normal())
        noisy = exact + rng.normal(size=exact.shape) * np.sqrt(np.diag(ERROR))
        found = update(prior, noisy, down, ERROR)
        off = found.com - truth.com
        squares.append(off @ np.linalg.inv(found.covariance) @ off)
    assert np.mean(squares) == pytest.approx(3, abs=0.45)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"wrench": [1, 2, 3]}, r"wrench is \[6\]"),
        ({"gravity": [[0, 0, 9.81]] * 2}, r"one for each reading, not \[6\] and \[2, 3\]"),
        ({"gravity": [0, 0, 0]}, "gravity is 0"),
        ({"wrench": [np.nan] * 6}, "not finite"),
        ({"covariance": np.eye(3)}, r"the covariance of a reading is \[6, 6\]"),
        ({"covariance": np.zeros((6, 6))}, "positive definite"),
        ({"gravity": [0, 0, -9.81]}, "both pointing down"),
    ],
)
def test_readings_that_cannot_be_used_are_refused(changed, said):
    given = {"wrench": [0, 0, 9.81, 0, 0, 0], "gravity": [0, 0, 9.81], "covariance": ERROR} | changed
    prior = Payload(0.1, np.zeros(3), covariance=np.eye(3), mass_error=np.inf)
    with pytest.raises(InputError, match=said):
        update(prior, **given)


def test_a_payload_without_a_covariance_is_refused():
    with pytest.raises(InputError, match="no covariance to start from"):
        update(Payload(1.0, np.zeros(3)), [0, 0, 9.81, 0, 0, 0], [0, 0, 9.81], ERROR)
    with pytest.raises(InputError, match="both pointing down"):
        weigh([0, 0, -9.81, 0, 0, 0], [0, 0, 9.81])
