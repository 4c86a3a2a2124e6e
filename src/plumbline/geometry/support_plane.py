"""The plane that objects stand on, found in the points of a depth camera.

RANSAC (Fischler and Bolles, 1981) with a fixed seed on a sample of the points, then least squares. Of several
planes the one that faces up in the image counts most, so that a wall behind the table is not taken for it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plumbline.records import Float

SAMPLE = 2000
"""Points among which planes are sought."""
_TRIALS = 1000
"""Planes through three points that are tried; eight of them lie on a plane that has a fifth of the points."""
_MOST_PLANES = 4
"""Planes that are looked for, one after the other, each among the points that the earlier ones left."""
_NEAR, _NEAR_SHARE = 0.003, 0.007
"""A point is on a plane up to this distance in metres plus this share of its depth. It is twice what depth
cameras err at a metre, bent tables included."""
_SMALLEST = 0.12
"""Share of the points that a support has at least."""
_FLOOR = 0.3
"""A wall counts this much where a plane that faces straight up in the image counts 1.3."""
_LEAST_UP = -0.35
"""A support faces down in the image at most this much, as the cosine; a ceiling does more."""
_PARALLEL, _ALSO = 0.96, 0.5
"""The nearer of two parallel planes is the support, the other the floor, if it has this share of the points
of the other."""
_ROUNDS = 3
"""Times that the plane is fitted to the points on it."""
_LEAST_MARGIN, _DEVIATIONS = 0.004, 3.0
"""A point is above the plane from this many metres, and from this many standard deviations."""


class Support(NamedTuple):
    """The plane that objects stand on.

    Attributes:
        plane: ``[4]`` unit normal toward the camera, and its product with the points of the plane. Frame of
            the points, metres.
        share: of the points that lie on it.
        spread: standard deviation in metres of their heights, robust, at a depth of ``depth``.
        depth: median depth in metres of these points.
    """

    plane: Float
    share: float
    spread: float
    depth: float

    def margin(self, depth: Float) -> Float:
        """Height in metres up to which points at some depths are the plane's."""
        result: Float = np.maximum(_LEAST_MARGIN, _DEVIATIONS * self.spread / self.depth * depth)
        return result


def find_support(points: Float) -> Support | None:
    """Find the plane that objects stand on.

    Args:
        points: ``[N, 3]`` in the frame of a camera that is held upright: x right, y down, z forward, metres.

    Returns:
        The plane; None if none has enough of the points. Which points are looked at is drawn with a fixed
        seed.
    """
    rng = np.random.default_rng(0)
    if len(points) > SAMPLE:
        points = points[rng.choice(len(points), SAMPLE, replace=False)]
    tolerance = _NEAR + _NEAR_SHARE * points[:, 2]
    found: list[Support] = []
    left = np.ones(len(points), bool)
    for _ in range(_MOST_PLANES):
        if left.sum() < max(_SMALLEST * len(points), 3):
            break
        one = _best_plane(points[left], tolerance[left], rng)
        if one is None:
            break
        on = np.abs(points @ one[:3] - one[3]) <= tolerance
        share = float((on & left).mean())
        if share < _SMALLEST:
            break
        found.append(_described(one, points[on & left], share))
        left &= ~on
    return _support_of([one for one in found if one.plane[1] <= -_LEAST_UP])


def _best_plane(points: Float, tolerance: Float, rng: np.random.Generator) -> Float | None:
    """The plane ``[4]`` with the most points, its normal toward the origin."""
    corners = points[rng.integers(len(points), size=(_TRIALS, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    normals = normals[length > 0] / length[length > 0, None]
    if not len(normals):
        return None
    distances = np.einsum("td,td->t", normals, corners[length > 0, 0])
    on = np.abs(normals @ points.T - distances[:, None]) <= tolerance
    chosen: NDArray[np.bool_] = on[on.sum(axis=1).argmax()]
    plane = None
    for _ in range(_ROUNDS):
        if chosen.sum() < 3:
            return plane
        middle = points[chosen].mean(axis=0)
        normal = np.linalg.eigh(np.cov(points[chosen].T))[1][:, 0]
        normal = -normal if normal @ middle > 0 else normal
        plane = np.append(normal, normal @ middle)
        chosen = np.abs(points @ normal - plane[3]) <= tolerance
    return plane


def _described(plane: Float, points: Float, share: float) -> Support:
    depth = float(np.median(points[:, 2]))
    height = np.abs(points @ plane[:3] - plane[3])
    return Support(plane, share, 1.4826 * float(np.median(height * depth / points[:, 2])), depth)


def _support_of(found: list[Support]) -> Support | None:
    """Choose the plane that objects stand on."""
    if not found:
        return None
    best = max(found, key=lambda one: one.share * (_FLOOR + max(-one.plane[1], 0.0)))
    above = [
        one
        for one in found
        if one.plane[:3] @ best.plane[:3] >= _PARALLEL
        and one.plane[3] > best.plane[3]
        and one.share >= _ALSO * best.share
    ]
    return max(above, key=lambda one: one.plane[3], default=best)
