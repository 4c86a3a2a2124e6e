"""The rim of a mask that is too wide is left out; parts of the object behind others are not."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from plumbline.geometry.depth_images import depth_to_cloud
from plumbline.geometry.intrinsics import Intrinsics
from plumbline.geometry.mask_bleed import without_bleed

CAMERA = Intrinsics(fx=300.0, fy=300.0, cx=79.5, cy=59.5)
SHAPE = (120, 160)


def rod() -> np.ndarray:
    """A rod, 8 pixels wide and 110 long."""
    return np.s_[56:64, 25:135]


@pytest.mark.parametrize("too_wide", [1, 2, 4, 8])
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


def test_a_wide_part_behind_another_is_kept():
    """The far wall of a vessel is seen over the near one; only its lowest pixels are next to it."""
    depth = np.full(SHAPE, 2.0)
    depth[30:60, 40:120] = 0.8  # the far wall
    depth[60:100, 40:120] = 0.6
    cloud = depth_to_cloud(depth, CAMERA, depth < 1)
    assert cloud.on_object.all()


def test_a_thin_part_in_front_is_kept():
    """A handle, nearer than the body, is a part of its own and next to it everywhere."""
    depth = np.full(SHAPE, 2.0)
    depth[30:60, 40:120] = 0.8
    depth[40:50, 60:100] = 0.6
    cloud = depth_to_cloud(depth, CAMERA, depth < 1)
    assert cloud.on_object.all()


def test_something_remains_if_each_part_seems_to_be_behind_the_other():
    depth = np.array([3.0, 3, 3, 3, 1, 2, 2, 2, 2, 2])
    component = np.repeat([0, 1], 5)
    large = np.ones(2, bool)
    assert without_bleed(depth, np.zeros(10, int), np.arange(10), component, large).all()


def test_components_that_are_not_large_are_ignored():
    """The middle one is near to four fifths of the last one."""
    depth, component = np.repeat([1.0, 1.5, 2.0], [10, 5, 10]), np.repeat([0, 1, 2], [10, 5, 10])
    for large in ([True, False, True], [True, True, True]):
        found = without_bleed(depth, np.zeros(25, int), np.arange(25), component, np.array(large))
        assert found[2] == (not large[1])
        assert not found[1] or large[1]
