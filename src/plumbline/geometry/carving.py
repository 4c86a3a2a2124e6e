"""Space carving: the part of the convex hull that no sensor has seen to be empty.

A sensor that measured a point saw that the line of sight to it is free, and knows nothing about what lies
behind it. The object is inside its hull and behind its surface, so the centre of the remaining space is a
better guess than the hull's centre. The space is sampled at fixed positions in a frame that rotates and
reflects with the scan, so the result does too.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError, cKDTree

from plumbline.geometry.products import cross, dot
from plumbline.geometry.surfaces import solid_inertia
from plumbline.records import Float, Int

_STEPS = 4
"""Number of midpoints tested between a hit and the far side of the hull."""
_PLACES = 1536
"""Sample positions on each side of the middle plane; a fifth to a half of them lie in the hull."""
_NEIGHBOURS = 4
"""The angle between rays is the median angle to the Nth nearest ray of the same view, for this N."""
_STAGES = (slice(8), slice(8, 32), slice(32, None))
"""Facets of a hull that are tried together, the largest first."""
_PARALLEL = 1e-9
"""A ray leaves the hull through facets whose normals have at least this component along it."""
_SLACK = 1.0
"""A position this many ray spacings or more in front of a surface counts as empty."""


class Hull(NamedTuple):
    """A convex hull, as a body of uniform density.

    Attributes:
        centre: ``[3]`` its centre of mass.
        volume: its volume.
        normals, offsets: ``[F, 3]`` and ``[F]`` its half-spaces ``normals @ x <= offsets``.
        corners: ``[F, 3, 3]`` the corners of its triangles, counter-clockwise seen from outside.
        facet_volumes: ``[F]`` volumes of the tetrahedra from the mean of the points to its triangles.
    """

    centre: Float
    volume: float
    normals: Float
    offsets: Float
    corners: Float
    facet_volumes: Float

    def outside(self, points: Float) -> Float:
        """How far points ``[n, 3]`` lie outside the farthest of the half-spaces: ``[n]``, negative inside."""
        found: Float = (points @ self.normals.T - self.offsets).max(axis=1)
        return found

    @property
    def inertia(self) -> Float:
        """``[3, 3]`` inertia tensor about its centre of mass, per unit mass."""
        faces = np.arange(3 * len(self.corners)).reshape(-1, 3)
        return solid_inertia(self.corners.reshape(-1, 3), faces, self.centre)


class Carved(NamedTuple):
    """The space that remains, as a body of uniform density.

    Attributes:
        centre: ``[3]`` its centre of mass.
        depth: ``[N]`` depth of unseen space behind each point.
        volume: its volume.
        inertia: ``[3, 3]`` inertia tensor about its centre of mass, per unit mass.
    """

    centre: Float
    depth: Float
    volume: float
    inertia: Float


def convex_hull(points: Float) -> Hull | None:
    """Compute the convex hull of points ``[N, 3]``; None if they span no volume. Symmetry: E(3)."""
    if len(points) < 4:
        return None
    mean = np.asarray(points, dtype=np.float64).mean(axis=0)
    points = points - mean
    try:
        hull = ConvexHull(points)
    except QhullError:
        return None
    # The mean lies inside, so the tetrahedra from it to the facets fill the hull without overlap. This is the
    # divergence theorem with all signs known: a facet whose sign is negative is wound the other way.
    corners = points[hull.simplices]
    a, b, c = corners.transpose(1, 2, 0)
    signed = dot(a, cross(b, c))
    volumes = np.abs(signed) / 6
    total = float(volumes.sum())
    if not total > 0:
        return None
    normals = hull.equations[:, :3]
    offsets = normals @ mean - hull.equations[:, 3]
    centre = mean + (volumes @ corners.sum(axis=1)) / (4 * total)
    outward = np.where(signed[:, None, None] < 0, corners[:, ::-1], corners)
    return Hull(centre, total, normals, offsets, mean + outward, volumes)


class _View(NamedTuple):
    """What one sensor saw: its position, a tree of its rays, their ranges, and the angle between rays."""

    station: Float
    tree: cKDTree
    reach: Float
    angle: float


def carve(points: Float, sensor: Float, view: Int, hull: Hull) -> Carved:
    """Compute what is left of the hull where no view saw empty space, and its depth behind each point.

    A position is empty if a view saw something farther away in its direction, or nothing at all.

    Args:
        points: ``[N, 3]``.
        sensor: ``[N, 3]`` position of the sensor that measured each point; it differs from the point.
        view: ``[N]`` the view of each point; points of one view were measured from one position.
        hull: convex hull of the points.

    Returns:
        The remaining space, in the frame and unit of the points; the whole hull if none remains. Its volume
        is that of the hull times the share of sampled positions that remain.

    Symmetry: E(3), and scale; except for points whose hull's centre lies exactly on the line of sight through
    their mean, for which the frame is not defined. Source: Laurentini, The Visual Hull Concept for
    Silhouette-Based Image Understanding, 1994, here with ranges.
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
    if unseen.any():
        centre = places[unseen].mean(axis=0)
        volume, inertia = hull.volume * float(unseen.mean()), _inertia(places[unseen] - centre)
    else:
        centre, volume, inertia = hull.centre, hull.volume, hull.inertia
    depth = _way_to_exit(points, rays, hull)
    if len(views) > 1:
        steps = depth[:, None] * (np.arange(_STEPS) + 0.5) / _STEPS
        along = (points[:, None] + steps[:, :, None] * rays[:, None]).reshape(-1, 3)
        depth = depth * np.all([_hidden(along, seen) for seen in views], axis=0).reshape(-1, _STEPS).mean(
            axis=1
        )
    return Carved(centre, depth, volume, inertia)


