"""Properties of surfaces of triangles: whether they are closed, volume, centre of mass, winding number."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from plumbline.errors import MeshError
from plumbline.records import Float, Int

_PAIRS = 1 << 21
"""Pairs of a face and a point that are looked at together."""


class Edges(NamedTuple):
    """How the faces of a surface meet at their edges.

    Attributes:
        reason: None if every edge lies between exactly two faces that traverse it in opposite directions;
            otherwise one phrase that counts the edges where this is not so.
        balanced: whether as many faces traverse every edge in one direction as in the other. Then the surface
            has no boundary, and every point off it has a winding number.
    """

    reason: str | None
    balanced: bool


class Body(NamedTuple):
    """A body of one density.

    Attributes:
        density: kilograms per cubic metre.
        vertices: ``[V, 3]``.
        faces: ``[F, 3]``, closed and consistently wound.
    """

    density: float
    vertices: Float
    faces: Int


def inspect_edges(faces: Int) -> Edges:
    """Say how the faces ``[F, 3]`` (vertex indices, none twice in a face) meet at their edges."""
    if not len(faces):
        return Edges("there are no faces", False)
    num = int(faces.max()) + 1
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    # Sorting is fast; np.unique and np.isin of numpy 2.4 hash, which takes 50 times as long.
    keys = np.sort((np.minimum(start, end) * num + np.maximum(start, end)) * 2 + (start < end))
    first = np.flatnonzero(np.concatenate([[True], keys[1:] >> 1 != keys[:-1] >> 1]))
    count = np.diff(first, append=len(keys))
    forward = np.add.reduceat(keys & 1, first)
    counts = {
        "open at {} boundary edge{}": int((count == 1).sum()),
        "more than two faces meet at {} edge{}": int((count > 2).sum()),
        "faces are wound against each other across {} edge{}": int(((count == 2) & (forward != 1)).sum()),
    }
    phrases = [text.format(n, "s" if n > 1 else "") for text, n in counts.items() if n]
    return Edges(", ".join(phrases) or None, bool((2 * forward == count).all()))


def open_reason(faces: Int) -> str | None:
    """Say why faces do not form a closed, consistently wound surface.

    Args:
        faces: ``[F, 3]`` vertex indices.

    Returns:
        None if every edge lies between exactly two faces that traverse it in opposite directions;
        otherwise one phrase that counts the edges where this is not so.
    """
    return inspect_edges(faces).reason


def solid_properties(vertices: Float, faces: Int) -> tuple[float, Float]:
    """Compute volume and centre of mass of the body of uniform density inside a closed mesh.

    Uses the divergence theorem: the signed tetrahedra between a reference point and every face add up
    to the body. The reference is the centre of the bounding box, so that a body far from the origin
    loses no precision. Equivariant to rotation, translation and reflection. If the mesh is inside out, the
    volume is negative and the centre of mass is still right.

    Args:
        vertices: ``[V, 3]``.
        faces: ``[F, 3]``, closed and consistently wound (see :func:`open_reason`).

    Returns:
        The volume, and the ``[3]`` centre of mass (NaN if the volume is zero), float64.
    """
    origin = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    a, b, c = (np.asarray(vertices, np.float64) - origin)[faces.T]
    six_volumes = np.einsum("fd,fd->f", a, np.cross(b, c))
    total = six_volumes.sum()
    if total == 0:
        return 0.0, np.full(3, np.nan)
    return float(total / 6), origin + _weighted_sum(six_volumes, a + b + c) / (4 * total)


def solid_inertia(vertices: Float, faces: Int, com: Float) -> Float:
    """Compute the inertia tensor per unit mass, about the centre of mass, of the body inside a closed mesh.

    Uses the divergence theorem, as :func:`solid_properties`, of which it has the symmetry: it turns and
    reflects with the body as a tensor, and grows with the square of its size.

    Args:
        vertices: ``[V, 3]``.
        faces: ``[F, 3]``, closed and consistently wound, of a volume other than 0.
        com: ``[3]`` centre of mass.

    Returns:
        ``[3, 3]`` float64, square units of the vertices, in their axes.

    Source: Tonon, Explicit exact formulas for the 3-D tetrahedron inertia tensor, 2005.
    """
    a, b, c = (np.asarray(vertices, np.float64) - com)[faces.T]
    six_volumes = np.einsum("fd,fd->f", a, np.cross(b, c))
    second = np.zeros((3, 3))
    for corner in (a, b, c, a + b + c):
        weighted = six_volumes * np.ascontiguousarray(corner.T)
        for i in range(3):
            for j in range(i, 3):
                second[i, j] += (weighted[i] * corner[:, j]).sum() / (20 * six_volumes.sum())
    second = np.triu(second) + np.triu(second, 1).T
    result: Float = np.trace(second) * np.eye(3) - second
    return result


def mass_properties(bodies: Iterable[Body]) -> tuple[float, Float, Float]:
    """Compute mass, centre of mass and inertia of bodies that do not overlap.

    Returns:
        The mass; the ``[3]`` centre of mass ``sum(m c) / sum(m)``; and the ``[3, 3]`` inertia tensor about
        it, per unit mass, by the parallel axis theorem. All float64.
    """
    masses, centres, tensors = [], [], []
    for density, vertices, faces in bodies:
        volume, centre = solid_properties(vertices, faces)
        masses.append(density * volume)
        centres.append(centre)
        tensors.append(solid_inertia(vertices, faces, centre))
    mass = np.array(masses)
    com = _weighted_sum(mass, np.array(centres)) / mass.sum()
    inertia = np.zeros((3, 3))
    for share, centre, tensor in zip(mass / mass.sum(), centres, tensors, strict=True):
        away = centre - com
        inertia += share * (tensor + (away**2).sum() * np.eye(3) - np.outer(away, away))
    return float(mass.sum()), com, inertia


def _weighted_sum(weights: Float, vectors: Float) -> Float:
    """Compute ``weights @ vectors``; a matrix product's last bits would depend on the number of threads."""
    result: Float = (weights * np.ascontiguousarray(vectors.T)).sum(axis=1)
    return result


