"""Convex hulls, and what is left of them where no sensor saw empty space."""

import numpy as np
import pytest
import trimesh

from plumbline.geometry.carving import carve, convex_hull
from plumbline.geometry.raycast import Caster
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.solids import make_solid
from tests.helpers.scans import scan_of

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)


def look(solid: trimesh.Trimesh, stations, num=4000, spread=0.35):
    """First hits of a cone of rays from each station towards the centre of the box about the solid."""
    caster = Caster(np.array(solid.vertices), np.array(solid.faces))
    points, sensor, view = [], [], []
    for number, station in enumerate(np.asarray(stations, float)):
        axis = solid.bounds.mean(axis=0) - station
        axis /= np.linalg.norm(axis)
        ring = np.sqrt((np.arange(num) + 0.5) / num) * np.tan(spread)
        turn = np.arange(num) * np.pi * (3 - np.sqrt(5))
        side = np.linalg.svd(axis[None])[2][1:]
        rays = axis + ring[:, None] * (np.cos(turn)[:, None] * side[0] + np.sin(turn)[:, None] * side[1])
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        away, face = caster.first_hits(np.tile(station, (num, 1)), rays)
        hit = face >= 0
        points.append(station + away[hit, None] * rays[hit])
        sensor.append(np.tile(station, (hit.sum(), 1)))
        view.append(np.full(hit.sum(), number))
    return np.concatenate(points), np.concatenate(sensor), np.concatenate(view)


def block(low, high):
    low, high = np.asarray(low, float), np.asarray(high, float)
    return trimesh.creation.box(
        extents=high - low, transform=trimesh.transformations.translation_matrix((low + high) / 2)
    )


# ---------------------------------------------------------------------------------------------- the hull


def test_the_hull_of_a_pyramid():
    pyramid = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.2, 0.3, 2.0], [0.4, 0.4, 0.4]]) + 7
    hull = convex_hull(pyramid)
    np.testing.assert_allclose(hull.centre, 0.75 * np.array([7.5, 7.5, 7]) + 0.25 * pyramid[4], atol=1e-13)
    assert hull.volume == pytest.approx(2 / 3, rel=1e-12)
    room = hull.offsets - pyramid @ hull.normals.T
    assert room.min() > -1e-12
    np.testing.assert_allclose(np.sort(room, axis=1)[:5, :3], 0, atol=1e-12)
    assert room[5].min() > 0.1


@pytest.mark.parametrize("index", range(6))
def test_the_hull_of_a_solid_is_that_of_trimesh(index):
    solid = make_solid(3, index)
    hull, expected = convex_hull(solid.vertices), trimesh.convex.convex_hull(solid.vertices)
    np.testing.assert_allclose(hull.centre, expected.center_mass, atol=1e-9 * solid.bounding_radius)
    assert hull.volume == pytest.approx(expected.volume, rel=1e-9)
    np.testing.assert_allclose(
        hull.inertia, expected.moment_inertia / expected.volume, atol=1e-9 * solid.bounding_radius**2
    )


@pytest.mark.parametrize("far", [0.0, 1e3])
@pytest.mark.parametrize(
    "points", [CORNERS[:3], CORNERS[:4], np.outer(np.arange(9.0), [1, 2, 3]), np.ones((20, 3))]
)
def test_points_that_span_no_volume_have_no_hull(points, far):
    assert convex_hull(points + far) is None


# ------------------------------------------------------------------------------------------ the carved hull


def test_a_notch_that_the_sensor_looks_into_is_carved_out():
    """An L seen from the side of its notch: the hull fills the notch, the carved space does not."""
    shape = trimesh.boolean.union([block([0, 0, 0], [2, 1, 0.6]), block([0, 0, 0.6], [0.6, 1, 2])])
    points, sensor, view = look(shape, [[7, 0.5, 7], [0.5, 8, 5], [0.5, -7, 5]])
    hull = convex_hull(points)
    centre = carve(points, sensor, view, hull).centre
    truth = shape.center_mass
    assert np.linalg.norm(centre - truth) < 0.35 * np.linalg.norm(hull.centre - truth)
    assert (centre - hull.centre) @ (truth - hull.centre) > 0


