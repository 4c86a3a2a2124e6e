"""Ray casting: first hits of rays on a triangle mesh, in float64, with Embree or with numpy alone.

Embree finds the triangle in float32. The distance is then recomputed in float64 from the plane of that
triangle, so with both backends the points lie on the surface to about 1e-12 of its size.
"""

import importlib.util
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from plumbline.errors import InputError
from plumbline.geometry.products import cross, dot
from plumbline.records import Float, Int

Backend = Literal["auto", "embree", "numpy"]

_PAIRS_PER_CHUNK = 4_000_000
"""Ray-triangle pairs that the numpy caster tests at once; this limits its memory to about 150 MB."""
_PLANE_MISMATCH = 1e-3
"""Largest accepted difference between the float32 and float64 distances of a hit, in mesh half sizes."""


class Caster:
    """Casts rays at one mesh. Works in the frame and units of the vertices.

    Args:
        vertices: ``[V, 3]``.
        faces: ``[F, 3]`` vertex indices; the winding does not matter, both sides are hit.
        backend: ``"embree"`` (fast), ``"numpy"`` (no other package, time grows with R * F), or ``"auto"``:
            Embree if the package ``embreex`` is installed, otherwise numpy.

    Raises:
        InputError: the mesh is empty, or Embree is requested and not installed.
    """

    def __init__(self, vertices: Float, faces: Int, backend: Backend = "auto") -> None:
        if len(faces) == 0:
            raise InputError("a mesh without faces cannot be scanned; give a mesh with triangles")
        # Components are rows here and below: ``[3 axes, 3 corners, F]``.
        columns = np.ascontiguousarray(np.asarray(vertices, dtype=np.float64).T)
        corners = columns.take(np.asarray(faces, dtype=np.int64).T, axis=1)
        low, high = corners.min(axis=(1, 2)), corners.max(axis=(1, 2))
        # Centred and scaled to size 1: float32 is most precise there, and the products below stay accurate.
        self._centre = (low + high) / 2
        self._unit = float((high - low).max()) / 2 or 1.0
        self._corners = (corners - self._centre[:, None, None]) / self._unit
        a, b, c = self._corners.transpose(1, 0, 2)
        self._normals = cross(b - a, c - a)
        self._pluecker: Float | None = None
        self.backend = _choose(backend)
        self._scene = _embree_scene(self._corners) if self.backend == "embree" else None

    def first_hits(self, origins: Float, directions: Float) -> tuple[Float, Int]:
        """Find the nearest hit of every ray.

        Args:
            origins: ``[R, 3]``.
            directions: ``[R, 3]`` unit vectors.

        Returns:
            distance: ``[R]`` float64 along the ray, ``inf`` for a miss.
            face: ``[R]`` int64 index of the face that is hit, ``-1`` for a miss.
        """
        origins = (np.asarray(origins, dtype=np.float64) - self._centre) / self._unit
        directions = np.asarray(directions, dtype=np.float64)
        cast = self._cast_numpy if self._scene is None else self._cast_embree
        distance, face = cast(origins, directions)
        return distance * self._unit, face

    def face_normals(self, face: Int) -> Float:
        """Return the unit normals ``[R, 3]`` of the given faces (zero for a face without area)."""
        normals = self._normals.take(face, axis=1)
        length = np.sqrt((normals * normals).sum(axis=0))
        return np.ascontiguousarray((normals / np.where(length > 0, length, 1.0)).T)

    def _cast_embree(self, origins: Float, directions: Float) -> tuple[Float, Int]:
        assert self._scene is not None
        found = self._scene.run(
            origins.astype(np.float32), directions.astype(np.float32), query="INTERSECT", output=1
        )
        face = found["primID"].astype(np.int64)
        hit = np.flatnonzero(face >= 0)
        distance = np.full(len(face), np.inf)
        exact, inside = self._exact(origins[hit], directions[hit], face[hit])
        distance[hit] = exact
        with np.errstate(invalid="ignore"):
            good = inside & (exact > 0) & (np.abs(exact - found["tfar"][hit]) <= _PLANE_MISMATCH)
        # Rays that pass an edge within float32 rounding (a few in a million) may hit the neighbouring
        # triangle instead: only testing all triangles in float64 can tell.
        doubtful = hit[~good]
        if len(doubtful):
            distance[doubtful], face[doubtful] = self._cast_numpy(origins[doubtful], directions[doubtful])
        return distance, face

    def _exact(self, origins: Float, directions: Float, face: Int) -> tuple[Float, NDArray[np.bool_]]:
        """Compute each ray's distance to the plane of its face, and whether the ray passes through it."""
        directions = np.ascontiguousarray(directions.T)
        a, b, c = (self._corners.take(face, axis=2) - origins.T[:, None]).transpose(1, 0, 2)
        normal = self._normals.take(face, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = dot(normal, a) / dot(normal, directions)
        edges = np.stack([dot(directions, cross(u, v)) for u, v in ((b, c), (c, a), (a, b))])
        inside = (edges >= 0).all(axis=0) | (edges <= 0).all(axis=0)
        return distance, inside & np.isfinite(distance)

    def _cast_numpy(self, origins: Float, directions: Float) -> tuple[Float, Int]:
        """Test every ray against every triangle, by the side on which the ray passes each edge.

        With Pluecker coordinates the side is one dot product of six numbers, so the whole test is three
        matrix products. Adjacent triangles share an edge with opposite signs: no ray slips between them.
        """
        if self._pluecker is None:
            following = np.roll(self._corners, -1, axis=1)
            lines = np.concatenate([cross(self._corners, following), self._corners - following])
            self._pluecker = np.ascontiguousarray(lines.transpose(1, 0, 2))
        rays = np.concatenate([directions.T, cross(directions.T, origins.T)]).T
        distance = np.full(len(rays), np.inf)
        face = np.full(len(rays), -1, dtype=np.int64)
        step = max(1, _PAIRS_PER_CHUNK // self._corners.shape[2])
        for start in range(0, len(rays), step):
            chunk = slice(start, start + step)
            ray, candidate = _through(rays[chunk], self._pluecker)
            ray += start
            away, _ = self._exact(origins[ray], directions[ray], candidate)
            valid = np.isfinite(away) & (away > 0)
            ray, candidate, away = ray[valid], candidate[valid], away[valid]
            # Written from far to near: the nearest hit remains, and the lowest face of equal distances.
            order = np.lexsort((-candidate, -away))
            distance[ray[order]] = away[order]
            face[ray[order]] = candidate[order]
        return distance, face


def _through(rays: Float, lines: Float) -> tuple[Int, Int]:
    """Find index pairs (ray, face) of rays that pass inside all three edges of a face, from either side."""
    below = np.ones((len(rays), lines.shape[2]), dtype=bool)
    above = below.copy()
    for edge in lines:
        side = rays @ edge
        below &= side <= 0
        above &= side >= 0
    ray, face = np.nonzero(below ^ above)
    return ray, face


def _choose(backend: Backend) -> str:
    installed = importlib.util.find_spec("embreex") is not None
    if backend == "embree" and not installed:
        raise InputError("the ray caster embree is not installed: pip install embreex, or choose numpy")
    if backend == "auto":
        return "embree" if installed else "numpy"
    return backend


def _embree_scene(corners: Float) -> Any:
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    TriangleMesh(scene, corners.T.astype(np.float32, order="C"))
    return scene
