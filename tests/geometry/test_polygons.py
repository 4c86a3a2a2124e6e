"""Polygons, fans and strips as triangles: nothing outside, nothing missing, the same winding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline.geometry.polygons import triangulate_polygons, triangulate_strips
from plumbline.geometry.rotations import random_rotation

ARROW = np.array([[0, 0], [2, 0], [2, 2], [1, 0.5], [0, 2.0]])


def areas(vertices, faces):
    """Signed areas of triangles in the plane."""
    a, b, c = vertices[faces][..., :2].transpose(1, 0, 2)
    b, c = b - a, c - a
    return (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0]) / 2


def outline_area(polygon):
    after = np.roll(polygon, -1, axis=0)
    return float((polygon[:, 0] * after[:, 1] - polygon[:, 1] * after[:, 0]).sum() / 2)


def star(radii):
    """A polygon that is seen whole from the origin, mostly with inward corners."""
    angle = np.arange(len(radii)) * 2 * np.pi / len(radii)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.array(radii)[:, None]


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.lists(st.floats(0.2, 5), min_size=4, max_size=12), st.integers(0, 2**32 - 1))
def test_triangles_fill_a_polygon_and_none_lies_outside_of_it(radii, seed):
    """For any orientation in space, all areas are positive and sum to that of the polygon."""
    polygon, rng = star(radii), np.random.default_rng(seed)
    turn, shift = random_rotation(rng), rng.normal(size=3)
    vertices = np.column_stack([polygon, np.zeros(len(polygon))]) @ turn.T + shift
    faces = triangulate_polygons(vertices, np.array([len(polygon)]), np.arange(len(polygon)))
    found = areas((vertices - shift) @ turn, faces)
    assert len(faces) == len(polygon) - 2
    assert found.min() > -1e-9
    assert found.sum() == pytest.approx(outline_area(polygon), rel=1e-9)
    edges = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2).tolist()
    outline = [[i, (i + 1) % len(polygon)] for i in range(len(polygon))]
    inner = [edge for edge in edges if edge not in outline]
    assert sorted(edge for edge in edges if edge in outline) == sorted(outline)
    assert sorted(inner) == sorted(edge[::-1] for edge in inner)


def test_a_convex_polygon_is_a_fan_around_its_first_vertex():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0.0]])
    indices = np.array([3, 4, 0, 1, 2, 0, 1, 0, 2, 3])
    faces = triangulate_polygons(vertices, np.array([5, 2, 3]), indices)
    assert faces.dtype == np.int64
    assert faces.tolist() == [[3, 4, 0], [3, 0, 1], [3, 1, 2], [0, 2, 3]]


def test_a_fan_would_leave_the_polygon():
    """The control of the tests above: a fan around its first vertex does not cut the arrow correctly."""
    fan = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4]])
    assert areas(ARROW[[1, 2, 3, 4, 0]], fan).min() < 0
    faces = triangulate_polygons(
        np.column_stack([ARROW, np.zeros(5)]), np.array([5]), np.array([1, 2, 3, 4, 0])
    )
    assert areas(ARROW, faces).min() > 0


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_polygons_without_a_plane_are_fans(value):
    vertices = np.full((5, 3), value)
    assert triangulate_polygons(vertices, np.array([5]), np.arange(5)).tolist() == [
        [0, 1, 2],
        [0, 2, 3],
        [0, 3, 4],
    ]


def test_strips_end_with_minus_one_or_with_their_list():
    faces = triangulate_strips(np.array([4, 0, 8]), np.array([0, 1, 2, 3, 4, 5, 6, -1, 7, 8, 9, -1]))
    assert faces.tolist() == [[0, 1, 2], [2, 1, 3], [4, 5, 6], [7, 8, 9]]
    assert triangulate_strips(np.zeros(0, int), np.zeros(0, int)).shape == (0, 3)
