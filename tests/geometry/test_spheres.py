"""The minimum enclosing sphere."""

import numpy as np
from scipy.optimize import nnls

from plumbline.geometry.rotations import random_directions
from plumbline.geometry.spheres import bounding_sphere


def test_bounding_sphere_is_minimal_by_its_optimality_condition():
    """All points inside, and the centre within the hull of those that touch: no smaller sphere exists."""
    rng = np.random.default_rng(4)
    grid = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), -1).reshape(-1, 3)
    clouds = [
        rng.standard_normal((n, 3)) * rng.uniform(0.01, 3, 3) + rng.normal(0, 5, 3)
        for n in (1, 2, 3, 4, 5, 9, 500)
    ]
    clouds += [
        grid,
        random_directions(rng, 300),
        grid * [1, 1, 0],
        grid * [1, 0, 0],
        np.zeros((5, 3)),
        np.concatenate([random_directions(rng, 50) * [1, 1, 0], [[0, 0, 1.0]]]),
    ]
    for points in clouds:
        centre, radius = bounding_sphere(points)
        distance = np.linalg.norm(points - centre, axis=1)
        assert distance.max() <= radius * (1 + 1e-12)
        touching = points[distance >= radius * (1 - 1e-9)] - centre
        system = np.vstack([touching.T, np.ones(len(touching))])
        assert nnls(system, np.array([0, 0, 0, 1.0]))[1] <= 1e-8 * max(radius, 1e-300) or radius == 0
