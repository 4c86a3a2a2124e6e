"""The surface of a CAD model as registration needs it: samples, what a sensor can see, nearest points.

Everything is in the frame of the model, moved and scaled so that its bounding sphere is the unit sphere.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from plumbline.errors import InputError
from plumbline.geometry.raycast import Caster
from plumbline.records import Float, Int, Solid

_SAMPLES = 12_000
"""Samples of the surface; they find the triangles among which the nearest point is then exact."""
_COARSE = 2_000
"""As many of them, spread as evenly, find the start."""
_MOST_FACES = 20_000
"""A mesh with at most this many faces has a sample in each, whatever its size."""
_LEVEL = 2
"""Times that the faces of an icosahedron are divided: 162 directions, 16 degrees apart."""
_PARALLEL = 4.0
"""Rays start this far away, outside the unit sphere."""
_THIN = 3e-3
"""A sample is seen if nothing is in front of it by more than this."""
_NEAREST = 6
"""The nearest point is sought in the triangles of this many samples."""
_FLAT = 1e-9
"""A point is on the surface if it is nearer than this; there the normal is that of the triangle."""


class Nearest(NamedTuple):
    """Nearest points of a surface.

    Attributes:
        gap: ``[N]`` distance to it.
        point: ``[N, 3]``.
        normal: ``[N, 3]`` unit vector of the triangle, or from the nearest point to the given one where that
            is an edge or a corner.
    """

    gap: Float
    point: Float
    normal: Float


class CadSurface:
    """Samples of a closed mesh, in the unit sphere.

    Args:
        solid: the mesh.

    Attributes:
        centre, radius: of the bounding sphere, in the frame of the mesh.
        com: ``[3]`` centre of mass.
        points, normals, face: ``[S, 3]``, ``[S, 3]`` outward, ``[S]``: samples that can be seen from outside.
        directions: ``[D, 3]`` unit vectors, evenly spread, with every direction its opposite.
        coarse: ``[C]`` indices of fewer samples.
        seen_from: ``[D, C]`` which of these are seen from far away in each direction.
    """

    def __init__(self, solid: Solid) -> None:
        self.centre, self.radius = solid.bounding_centre, solid.bounding_radius
        vertices = (solid.vertices - self.centre) / self.radius
        self.com = (solid.com - self.centre) / self.radius
        self.caster = Caster(vertices, solid.faces)
        self.corners = vertices[solid.faces]
        points, face = _spread(self.corners)
        normals = self.caster.face_normals(face)
        self.directions = _icosphere(_LEVEL)
        first = np.arange(min(_COARSE, len(points)))
        seen = self._table(points[first], normals[first])
        outside = seen.any(axis=0)
        # An inner wall is never matched; only the coarse samples are tested from every side.
        self.coarse = first[outside]
        self.seen_from = seen[:, outside]
        self.points, self.normals, self.face = points, normals, face
        if not len(self.coarse):
            raise InputError(f"{solid.name}: nothing of its surface can be seen from outside; check the mesh")

    def seen(self, sensor: Float, samples: Int | slice = slice(None)) -> NDArray[np.bool_]:
        """Tell which samples a sensor at a position ``[3]`` sees."""
        points, normals = self.points[samples], self.normals[samples]
        away = points - sensor
        distance = np.linalg.norm(away, axis=1)
        found: NDArray[np.bool_] = np.einsum("ij,ij->i", normals, away) < 0
        rays = away[found] / distance[found, None]
        first, _ = self.caster.first_hits(np.broadcast_to(sensor, rays.shape), rays)
        found[found] = first > distance[found] - _THIN
        return found

    def in_sight(self, points: Float, sensors: Float) -> tuple[Float, Int]:
        """What is hit first on the way to points ``[N, 3]`` from their sensors ``[N, 3]``, and beyond.

        Returns:
            away: ``[N]`` distance from the point, negative in front of it, ``inf`` for nothing.
            face: ``[N]`` the triangle, -1 for none.
        """
        along = points - sensors
        distance = np.linalg.norm(along, axis=1)
        first, face = self.caster.first_hits(sensors, along / distance[:, None])
        return first - distance, face

    def nearest(self, points: Float, tree: cKDTree, samples: Int, ahead: Int | None = None) -> Nearest:
        """Find the nearest points of the triangles around some samples.

        Args:
            points: ``[N, 3]``.
            tree: of the samples' positions.
            samples: ``[n]`` indices of these samples.
            ahead: ``[N]`` the triangle in the line of sight of each point, or -1: it is seen, too, even if
                none of its samples is.
        """
        k = min(_NEAREST, len(samples))
        _, near = tree.query(points, k=k)
        face = self.face[samples[near.reshape(len(points), k)]]
        if ahead is not None:
            face = np.column_stack([face, np.where(ahead >= 0, ahead, face[:, 0])])
            k += 1
        flat = face.ravel()
        found, inside = closest_on_triangles(np.repeat(points, k, axis=0), self.corners[flat])
        away = (np.repeat(points, k, axis=0) - found).reshape(len(points), k, 3)
        gaps = np.linalg.norm(away, axis=2)
        best = gaps.argmin(axis=1)
        row = np.arange(len(points))
        gap, out = gaps[row, best], away[row, best]
        normal = self.caster.face_normals(face[row, best])
        edge = ~inside.reshape(len(points), k)[row, best] & (gap > _FLAT)
        normal[edge] = out[edge] / gap[edge, None]
        return Nearest(gap, found.reshape(len(points), k, 3)[row, best], normal)

    def _table(self, points: Float, normals: Float) -> NDArray[np.bool_]:
        seen = normals @ self.directions.T > 0
        sample, direction = np.nonzero(seen)
        towards = self.directions[direction]
        first, _ = self.caster.first_hits(points[sample] + _PARALLEL * towards, -towards)
        seen[sample, direction] = first > _PARALLEL - _THIN
        return seen.T


def closest_on_triangles(points: Float, corners: Float) -> tuple[Float, NDArray[np.bool_]]:
    """Find the point of each triangle that is nearest to a point.

    Args:
        points: ``[N, 3]``.
        corners: ``[N, 3, 3]``.

    Returns:
        nearest: ``[N, 3]``.
        inside: ``[N]`` whether it lies within the triangle, not on an edge or a corner.
    """
    a, b, c = corners.transpose(1, 0, 2)
    nearest, least = np.empty_like(points), np.full(len(points), np.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        along = end - start
        length = np.einsum("ij,ij->i", along, along)
        share = np.einsum("ij,ij->i", points - start, along) / np.where(length > 0, length, 1)
        on_edge = start + share.clip(0, 1)[:, None] * along
        gap = ((points - on_edge) ** 2).sum(axis=1)
        nearer = gap < least
        nearest[nearer], least[nearer] = on_edge[nearer], gap[nearer]
    u, v, w = b - a, c - a, points - a
    uu, vv, uv = (np.einsum("ij,ij->i", *pair) for pair in ((u, u), (v, v), (u, v)))
    wu, wv = np.einsum("ij,ij->i", w, u), np.einsum("ij,ij->i", w, v)
    area = uu * vv - uv * uv
    with np.errstate(divide="ignore", invalid="ignore"):
        s, t = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
        inside = (s > 0) & (t > 0) & (s + t < 1)
    nearest[inside] = a[inside] + s[inside, None] * u[inside] + t[inside, None] * v[inside]
    return nearest, inside


def _spread(corners: Float) -> tuple[Float, Int]:
    """Sample triangles evenly by area, any first ones of the samples too; returns points and faces."""
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    edges = np.cumsum(area) / area.sum()
    # Additive recurrence in three dimensions (Roberts, The unreasonable effectiveness of quasirandom
    # sequences, 2018): one number chooses the face, two the place on it.
    g = 1.2207440846057596
    where, s, t = ((0.5 + np.outer(np.arange(_SAMPLES), [1 / g, 1 / g**2, 1 / g**3])) % 1).T
    face = np.searchsorted(edges, where, "right").clip(max=len(corners) - 1)
    if len(corners) <= _MOST_FACES:
        rest = np.setdiff1d(np.arange(len(corners)), face)
        rest = rest[area[rest] > 0]
        face = np.concatenate([face, rest])
        s, t = (np.concatenate([part, np.full(len(rest), 1 / 3)]) for part in (s, t))
    over = s + t > 1
    s, t = np.where(over, 1 - s, s), np.where(over, 1 - t, t)
    a, b, c = corners[face].transpose(1, 0, 2)
    return a + s[:, None] * (b - a) + t[:, None] * (c - a), face.astype(np.int64)


def _icosphere(level: int) -> Float:
    """The corners of an icosahedron whose faces are divided ``level`` times, on the unit sphere."""
    golden = (1 + np.sqrt(5)) / 2
    corners = np.array(
        [p for x in (-1.0, 1) for y in (-golden, golden) for p in ((0, x, y), (x, y, 0), (y, 0, x))]
    )
    for _ in range(level):
        # Neighbours are at the least distance, to a third: midpoints of all such pairs are the new corners.
        unit = corners / np.linalg.norm(corners, axis=1, keepdims=True)
        gap = np.linalg.norm(unit[:, None] - unit, axis=2)
        reach = 1.35 * gap[gap > 1e-6].min()
        i, j = np.nonzero(np.triu(gap < reach, 1))
        corners = np.concatenate([unit, unit[i] + unit[j]])
    result: Float = corners / np.linalg.norm(corners, axis=1, keepdims=True)
    return result
