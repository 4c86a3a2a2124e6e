"""Whether a sensor can have stood at the origin of a scan's frame, where it is assumed by default."""

import numpy as np

from plumbline.geometry.spheres import bounding_sphere
from plumbline.records import Float

_WIDEST = np.radians(60)
"""Half the angle of the widest cone in which a sensor sees an object, that of the widest depth cameras. Real
scans fill 4 to 21 degrees, and the sides of a box as seen from the middle of its base 64."""
_FARTHEST = 1000
"""Largest distance of a sensor from an object, in radii of the scan."""


def why_not_the_origin(points: Float) -> str | None:
    """Say why a sensor at the origin cannot have measured these points, as a clause; None if it can.

    A sensor sees an object in front of it. It cannot have stood amid the points, as the origin does if an
    object was moved into a frame of its own, nor a thousand radii away, as with geographic coordinates.
    Only angles and ratios count, so the result is the same for any rotation and unit.

    Args:
        points: ``[N, 3]`` finite points.
    """
    if _plainly_in_front(points):
        return None
    centre, radius = bounding_sphere(points)
    distance = float(np.linalg.norm(centre))
    if distance > _FARTHEST * radius:
        return f"the points are {distance / max(radius, 1e-300):,.0f} of their radii away from it"
    if distance * np.sin(_WIDEST) > radius:
        return None
    away = np.linalg.norm(points, axis=1)
    directions = points[away > 0] / away[away > 0, None]
    # The sphere around unit vectors has its centre on the axis of their cone, at the cosine of its angle.
    axis = np.linalg.norm(bounding_sphere(directions)[0]) if len(directions) else 0.0
    return "the points surround it" if axis < np.cos(_WIDEST) else None


def _plainly_in_front(points: Float) -> bool:
    """Whether the cone of the widest angle around the mean holds the points, and they are not far away.

    This implies what :func:`why_not_the_origin` asks for, without a search for smallest spheres.
    """
    columns = np.ascontiguousarray(points.T)
    mean = columns.mean(axis=1)
    distance = np.sqrt(np.einsum("ij,ij->j", columns, columns))
    centre = float(np.linalg.norm(mean))
    away = columns - mean[:, None]
    reach = float(np.sqrt(np.einsum("ij,ij->j", away, away).max()))
    # The radius of the smallest sphere is at least half the reach, and its centre is as far at most.
    near = centre + reach <= _FARTHEST * reach / 2
    return bool(near and (mean @ columns >= np.cos(_WIDEST) * centre * distance).all())
