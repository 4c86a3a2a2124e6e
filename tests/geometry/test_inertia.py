"""The inertia tensor of a solid: closed forms, laws, and a count of random points."""

import numpy as np
import pytest

from plumbline.geometry.meshes import make_solid_record
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.surfaces import winding_numbers
from tests.geometry.test_meshes import blob, cap, lathe, plane_box


def test_inertia_of_closed_forms():
    """Per unit mass: a box of sides a, b, c has (b^2 + c^2) / 12 about x, a ball 2/5 r^2."""
    box = make_solid_record("box", *plane_box((3, 4, 5), (4, 6, 8)))
    np.testing.assert_allclose(box.inertia, np.diag([13, 10, 5]) / 12, atol=1e-14)
    ball = make_solid_record("ball", *cap(np.pi))
    np.testing.assert_allclose(ball.inertia, 0.4 * np.eye(3), atol=1e-3)
    cone = make_solid_record("cone", *lathe([(0, 0), (1, 0), (0, 4)]))
    across = 3 / 20 + 3 / 80 * 16
    np.testing.assert_allclose(cone.inertia, np.diag([across, across, 0.3]), atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_inertia_turns_and_grows_with_the_body_and_a_shift_leaves_it(seed):
    rng = np.random.default_rng(seed)
    vertices, faces = blob(rng)
    before = make_solid_record("x", vertices, faces)
    turn = np.diag([-1, 1, 1]) @ random_rotation(rng)
    after = make_solid_record("x", 3 * vertices @ turn.T + rng.normal(size=3), faces)
    np.testing.assert_allclose(after.inertia, 9 * turn @ before.inertia @ turn.T, atol=1e-11)
    moments = np.linalg.eigvalsh(before.inertia)
    assert moments[2] < moments[0] + moments[1], "the triangle inequality of real bodies"


def test_inertia_agrees_with_a_count_of_random_points():
    vertices, faces = blob(np.random.default_rng(0))
    solid = make_solid_record("x", vertices, faces)
    points = np.random.default_rng(1).uniform(vertices.min(axis=0), vertices.max(axis=0), (40000, 3))
    inside = points[winding_numbers(points, solid.vertices, solid.faces) == 1] - solid.com
    second = inside.T @ inside / len(inside)
    np.testing.assert_allclose(solid.inertia, np.trace(second) * np.eye(3) - second, atol=0.02)
