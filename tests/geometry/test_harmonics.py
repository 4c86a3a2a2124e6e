"""Spherical harmonics against e3nn, and as functions on the sphere."""

import numpy as np
import pytest

from plumbline.errors import InputError
from plumbline.geometry.harmonics import spherical_harmonics
from plumbline.geometry.rotations import random_rotation


def vectors(num=500):
    special = [[0, 0, 0], [1e-13, 0, 0], [0, 1, 0], [0, -2, 0], [1, 0, 0], [0, 0, 1e-6], [1e8, 1, 0]]
    return np.concatenate([np.array(special, float), np.random.default_rng(0).standard_normal((num, 3))])


@pytest.mark.parametrize("degree", range(9))
def test_equals_e3nn(degree):
    o3 = pytest.importorskip("e3nn.o3")
    torch = pytest.importorskip("torch")
    degrees = list(range(degree + 1))
    expected = o3.spherical_harmonics(
        degrees, torch.tensor(vectors()), normalize=True, normalization="component"
    )
    np.testing.assert_allclose(spherical_harmonics(vectors(), degree), expected.numpy(), atol=1e-10)


@pytest.mark.parametrize("mirror", [1, -1])
def test_a_rotation_mixes_each_degree_within_itself(mirror):
    rng = np.random.default_rng(1)
    directions, rotation = rng.standard_normal((200, 3)), mirror * random_rotation(rng)
    still, turned = (spherical_harmonics(v, 5) for v in (directions, directions @ rotation.T))
    for degree in range(6):
        block = slice(degree**2, (degree + 1) ** 2)
        wigner, *_ = np.linalg.lstsq(still[:, block], turned[:, block], rcond=None)
        np.testing.assert_allclose(still[:, block] @ wigner, turned[:, block], atol=1e-10)
        np.testing.assert_allclose(wigner @ wigner.T, np.eye(2 * degree + 1), atol=1e-10)


def test_parity_norm_and_first_degree():
    directions = np.random.default_rng(2).standard_normal((100, 3))
    values, opposite = spherical_harmonics(directions, 6), spherical_harmonics(-directions, 6)
    for degree in range(7):
        block = slice(degree**2, (degree + 1) ** 2)
        np.testing.assert_allclose(opposite[:, block], (-1) ** degree * values[:, block], atol=1e-12)
        np.testing.assert_allclose((values[:, block] ** 2).sum(1), 2 * degree + 1, rtol=1e-12)
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    np.testing.assert_allclose(values[:, 1:4], np.sqrt(3) * unit, atol=1e-14)


def test_orthonormal_over_the_sphere():
    """Gauss-Legendre in y and equal steps around it integrate products of degree 8 exactly."""
    height, weight = np.polynomial.legendre.leggauss(12)
    angle = 2 * np.pi * np.arange(24) / 24
    y, phi = (part.ravel() for part in np.meshgrid(height, angle, indexing="ij"))
    ring = np.sqrt(1 - y * y)
    values = spherical_harmonics(np.stack([ring * np.sin(phi), y, ring * np.cos(phi)], axis=1), 4)
    gram = values.T @ (values * np.repeat(weight, 24)[:, None]) / 48
    np.testing.assert_allclose(gram, np.eye(25), atol=1e-12)


def test_negative_degree_is_refused():
    with pytest.raises(InputError, match="degree -1"):
        spherical_harmonics(np.ones((1, 3)), -1)