def test_volume_and_inertia_of_what_is_left_come_near_the_truth():
    """The L, without the part of the hull that fills its notch."""
    shape = trimesh.boolean.union([block([0, 0, 0], [2, 1, 0.6]), block([0, 0, 0.6], [0.6, 1, 2])])
    stations = [[7, 0.5, 7], [0.5, 8, 5], [0.5, -7, 5], [1, 0.5, -9], [-9, 0.5, 1]]
    points, sensor, view = look(shape, stations)
    hull = convex_hull(points)
    carved = carve(points, sensor, view, hull)
    truth = shape.moment_inertia / shape.volume
    assert hull.volume > 1.4 * shape.volume
    assert carved.volume == pytest.approx(shape.volume, rel=0.05)
    np.testing.assert_allclose(carved.inertia, truth, atol=0.015 * np.linalg.norm(truth))
    assert np.linalg.norm(hull.inertia - truth) > 0.1 * np.linalg.norm(truth)


def test_where_a_view_saw_nothing_at_all_is_empty():
    """An L seen square from the front and from behind: rays through its notch hit nothing."""
    shape = trimesh.boolean.union([block([0, 0, 0], [2, 1, 0.6]), block([0, 0, 0.6], [0.6, 1, 2])])
    points, sensor, view = look(shape, [[1, -9, 1], [1, 10, 1]])
    hull = convex_hull(points)
    centre = carve(points, sensor, view, hull).centre
    truth = shape.center_mass
    assert np.linalg.norm(centre - truth) < 0.25 * np.linalg.norm(hull.centre - truth)


def test_of_a_half_seen_box_the_unseen_side_stays():
    """From one side the hull is a sheet; nothing behind it was seen empty, so nothing behind it goes."""
    points, sensor, view = look(block([-1, -1, -1], [1, 1, 1]), [[4, 3, 5]])
    hull = convex_hull(points)
    carved = carve(points, sensor, view, hull)
    away = np.array([4.0, 3, 5])
    mean = points.mean(axis=0)
    assert (mean - hull.centre) @ away > 0.05
    assert (mean - carved.centre) @ away > 0.05
    assert np.linalg.norm(carved.centre - hull.centre) < 0.05


def test_a_view_that_sees_free_space_removes_it():
    """Two posts: from the front they hide what is between them, from above a sensor looks through."""
    posts = trimesh.util.concatenate([block([-2, -1, 0], [-1, 1, 1]), block([1, -1, 0], [2, 1, 3])])
    front, above = [[0, 9, 1.5]], [[0, 0.0, 12]]
    one = look(posts, front)
    both = look(posts, front + above)
    hull = convex_hull(both[0])
    before = carve(*one, convex_hull(one[0])).centre
    after = carve(*both, hull).centre
    truth = posts.center_mass
    assert np.linalg.norm(after - truth) < np.linalg.norm(before - truth)
    assert np.linalg.norm(after - truth) < 0.5 * np.linalg.norm(hull.centre - truth)


def test_where_nothing_is_left_the_centre_is_the_hulls():
    """A sensor in the middle of a sphere sees that the space before it is empty."""
    points = 5 * np.array(trimesh.creation.icosphere(subdivisions=3).vertices)
    hull = convex_hull(0.5 * points + [0.3, 0.2, 0.1])
    carved = carve(points, np.full_like(points, 0.01), np.zeros(len(points), int), hull)
    np.testing.assert_array_equal(carved.centre, hull.centre)
    assert carved.volume == hull.volume
    np.testing.assert_array_equal(carved.inertia, hull.inertia)


# ---------------------------------------------------------------------------------------------------- depth


