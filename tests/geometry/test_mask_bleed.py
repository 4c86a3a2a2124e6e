"""The rim of a mask that is too wide is left out; parts of the object behind others are not."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from plumbline.geometry.cleaning import object_points
from plumbline.geometry.depth_images import depth_to_cloud
from plumbline.geometry.intrinsics import Intrinsics
from plumbline.geometry.mask_bleed import without_bleed
from plumbline.geometry.rotations import random_rotation

CAMERA = Intrinsics(fx=300.0, fy=300.0, cx=79.5, cy=59.5)
SHAPE = (120, 160)


def rod() -> np.ndarray:
    """A rod, 8 pixels wide and 110 long."""
    return np.s_[56:64, 25:135]


@pytest.mark.parametrize("too_wide", [1, 2, 3])
@pytest.mark.parametrize("gap", [0.1, 0.5])
def test_the_wall_around_a_thin_object_is_left_out_however_many_pixels_it_has(too_wide, gap):
    """Two pixels on each side are more than a third of the mask."""
    depth = np.full(SHAPE, 0.6 + gap)
    depth[rod()] = 0.6
    object_ = depth == 0.6
    mask = binary_dilation(object_, np.ones((3, 3)), iterations=too_wide)
    cloud = depth_to_cloud(depth, CAMERA, mask)
    np.testing.assert_array_equal(cloud.on_object, object_[mask])


def test_missing_pixels_and_noise_do_not_hide_the_rim():
    rng = np.random.default_rng(0)
    depth = np.full(SHAPE, 1.0)
    depth[rod()] = 0.6
    object_ = depth == 0.6
    depth += 5e-4 * rng.standard_normal(SHAPE)
    depth[rng.random(SHAPE) < 0.1] = 0
    mask = binary_dilation(object_, iterations=3)
    kept = depth_to_cloud(depth, CAMERA, mask).on_object
    np.testing.assert_array_equal(kept, object_[mask & (depth > 0)])


@pytest.mark.parametrize("near", [np.s_[60:100, 40:120], np.s_[40:50, 60:100]], ids=["wall", "handle"])
def test_parts_of_an_object_are_kept(near):
    """The far wall of a vessel is next to the near one with its lowest pixels only; a handle is in front."""
    depth = np.full(SHAPE, 2.0)
    depth[30:60, 40:120] = 0.8
    depth[near] = 0.6
    cloud = depth_to_cloud(depth, CAMERA, depth < 1)
    assert cloud.on_object.all()


def test_specks_before_a_far_wall_do_not_make_it_bleed():
    """Flying pixels, each in front of a few pixels of the wall."""
    depth = np.full(SHAPE, 2.0)
    depth[10:60, 40:120] = 0.8
    depth[12:60:4, 40:120:4] = 0.7
    depth[60:110, 40:120] = 0.6
    cloud = depth_to_cloud(depth, CAMERA, depth < 1)
    assert cloud.on_object[cloud.points[:, 2] == 0.8].all()


def test_something_remains_if_each_component_seems_to_be_behind_the_other():
    reach = np.array([3.0, 3, 3, 3, 1, 2, 2, 2, 2, 2])
    angle = 0.01 * np.arange(10)
    away = reach[:, None] * np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1)
    component, large = np.repeat([0, 1], 5), np.ones(2, bool)
    assert without_bleed(away, component, large, pixel=1.0).all()
    away[4] *= 4  # now only the first one is behind
    np.testing.assert_array_equal(without_bleed(away, component, large, pixel=1.0), [False, True])
    np.testing.assert_array_equal(without_bleed(away, component, large, pixel=0.01), [True, True])


def test_a_cloud_is_cleaned_as_its_image_is_and_moves_with_its_sensor():
    rng = np.random.default_rng(1)
    depth = np.full(SHAPE, 1.0)
    depth[rod()] = 0.6
    depth += 5e-4 * rng.standard_normal(SHAPE)
    mask = binary_dilation(depth < 0.8, iterations=2)
    points = depth_to_cloud(depth, CAMERA, mask).points
    view = np.zeros(len(points), np.int64)

    def kept(turn: np.ndarray, shift: np.ndarray, factor: float, sensor: np.ndarray) -> np.ndarray:
        moved, place = (factor * (some @ turn.T + shift) for some in (points, sensor))
        return object_points(moved, np.broadcast_to(place, points.shape), view)

    still = np.eye(3), np.zeros(3), 1.0
    np.testing.assert_array_equal(kept(*still, np.zeros(3)), depth[mask] < 0.8)
    assert kept(*still, np.array([0, 0, 1.6])).all(), "seen from behind, the rod is behind"
    for factor in (1e-3, 1.0, 1e3):
        turn = random_rotation(rng) @ np.diag([1, -1, 1])
        found = kept(turn, rng.normal(size=3), factor, np.zeros(3))
        np.testing.assert_array_equal(found, depth[mask] < 0.8)