def shell_centroid(vertices: Float, faces: Int) -> Float:
    """Compute the centre of mass of the surface itself, with uniform thickness; the surface may be open.

    Args:
        vertices: ``[V, 3]``.
        faces: ``[F, 3]``, with any winding.

    Returns:
        ``[3]`` float64.

    Raises:
        MeshError: the surface has no area.
    """
    origin = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    a, b, c = (np.asarray(vertices, np.float64) - origin)[faces.T]
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    if not areas.sum() > 0:
        raise MeshError("the mesh has no area")
    result: Float = origin + _weighted_sum(areas, a + b + c) / (3 * areas.sum())
    return result


def winding_numbers(points: Float, vertices: Float, faces: Int) -> Int:
    """Count how often a surface without boundary goes around each point.

    A ray from the point in a direction that no mesh is aligned with: each face that it leaves through counts
    1, each that it enters through -1.

    Args:
        points: ``[N, 3]``, none on the surface.
        vertices: ``[V, 3]``.
        faces: ``[F, 3]``, as many through every edge in one direction as in the other.

    Returns:
        ``[N]`` int64: in a body 1, outside and in its cavities 0.
    """
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    origin = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    order = np.argsort(((points - origin) @ turn)[:, 1], kind="stable")
    x, y, z = ((points - origin) @ turn)[order].T
    corners = ((vertices - origin) @ turn)[faces]
    low, high = corners.min(axis=1), corners.max(axis=1)
    begin, end = np.searchsorted(y, low[:, 1]), np.searchsorted(y, high[:, 1], "right")
    near = np.flatnonzero((begin < end) & (high[:, 0] > x.min()))
    begin, num = begin[near], (end - begin)[near]
    blocks = np.split(np.arange(len(near)), np.flatnonzero(np.diff(np.cumsum(num) // _PAIRS)) + 1)
    winding = np.zeros(len(points), np.int64)
    for block in blocks:
        count = num[block]
        face = np.repeat(near[block], count)
        within = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
        point = np.repeat(begin[block], count) + within
        met = (low[face, 2] <= z[point]) & (z[point] <= high[face, 2]) & (high[face, 0] > x[point])
        face, point = face[met], point[met]
        a, b, c = (corners[face] - np.stack([x, y, z], axis=1)[point, None]).transpose(1, 2, 0)
        # The areas that the ray spans with the edges; an edge has opposite ones in its two faces.
        weights = np.stack([b[1] * c[2] - b[2] * c[1], c[1] * a[2] - c[2] * a[1], a[1] * b[2] - a[2] * b[1]])
        side = np.sign(weights).astype(np.int64)
        total = weights.sum(axis=0)
        hit = (np.abs(side.sum(axis=0)) == 3) & ((weights * [a[0], b[0], c[0]]).sum(axis=0) * total > 0)
        winding += np.bincount(point[hit], side[0, hit], len(points)).astype(np.int64)
    result = np.empty_like(winding)
    result[order] = winding
    return result


def is_in_hull(point: Float, vertices: Float) -> bool:
    """Tell whether a point lies in the convex hull of vertices, up to 1e-9 of their extent.

    Keeps a few vertices and the point of their hull that is nearest. While some vertex lies farther in the
    direction to the point, the farthest is added; if none lies as far as the point, it is outside.

    Args:
        point: ``[3]``.
        vertices: ``[V, 3]``.
    """
    from scipy.optimize import nnls

    local = vertices - point
    size = float(np.abs(local).max())
    local = local / (size or 1)
    chosen = [int(np.argmax(side)) for axis in local.T for side in (axis, -axis)]
    for _ in range(100):
        # Weights of a sum of 1, all >= 0, whose mean is nearest to the point.
        weights, _ = nnls(np.vstack([local[chosen].T, np.ones(len(chosen))]), np.array([0.0, 0, 0, 1]))
        nearest = weights @ local[chosen] / weights.sum()
        if np.linalg.norm(nearest) < 1e-9:
            return True
        reach = local @ nearest
        farthest = int(np.argmin(reach))
        if reach[farthest] > 1e-9 * np.linalg.norm(nearest):
            return False
        if farthest in chosen:
            return True  # within rounding
        chosen.append(farthest)
    return True