def _inertia(places: Float) -> Float:
    """Compute the inertia tensor ``[3, 3]`` of equal masses at positions ``[n, 3]``, per unit mass."""
    second = places.T @ places / len(places)
    result: Float = np.trace(second) * np.eye(3) - second
    return result


def _places(points: Float, towards: Float, hull: Hull) -> Float:
    """Sample the hull evenly, in a frame given by sensor direction and hull centre: ``[n, 3]``."""
    mean = points.mean(axis=0)
    first = towards / max(math.sqrt(towards @ towards), 1e-300)
    second = hull.centre - mean
    second = second - (second @ first) * first
    second /= max(math.sqrt(second @ second), 1e-300)
    axes = np.stack([first, second, cross(first, second)])
    local = (points - mean) @ axes.T
    low = local.min(axis=0)
    size = local.max(axis=0) - low
    # The hull is moved into the unit cube rather than the cube to the hull: its facets are few. Most places
    # lie outside, and a few large facets tell so of most of them: the others are tried on what remains.
    largest = np.argsort(-hull.facet_volumes, kind="stable")
    normals = hull.normals[largest] @ axes.T
    room = (hull.offsets - hull.normals @ mean)[largest] - normals @ low
    normals *= size
    cells = _LATTICE
    for some in _STAGES:
        inside = (normals[some] @ cells <= room[some, None]).all(axis=0)
        cells = cells.take(np.flatnonzero(inside), axis=1)
    result: Float = mean + (low + cells.T * size) @ axes
    return result


def _lattice() -> Float:
    """Spread positions ``[3, 2 _PLACES]`` evenly in the unit cube, as columns.

    They are symmetric about the middle of the third axis, because the third axis of the frame is a cross
    product, which changes sign under reflection.

    Source: Roberts, The Unreasonable Effectiveness of Quasirandom Sequences, 2018 (the additive recurrence of
    the generalised golden ratio).
    """
    ratio = 1.2207440846057596
    numbers = np.arange(1, _PLACES + 1)[:, None]
    half = (0.5 + numbers / ratio ** np.arange(1, 4)) % 1.0
    return np.ascontiguousarray(np.concatenate([half, half * [1, 1, -1] + [0, 0, 1]]).T)


_LATTICE = _lattice()


def _way_to_exit(points: Float, rays: Float, hull: Hull) -> Float:
    """Compute the distance ``[N]`` from the hit of each ray to the point where the ray leaves the hull."""
    slope = hull.normals @ rays.T
    behind = np.flatnonzero(slope.max(axis=1) > _PARALLEL)
    slope = slope[behind]
    room = hull.offsets[behind, None] - hull.normals[behind] @ points.T
    with np.errstate(divide="ignore", invalid="ignore"):
        way = room / slope
    np.putmask(way, slope <= _PARALLEL, np.inf)
    way = way.min(axis=0, initial=np.inf)
    return np.maximum(np.where(np.isfinite(way), way, 0.0), 0.0)


def _angle_between(tree: cKDTree, rays: Float) -> float:
    """Estimate the angle between neighbouring rays of a view, in radians."""
    if len(rays) < 2:
        return 0.05
    return float(np.median(tree.query(rays, k=[min(_NEIGHBOURS, len(rays) - 1) + 1])[0]))


def _hidden(places: Float, seen: _View) -> NDArray[np.bool_]:
    """Tell for each position whether it may be solid as far as one view can tell: ``[n]`` bool."""
    offset = places - seen.station
    away = np.linalg.norm(offset, axis=1)
    gap, nearest = seen.tree.query(offset / away[:, None])
    reach = seen.reach[nearest]
    result: NDArray[np.bool_] = (gap < seen.angle) & (away > reach * (1 - _SLACK * seen.angle))
    return result
