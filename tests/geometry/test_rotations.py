"""Random rotations and directions are uniform, by tests that a plausible wrong sampler fails."""

import numpy as np
from scipy import stats

from plumbline.geometry.rotations import random_directions, random_rotation

NUM = 4000


def angle(rotations):
    return np.arccos(np.clip((np.trace(rotations, axis1=1, axis2=2) - 1) / 2, -1, 1))


def haar_p_values(rotations):
    """p of the two laws that fix Haar measure: of the angle, and of where a turned vector lands."""
    by_angle = stats.kstest(angle(rotations), lambda x: (x - np.sin(x)) / np.pi).pvalue
    landing = [
        stats.kstest(rotations[:, i, j], stats.uniform(-1, 2).cdf).pvalue for i in range(3) for j in range(3)
    ]
    return np.array([by_angle, *landing])


def uniform_angle_rotation(rng):
    """The well-known mistake: a uniform axis and a uniform angle."""
    axis = random_directions(rng, 1)[0]
    theta = rng.uniform(0, np.pi)
    cross = np.cross(np.eye(3), -axis)
    return np.eye(3) + np.sin(theta) * cross + (1 - np.cos(theta)) * cross @ cross


def test_random_rotation_is_haar_and_the_uniform_angle_sampler_is_not():
    rng = np.random.default_rng(0)
    ours = np.array([random_rotation(rng) for _ in range(NUM)])
    control = np.array([uniform_angle_rotation(rng) for _ in range(NUM)])
    assert haar_p_values(ours).min() > 1e-3
    assert haar_p_values(control).min() < 1e-12


def test_haar_measure_does_not_notice_a_fixed_turn():
    rng = np.random.default_rng(1)
    fixed = random_rotation(rng)
    turned = np.array([fixed @ random_rotation(rng) for _ in range(NUM)])
    assert haar_p_values(turned).min() > 1e-3


def test_rotation_moments():
    rng = np.random.default_rng(2)
    rotations = np.array([random_rotation(rng) for _ in range(NUM)])
    assert np.abs(rotations.mean(axis=0)).max() < 5 / np.sqrt(3 * NUM)
    assert np.abs((rotations**2).mean(axis=0) - 1 / 3).max() < 0.03


def test_random_rotation_is_a_proper_rotation():
    rng = np.random.default_rng(3)
    rotations = np.array([random_rotation(rng) for _ in range(200)])
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (200, 1, 1)), atol=1e-14
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-14)


def test_random_directions_are_uniform_on_the_sphere():
    directions = random_directions(np.random.default_rng(4), 5000)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-14)
    tilted = directions @ random_rotation(np.random.default_rng(5))
    for axis in (*directions.T, *tilted.T):
        assert stats.kstest(axis, stats.uniform(-1, 2).cdf).pvalue > 1e-3  # Archimedes: heights are uniform
    cube = np.random.default_rng(6).uniform(-1, 1, (5000, 3))
    cube /= np.linalg.norm(cube, axis=1, keepdims=True)
    assert stats.kstest(cube[:, 0], stats.uniform(-1, 2).cdf).pvalue < 1e-3


def test_draws_are_a_function_of_the_generator_alone():
    first, second = (random_rotation(np.random.default_rng(7)) for _ in range(2))
    assert (first == second).all()
    assert (
        random_directions(np.random.default_rng(7), 5) == random_directions(np.random.default_rng(7), 5)
    ).all()
    assert random_directions(np.random.default_rng(7), 0).shape == (0, 3)