def test_the_depth_of_a_convex_body_seen_once_is_the_chord_of_its_hull():
    points, sensor, view = look(trimesh.creation.icosphere(subdivisions=4), [[0.3, 0.2, 4]], num=900)
    hull = convex_hull(points)
    depth = carve(points, sensor, view, hull).depth
    shell = trimesh.convex.convex_hull(points)
    rays = (points - sensor) / np.linalg.norm(points - sensor, axis=1, keepdims=True)
    start = sensor + (np.linalg.norm(points - sensor, axis=1) - 0.5)[:, None] * rays
    place, ray, _ = shell.ray.intersects_location(start, rays, multiple_hits=True)
    last = np.zeros(len(points))
    np.maximum.at(last, ray, np.linalg.norm(place - start[ray], axis=1))
    np.testing.assert_allclose(depth, np.maximum(last - 0.5, 0), atol=1e-5)
    assert depth.max() > 0.4


def test_a_second_view_takes_from_the_depth_what_it_saw_empty():
    """A thin plate in front of a post: the hull is deep behind the plate, and the side view saw it empty."""
    shape = trimesh.util.concatenate(
        [block([0, -1, -1], [0.1, 1, 1]), block([-2, -0.2, -0.2], [0, 0.2, 0.2])]
    )
    stations = [[8, 0, 0.5], [-1, 0, 9]]
    points, sensor, view = look(shape, stations)
    hull = convex_hull(points)
    front = (view == 0) & (points[:, 0] > 0.099) & (np.abs(points[:, 1]) > 0.6)
    one = carve(points, sensor, np.zeros(len(points), int), hull)
    both = carve(points, sensor, view, hull).depth[front]
    hidden = carve(points[view == 0], sensor[view == 0], view[view == 0], hull).depth
    assert one.depth.shape == view.shape
    assert both.mean() < 0.7 * hidden[front[view == 0]].mean()
    assert (both <= hidden[front[view == 0]] + 1e-12).all()


# ------------------------------------------------------------------------------------------------- symmetry


def scan(index, views, noise):
    solid = make_solid(5, index)
    seen = scan_of(solid, index, views=views, points=200, noise=noise, pattern="lidar")
    return seen.points / solid.bounding_radius, seen.sensor / solid.bounding_radius, seen.view


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("index", range(8))
@pytest.mark.parametrize("mirror", [1, -1])
def test_centre_and_depth_move_with_the_points(index, noise, mirror):
    points, sensor, view = scan(index, 1 + index % 3, noise)
    rng = np.random.default_rng(index)
    turn, shift, size = mirror * random_rotation(rng), rng.standard_normal(3), 3.0
    hull = convex_hull(points)
    still = carve(points, sensor, view, hull)
    there, station = size * points @ turn.T + shift, size * sensor @ turn.T + shift
    moved_hull = convex_hull(there)
    moved = carve(there, station, view, moved_hull)
    assert moved_hull.volume == pytest.approx(size**3 * hull.volume, rel=1e-10)
    np.testing.assert_allclose(moved_hull.centre, size * turn @ hull.centre + shift, atol=1e-10)
    np.testing.assert_allclose(moved.centre, size * turn @ still.centre + shift, atol=1e-10)
    np.testing.assert_allclose(moved.depth, size * still.depth, atol=1e-10)
    assert moved.volume == pytest.approx(size**3 * still.volume, rel=1e-10)
    for before, after in ((hull.inertia, moved_hull.inertia), (still.inertia, moved.inertia)):
        np.testing.assert_allclose(after, size**2 * turn @ before @ turn.T, atol=1e-10)


@pytest.mark.parametrize("index", range(4))
def test_the_order_of_points_and_the_numbers_of_views_do_not_matter(index):
    points, sensor, view = scan(index, 3, 0.01)
    order = np.random.default_rng(index).permutation(len(points))
    still = carve(points, sensor, view, convex_hull(points))
    renamed = np.array([7, -2, 4])[view]
    mixed = carve(points[order], sensor[order], renamed[order], convex_hull(points[order]))
    np.testing.assert_allclose(mixed.centre, still.centre, atol=1e-10)
    np.testing.assert_allclose(mixed.depth, still.depth[order], atol=1e-10)
