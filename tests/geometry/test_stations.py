"""Sensors are found again from the directions to them, as accurately as these are stored."""

import numpy as np
import pytest

from plumbline.geometry.carving import carve, convex_hull
from plumbline.geometry.graphs import build_sample
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.solids import make_solid
from plumbline.geometry.stations import find_stations
from plumbline.records import USUAL_VECTORS, Sample
from tests.helpers.scans import scan_of


def directions(points: np.ndarray, sensor: np.ndarray) -> np.ndarray:
    away = sensor - points
    return away / np.linalg.norm(away, axis=1, keepdims=True)


def seen(index: int, views: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, sensors and views in units of the object's size, in mixed order."""
    solid = make_solid(5, index)
    scan = scan_of(solid, index, views=views, points=200)
    order = np.random.default_rng(index).permutation(len(scan.points))
    radius = solid.bounding_radius
    return scan.points[order] / radius, scan.sensor[order] / radius, scan.view[order]


def same_parts(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two numberings divide the points alike."""
    return ((one[:, None] == one) == (other[:, None] == other)).all()


@pytest.mark.parametrize("views", [1, 2, 3, 6])
@pytest.mark.parametrize("index", range(4))
def test_of_exact_directions_to_rounding(index, views):
    points, sensor, view = seen(index, views)
    found = find_stations(points, directions(points, sensor))
    np.testing.assert_allclose(found.sensor, sensor, atol=1e-11)
    assert same_parts(found.view, view)
    assert set(found.view) == set(range(len(np.unique(view))))


@pytest.mark.parametrize(("shift", "accuracy"), [(0.0, 1e-5), (1000.0, 2e-2)])
@pytest.mark.parametrize("index", range(4))
def test_of_stored_directions(index, shift, accuracy):
    """Float32: far from the origin the positions are coarse, and the stations with them."""
    points, sensor, view = seen(index, 3)
    stored = (points + shift).astype(np.float32), directions(points, sensor).astype(np.float32)
    found = find_stations(*stored)
    np.testing.assert_allclose(found.sensor, sensor + shift, atol=accuracy)
    assert same_parts(found.view, view)


@pytest.mark.parametrize("mirror", [1, -1])
def test_stations_move_with_the_scan(mirror):
    points, sensor, _ = seen(2, 3)
    rng = np.random.default_rng(0)
    turn, shift, size = mirror * random_rotation(rng), rng.normal(size=3), 3.0
    towards = directions(points, sensor)
    still = find_stations(points, towards)
    moved = find_stations(size * points @ turn.T + shift, towards @ turn.T)
    np.testing.assert_allclose(moved.sensor, size * still.sensor @ turn.T + shift, atol=1e-10)


def test_a_point_that_is_alone_in_its_view_has_no_station():
    points, sensor, view = seen(1, 2)
    sensor[17], view[17] = (5.0, -4.0, 3.0), 2
    found = find_stations(points, directions(points, sensor))
    assert np.flatnonzero(found.view == -1).tolist() == [17]
    assert np.isnan(found.sensor[17]).all()
    rest = np.arange(len(points)) != 17
    np.testing.assert_allclose(found.sensor[rest], sensor[rest], atol=1e-11)


def test_directions_that_meet_nowhere_have_no_station():
    points = np.random.default_rng(0).normal(size=(50, 3))
    for towards in (np.tile([0.0, 0.6, 0.8], (50, 1)), np.zeros((50, 3)), directions(points, -points)[::-1]):
        assert (find_stations(points, towards).view == -1).all()
    assert find_stations(points[:0], points[:0]).view.shape == (0,)


def test_the_sensor_lies_in_the_direction_and_not_behind():
    points, sensor, _ = seen(1, 1)
    towards = directions(points, sensor)
    assert (find_stations(points, -towards).view == -1).all()
    towards[5] *= -1
    assert np.flatnonzero(find_stations(points, towards).view == -1).tolist() == [5]


@pytest.mark.parametrize("angle", [1e-3, 1.5])
def test_a_line_that_crosses_another_by_chance_makes_no_station(angle):
    """The first of a few lines of one view is crossed on its way, by a line at a small or a large angle."""
    points, sensor, _ = (part[:8] for part in seen(1, 1))
    towards = directions(points, sensor)
    way, aside = towards[0], np.cross(towards[0], towards[1])
    crossing = np.cos(angle) * way + np.sin(angle) * aside / np.linalg.norm(aside)
    points = np.concatenate([points, [points[0] + 1.2 * way - crossing]])
    found = find_stations(points, np.concatenate([towards, [crossing]]))
    assert found.view.tolist() == [0] * 8 + [-1]
    np.testing.assert_allclose(found.sensor[:8], sensor, atol=1e-11)


@pytest.mark.parametrize("index", range(6))
def test_a_stored_scan_is_carved_as_when_it_was_made(index):
    """The centre of the carved space, which is stored, comes out of what else is stored."""
    solid = make_solid(6, index)
    sample: Sample = build_sample(
        scan_of(solid, index, views=1 + index % 3, points=256), object_name="a",
        k=6, edge_attr="none", sh_degree=0, normalise="unit",
    )  # fmt: skip
    points = sample.pos.astype(np.float64)
    found = find_stations(points, sample.node_features[:, 3:6])
    carved = carve(points, found.sensor, found.view, convex_hull(points))
    stored = sample.vectors[USUAL_VECTORS.index("carve")]
    # One of 3,072 positions may fall on the other side of an edge.
    np.testing.assert_allclose(carved.centre - points.mean(axis=0), stored, atol=3e-3)
    assert np.linalg.norm(convex_hull(points).centre - carved.centre) > 1e-2
