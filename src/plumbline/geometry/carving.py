"""The space that no sensor has seen empty: the convex hull without the lines of sight.

A sensor that measured a point saw that the way there is free, and knows nothing of what lies behind. The
object is inside its hull and behind its surface, so the centre of what is left is a better guess than the
hull's. The space is sampled at fixed places of a frame that turns and mirrors with the scan; so does the
answer.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError, cKDTree

from plumbline.records import Float, Int

_STEPS = 4
"""Midpoints at which the way from a hit to the far side of the hull is looked at."""
_PLACES = 1536
"""Places tried on either side of the middle plane; about half of them lie in the hull."""
_NEIGHBOURS = 4
"""The angle between rays is that to the so-many-th nearest ray of the same view, in the median."""
_SLACK = 1.0
"""A place in front of a surface counts as empty beyond so many distances between rays."""


class Hull(NamedTuple):
    """A convex hull: ``centre [3]`` of its volume, ``volume``, half-spaces ``normals @ x <= offsets``."""

    centre: Float
    volume: float
    normals: Float
    offsets: Float


class Carved(NamedTuple):
    """What is left of the hull: ``centre [3]``, and per point the ``depth [N]`` of unseen space behind it."""

    centre: Float
    depth: Float


def convex_hull(points: Float) -> Hull | None:
    """The convex hull of ``[N, 3]``, or None where the points span no volume. Symmetry: E(3)."""
    if len(points) < 4:
        return None
    mean = np.asarray(points, dtype=np.float64).mean(axis=0)
    points = points - mean
    try:
        hull = ConvexHull(points)
    except QhullError:
        return None
    # The mean lies inside, so the tetrahedra from it to the facets fill the hull without overlap and need no
    # orientation: the divergence theorem with every sign known.
    corners = points[hull.simplices]
    volumes = np.abs(np.linalg.det(corners)) / 6
    total = float(volumes.sum())
    if not total > 0:
        return None
    normals = hull.equations[:, :3]
    offsets = normals @ mean - hull.equations[:, 3]
    return Hull(mean + (volumes @ corners.sum(axis=1)) / (4 * total), total, normals, offsets)


class _View(NamedTuple):
    """What one sensor saw: its place, a tree of its rays, their ranges, and the angle between rays."""

    station: Float
    tree: cKDTree
    reach: Float
    angle: float


def carve(points: Float, sensor: Float, view: Int, hull: Hull) -> Carved:
    """The centre of the hull's volume that no view saw empty, and how deep it reaches behind each point.

    A place is empty where a view saw something farther away in its direction, or nothing at all.

    Args:
        points: ``[N, 3]``.
        sensor: ``[N, 3]`` position of the sensor that measured each point, not at the point.
        view: ``[N]`` which points were measured from one place.
        hull: of the points.

    Returns:
        Centre and depths in the frame and unit of the points; the hull's centre where nothing is left.

    Symmetry: E(3), and scale; but for points whose hull's centre lies exactly on the line of sight through
    their mean, which leave the frame open. Source: Laurentini, The Visual Hull Concept for Silhouette-Based
    Image Understanding, 1994, here with ranges.
    """
    offset = points - sensor
    reach = np.linalg.norm(offset, axis=1)
    rays = offset / reach[:, None]
    views = []
    for number in np.unique(view):
        mine = np.flatnonzero(view == number)
        tree = cKDTree(rays[mine])
        views.append(_View(sensor[mine[0]], tree, reach[mine], _angle_between(tree, rays[mine])))
    places = _places(points, -rays.mean(axis=0), hull)
    unseen = np.ones(len(places), bool)
    for seen in views:
        unseen[unseen] = _hidden(places[unseen], seen)
    centre = places[unseen].mean(axis=0) if unseen.any() else hull.centre
    depth = _way_to_exit(points, rays, hull)
    if len(views) > 1:
        steps = depth[:, None] * (np.arange(_STEPS) + 0.5) / _STEPS
        along = (points[:, None] + steps[:, :, None] * rays[:, None]).reshape(-1, 3)
        depth = depth * np.all([_hidden(along, seen) for seen in views], axis=0).reshape(-1, _STEPS).mean(
            axis=1
        )
    return Carved(centre, depth)


def _places(points: Float, towards: Float, hull: Hull) -> Float:
    """Evenly spread places in the hull, in a frame of the direction to the sensors and the hull's centre."""
    mean = points.mean(axis=0)
    first = towards / max(float(np.linalg.norm(towards)), 1e-300)
    second = hull.centre - mean
    second = second - (second @ first) * first
    second /= max(float(np.linalg.norm(second)), 1e-300)
    axes = np.stack([first, second, np.cross(first, second)])
    local = (points - mean) @ axes.T
    low, high = local.min(axis=0), local.max(axis=0)
    places = mean + (low + _LATTICE * (high - low)) @ axes
    result: Float = places[(places @ hull.normals.T <= hull.offsets).all(axis=1)]
    return result


def _lattice() -> Float:
    """``[2 _PLACES, 3]`` evenly spread in the unit cube, and symmetric about the middle of the third axis.

    The third axis is a cross product, which a mirror turns around. Source: Roberts, The Unreasonable
    Effectiveness of Quasirandom Sequences, 2018 (the additive recurrence of the generalised golden ratio).
    """
    ratio = 1.2207440846057596
    numbers = np.arange(1, _PLACES + 1)[:, None]
    half = (0.5 + numbers / ratio ** np.arange(1, 4)) % 1.0
    return np.concatenate([half, half * [1, 1, -1] + [0, 0, 1]])


_LATTICE = _lattice()


def _way_to_exit(points: Float, rays: Float, hull: Hull) -> Float:
    """``[N]`` how far each ray goes from its hit until it leaves the hull."""
    slope = rays @ hull.normals.T
    room = hull.offsets - points @ hull.normals.T
    leaving = slope > 1e-9
    way = np.where(leaving, room / np.where(leaving, slope, 1.0), np.inf).min(axis=1)
    return np.maximum(np.where(np.isfinite(way), way, 0.0), 0.0)


def _angle_between(tree: cKDTree, rays: Float) -> float:
    """The angle between neighbouring rays of a view, radians."""
    if len(rays) < 2:
        return 0.05
    return float(np.median(tree.query(rays, k=[min(_NEIGHBOURS, len(rays) - 1) + 1])[0]))


def _hidden(places: Float, seen: _View) -> NDArray[np.bool_]:
    """``[n]`` whether places may be solid as far as one view can tell."""
    offset = places - seen.station
    away = np.linalg.norm(offset, axis=1)
    gap, nearest = seen.tree.query(offset / away[:, None])
    reach = seen.reach[nearest]
    result: NDArray[np.bool_] = (gap < seen.angle) & (away > reach * (1 - _SLACK * seen.angle))
    return result
