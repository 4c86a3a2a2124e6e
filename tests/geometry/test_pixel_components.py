"""Connected pixels of a depth image, compared with all pairs of neighbours."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from plumbline.geometry.intrinsics import Intrinsics
from plumbline.geometry.pixel_components import pixel_components

CAMERA = Intrinsics(60.0, 45.0, 20.0, 14.0)


def pixels(depth: np.ndarray, known: np.ndarray):
    row, column = np.nonzero(known)
    z = depth[row, column]
    points = np.stack([(column - CAMERA.cx) / CAMERA.fx * z, (row - CAMERA.cy) / CAMERA.fy * z, z], axis=1)
    return points, row, column


def by_definition(points, row, column):
    """The pairs of pixels next to each other whose points are near."""
    pairs = []
    for i in range(len(points)):
        for j in range(i):
            down, right = row[i] - row[j], column[i] - column[j]
            if max(abs(down), abs(right)) == 1:
                pitch = np.hypot(down / CAMERA.fy, right / CAMERA.fx)
                if np.linalg.norm(points[i] - points[j]) <= 4 * pitch * min(points[i, 2], points[j, 2]):
                    pairs.append((i, j))
    return np.array(pairs).reshape(-1, 2)


@pytest.mark.parametrize("share", [0.15, 0.5, 0.9])
def test_components_and_edges_are_those_of_all_neighbours(share):
    found = set()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        depth = rng.choice([1.0, 1.05, 1.2, 1.5], (17, 23))
        points, row, column = pixels(depth, rng.random(depth.shape) < share)
        pairs = by_definition(points, row, column)
        graph = coo_array((np.ones(len(pairs)), pairs.T), (len(points), len(points)))
        number, wanted = connected_components(graph, directed=False)
        component, edges = pixel_components(points, row, column, CAMERA)
        assert edges == len(pairs)
        assert len(set(zip(component, wanted, strict=True))) == number == len(set(component)), (
            "another naming"
        )
        found.add(number)
    assert len(found) > 1


def test_one_pixel_is_a_component():
    points, row, column = pixels(np.ones((5, 5)), np.arange(25).reshape(5, 5) == 13)
    component, edges = pixel_components(points, row, column, CAMERA)
    assert (component.tolist(), edges) == ([0], 0)


def test_a_step_in_depth_separates_and_a_slope_does_not():
    depth = np.tile(np.linspace(1, 1.4, 20), (10, 1))
    depth[:, 10:] += 0.3
    points, row, column = pixels(depth, np.ones(depth.shape, bool))
    component, _ = pixel_components(points, row, column, CAMERA)
    np.testing.assert_array_equal(component, component[np.where(column < 10, 0, 10)])
    assert component[0] != component[10]
