"""Whether the points of a scan can have been seen from where its sensor is said to have stood.

A sensor sees one surface in each direction. From a wrong position, the near and the far parts of an object
lie in the same directions, so points that are next to each other in sight are at different depths all over
the scan, not only along the outlines of parts that stand in front of others.
"""

import numpy as np
from scipy.spatial import cKDTree

from plumbline.records import Float, Int

_SAMPLE = 512
"""At most this many points of a view are looked at."""
_FEWEST = 32
"""A view with fewer points is not judged."""
_NEIGHBOURS = 4
"""Each point is compared with this many others, the nearest ones in direction."""
_SLOPE = 8.0
"""Two points are on different surfaces if their depths differ by more than this many times their distance
across the line of sight, as those of one surface do where it is seen at less than 7 degrees, ..."""
_DEPTH = 0.4
"""... and by more than this share of the view's root mean square radius; noise is smaller."""
_OVERLAP = 0.11
"""Of 962 scans from the true position, simulated and real, one in a hundred has a larger share of such pairs;
a half ball with points all over its surface, as users make them, has 0.08."""
_AROUND = 0.75
"""The sensor stands among the points if the mean unit vector to them is shorter than this."""


def sensor_reason(points: Float, sensor: Float, view: Int, *, of_image: bool = False) -> str | None:
    """Say why the sensor cannot have stood where it is said to have, or None.

    Each view that was taken from one position is judged for itself; views of a moving sensor are not. The
    test cannot prove that a position is right: seen from the opposite side, a scan looks like a mould of the
    object, which is possible as well.

    Args:
        points: ``[N, 3]``.
        sensor: ``[N, 3]`` position of the sensor of each point.
        view: ``[N]`` the view of each point.
        of_image: the points are pixels of depth images: the sensor stood at the optical centre, so that only
            the intrinsics can be wrong, or the mask.

    Symmetry: E(3), and scale.
    """
    order = np.argsort(view, kind="stable")
    for mine in np.split(order, np.flatnonzero(np.diff(view[order])) + 1):
        if len(mine) < _FEWEST:
            continue
        if len(mine) > _SAMPLE:  # the choice is fixed
            mine = mine[np.random.default_rng(0).choice(len(mine), _SAMPLE, replace=False)]
        if np.ptp(sensor[mine], axis=0).any():
            continue
        distance, direction = _sight(points[mine], sensor[mine[0]])
        if np.linalg.norm(direction.mean(axis=0)) < _AROUND:
            return _say("lies among the points", of_image)
        if overlap(distance, direction) > _OVERLAP:
            return _say("is not where these points can be seen from: some would hide others", of_image)
    return None


def overlap(distance: Float, direction: Float) -> float:
    """Measure how much of a view lies behind other parts of it.

    Args:
        distance: ``[N]`` from the sensor, N >= 2.
        direction: ``[N, 3]`` unit vectors from the sensor.

    Returns:
        The share of pairs of points, neighbours in direction, whose depths belong to different surfaces.
    """
    angle, other = cKDTree(direction).query(direction, k=min(_NEIGHBOURS + 1, len(direction)))
    step = np.abs(distance[other] - distance[:, None])[:, 1:]
    points = distance[:, None] * direction
    spread = np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean())
    apart = step > np.maximum(_SLOPE * angle[:, 1:] * distance[:, None], _DEPTH * spread)
    return float(apart.mean())


def _sight(points: Float, sensor: Float) -> tuple[Float, Float]:
    """Distances ``[N]`` and directions ``[N, 3]`` of points as a sensor sees them."""
    away = points - sensor
    distance = np.linalg.norm(away, axis=1)
    return distance, away / np.where(distance > 0, distance, 1.0)[:, None]


def _say(what: str, of_image: bool) -> str:
    if of_image:
        return f"the camera {what}; check its intrinsics (--intrinsics), and that the mask shows one object"
    return f"the sensor position {what}; give the true one, in the frame of the points (--sensor)"
