"""Minimum enclosing sphere of a set of points."""

from itertools import combinations

import numpy as np

from plumbline.records import Float


def bounding_sphere(points: Float) -> tuple[Float, float]:
    """Compute the minimum enclosing sphere, exact up to rounding (1e-9 of the radius or better).

    Keeps at most four support points, which define the sphere. While any point lies outside, the farthest one
    is added and the sphere of these at most five points is solved again. The radius grows every time, so the
    loop ends (an LP-type problem with the farthest-first rule of Gärtner, "Fast and robust smallest enclosing
    balls", ESA 1999).

    Args:
        points: ``[N, 3]`` finite, N >= 1.

    Returns:
        The ``[3]`` centre, and the radius: no point is farther from the centre.
    """
    origin = (points.min(axis=0) + points.max(axis=0)) / 2
    local = np.asarray(points, np.float64) - origin
    support = local[[np.argmax(np.einsum("nd,nd->n", local, local))]]
    centre, radius = support[0], 0.0
    while True:
        squares = np.einsum("nd,nd->n", local - centre, local - centre)
        farthest = local[np.argmax(squares)]
        reach = float(np.sqrt(squares.max()))
        if reach <= radius * (1 + 1e-12):
            return origin + centre, reach
        grown = _sphere_through(farthest, support)
        if grown is None or grown[1] <= radius:
            return origin + centre, reach
        centre, radius, support = grown


def _sphere_through(point: Float, others: Float) -> tuple[Float, float, Float] | None:
    """Find the smallest sphere around a few points with ``point`` on it: centre, radius, support points."""
    for size in range(1, min(len(others), 3) + 1):
        for chosen in combinations(range(len(others)), size):
            edges = others[list(chosen)] - point
            gram = edges @ edges.T
            try:
                weights = np.linalg.solve(gram, gram.diagonal() / 2)
            except np.linalg.LinAlgError:
                continue
            # The circumcentre must lie within the simplex, otherwise a smaller sphere is enough.
            if weights.min() < -1e-12 or weights.sum() > 1 + 1e-12:
                continue
            offset = weights @ edges
            radius = float(np.linalg.norm(offset))
            centre = point + offset
            if np.linalg.norm(others - centre, axis=1).max() <= radius * (1 + 1e-12):
                return centre, radius, np.vstack([point, others[list(chosen)]])
    return None
