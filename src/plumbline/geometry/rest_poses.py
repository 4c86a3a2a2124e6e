"""How an object can lie on a table."""

from typing import NamedTuple

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from plumbline.records import Float, Solid

_SAME = 1e-6
"""Hull triangles whose normals differ by less are one facet."""


class RestPoses(NamedTuple):
    """The facets of the convex hull on which an object is at rest.

    Attributes:
        up: ``[n, 3]`` unit vectors from the table to the object, mesh frame.
        height: ``[n]`` distance of the centre of mass above the table.
        chance: ``[n]`` how likely each is, of a sum of 1: the share of all directions in which the facet is
            seen from the centre of mass.
    """

    up: Float
    height: Float
    chance: Float


def rest_poses(solid: Solid) -> RestPoses:
    """Find the facets of the hull that the centre of mass lies above, so that the object does not tip over.

    Returns:
        The poses; none if the vertices span no volume.

    Source: the quasi-static model of Goldberg et al., "Part pose statistics", IEEE Transactions on Robotics
    and Automation 15 (1999), without rolling from one facet to the next.
    """
    points = solid.vertices - solid.com
    try:
        hull = ConvexHull(points)
    except QhullError:
        return RestPoses(np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    normals, height = hull.equations[:, :3], -hull.equations[:, 3]
    corners = points[hull.simplices]
    order = np.lexsort(np.round(normals / _SAME).T)
    new = (np.abs(np.diff(normals[order], axis=0)) > _SAME).any(axis=1)
    facet = np.empty(len(order), np.int64)
    facet[order] = np.concatenate([[0], np.cumsum(new)])
    above = _is_above(corners, normals)
    seen = np.bincount(facet, _solid_angles(corners))
    stable = np.flatnonzero(np.bincount(facet, above & (height > 0)) > 0)
    first = np.full(len(seen), len(facet))
    np.minimum.at(first, facet, np.arange(len(facet)))
    chosen = first[stable]
    chance = seen[stable]
    return RestPoses(-normals[chosen], height[chosen], chance / (chance.sum() or 1))


def _is_above(corners: Float, normals: Float) -> np.ndarray:
    """Tell over which triangles ``[n, 3, 3]`` the origin lies: ``[n]``."""
    ahead = np.roll(corners, -1, axis=1) - corners
    sides = np.einsum("nkd,nd->nk", np.cross(ahead, -corners), normals)
    result: np.ndarray = (sides >= 0).all(axis=1) | (sides <= 0).all(axis=1)
    return result


def _solid_angles(corners: Float) -> Float:
    """Solid angles of triangles ``[n, 3, 3]`` seen from the origin (Van Oosterom and Strackee, 1983)."""
    a, b, c = np.moveaxis(corners, 1, 0)
    la, lb, lc = (np.linalg.norm(each, axis=1) for each in (a, b, c))
    dot = np.einsum("nd,nd->n", a, np.cross(b, c))
    rest = (
        la * lb * lc
        + np.einsum("nd,nd->n", a, b) * lc
        + np.einsum("nd,nd->n", a, c) * lb
        + np.einsum("nd,nd->n", b, c) * la
    )
    result: Float = np.abs(2 * np.arctan2(np.abs(dot), rest))
    return result
