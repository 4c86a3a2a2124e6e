"""Cameras found from scans, and reference meshes in the place of scanned objects."""

import numpy as np
import pytest

from plumbline.errors import InputError
from plumbline.geometry.cameras import find_cameras, pixel_rays
from plumbline.geometry.placed_mesh import PlacedMesh, surface_samples
from tests.helpers.preparing import BOX_FACES
from tests.helpers.real_set import COLUMNS, CORNERS, FOCAL, ROWS, K, Shot, turned

SHOT = Shot((0.1, 0.08, 0.06))
POINTS, MASK = SHOT.seen()


def placed(shot: Shot = SHOT) -> PlacedMesh:
    return PlacedMesh(CORNERS * shot.size, np.array(BOX_FACES), shot.pose)


class TestCameras:
    def test_a_matrix_is_taken_as_it_is(self):
        (camera,) = find_cameras(POINTS, np.zeros(3), matrix=K)
        assert camera.intrinsics == (FOCAL, FOCAL, COLUMNS / 2, ROWS / 2)
        np.testing.assert_array_equal(camera.axes, np.eye(3))

    def test_the_matrix_follows_from_the_mask_of_the_points(self):
        (camera,) = find_cameras(POINTS, np.zeros(3), mask=MASK)
        assert camera.intrinsics == pytest.approx((FOCAL, FOCAL, COLUMNS / 2, ROWS / 2), abs=1e-8)

    def test_points_in_another_order_than_the_mask_are_refused(self):
        order = np.random.default_rng(0).permutation(len(POINTS))
        with pytest.raises(InputError, match="not those of the mask"):
            find_cameras(POINTS[order], np.zeros(3), mask=MASK)

    def test_pixels_are_as_fine_as_the_directions_of_the_points(self):
        """From two places, in any frame."""
        turn = turned(1.0, 2.0)
        points = np.concatenate([POINTS @ turn.T + (1, 2, 3), POINTS @ turn.T + (4, 5, 6)])
        sensor = np.repeat([[1.0, 2, 3], [4, 5, 6]], len(POINTS), axis=0)
        cameras = find_cameras(points, sensor)
        assert [camera.position.tolist() for camera in cameras] == [[1, 2, 3], [4, 5, 6]]
        for camera in cameras:
            assert camera.intrinsics.fx == pytest.approx(FOCAL, rel=0.05)
            np.testing.assert_allclose(camera.axes @ camera.axes.T, np.eye(3), atol=1e-12)
            assert np.linalg.det(camera.axes) == pytest.approx(1)
            mine = points[(sensor == camera.position).all(axis=1)]
            away = mine - camera.position
            away /= np.linalg.norm(away, axis=1, keepdims=True)
            rays = pixel_rays(camera, mine)
            gap = np.linalg.norm(away[:, None] - rays, axis=2).min(axis=1)
            assert gap.max() <= 0.8 / FOCAL, "every point is in the direction of a pixel"

    def test_a_mesh_behind_the_camera_is_refused(self):
        (camera,) = find_cameras(POINTS, np.zeros(3), matrix=K)
        with pytest.raises(InputError, match="not in front of the sensor"):
            pixel_rays(camera, -POINTS)

    def test_a_mesh_that_fills_more_than_any_image_is_refused(self):
        (camera,) = find_cameras(POINTS, np.zeros(3), matrix=np.diag([1e6, 1e6, 1]))
        with pytest.raises(InputError, match="more than 16,000,000 pixels"):
            pixel_rays(camera, POINTS)


class TestMesh:
    def test_is_seen_as_the_slab_method_says(self):
        points, sensor = placed().seen_by(find_cameras(POINTS, np.zeros(3), matrix=K))
        np.testing.assert_allclose(points, POINTS, atol=1e-9)
        np.testing.assert_array_equal(sensor, np.zeros_like(points))

    def test_near_is_the_distance_from_the_surface(self):
        rng = np.random.default_rng(0)
        half = np.array(SHOT.size) / 2
        own = rng.uniform(-2.5, 2.5, (4000, 3)) * half
        out = np.abs(own) - half
        distance = np.where(
            (out > 0).any(axis=1), np.linalg.norm(np.maximum(out, 0), axis=1), -out.max(axis=1)
        )
        near = placed().near(own @ SHOT.pose[:3, :3].T + SHOT.com, 0.012)
        clear = np.abs(distance - 0.012) > 1.2e-4
        np.testing.assert_array_equal(near[clear], distance[clear] < 0.012)
        assert 0.05 < near.mean() < 0.5

    def test_samples_are_as_dense_as_stated_also_on_slivers(self):
        rng = np.random.default_rng(1)
        corners = np.array([[0, 0, 0], [1, 0, 0], [0.1, 0.004, 0], [0, 0, 1], [0.3, 0.9, 1], [1, 0.1, 1.0]])
        faces = np.array([[0, 1, 2], [3, 4, 5], [0, 0, 1]])
        samples = surface_samples(corners, faces, 0.05)
        assert len(samples) < 1000
        weights = rng.dirichlet(np.ones(3), 3000)
        for face in faces:
            on = weights @ corners[face]
            gap = np.linalg.norm(on[:, None] - samples, axis=2).min(axis=1)
            assert gap.max() <= 1.2 * 0.05
