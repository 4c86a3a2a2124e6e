"""Polygons, fans and strips cut into triangles."""

import numpy as np

from plumbline.records import Float, Int

_FLAT = 1e-9
"""A corner that turns inwards by at most this, relative to the polygon's area, counts as straight."""


def triangulate_polygons(vertices: Float, lengths: Int, indices: Int) -> Int:
    """Cut polygons into triangles that are wound like them.

    A convex polygon becomes a fan around its first vertex. One with an inward corner is cut in the plane that
    fits it best, so that no triangle is outside.

    Args:
        vertices: ``[V, 3]``.
        lengths: ``[n]`` number of corners of each polygon; one of fewer than 3 gives no triangle.
        indices: ``[sum of lengths]`` vertex indices of all polygons, in order.

    Returns:
        ``[F, 3]`` vertex indices, in the order of the polygons.
    """
    if (lengths == 3).all():
        return indices.reshape(-1, 3)
    faces = triangulate_fans(lengths, indices)
    start = np.cumsum(lengths) - lengths
    num = np.maximum(lengths - 2, 0)
    begin = np.cumsum(num) - num
    for length in np.unique(lengths[lengths > 3]).tolist():
        mine = np.flatnonzero(lengths == length)
        corners = vertices[indices[start[mine, None] + np.arange(length)]]
        with np.errstate(all="ignore"):  # vertices that are not finite are refused elsewhere
            inward = _has_inward_corner(corners)
        for one in mine[inward].tolist():
            own = indices[start[one] : start[one] + length]
            if (cut := _cut_in_plane(vertices[own])) is not None:
                faces[begin[one] : begin[one] + length - 2] = own[cut]
    return faces


def triangulate_fans(lengths: Int, indices: Int) -> Int:
    """Cut triangle fans into triangles ``[F, 3]``; the arguments are those of :func:`triangulate_strips`."""
    num = np.maximum(lengths - 2, 0)
    first = np.repeat(np.cumsum(lengths) - lengths, num)
    turn = np.arange(num.sum()) - np.repeat(np.cumsum(num) - num, num)
    return np.stack([indices[first], indices[first + turn + 1], indices[first + turn + 2]], axis=1)


def triangulate_with_holes(vertices: Float, lengths: Int, indices: Int) -> Int | None:
    """Cut a polygon with holes into triangles that are wound like its outline.

    Args:
        vertices: ``[V, 3]``.
        lengths: ``[n]`` number of corners of the outline and of each hole, which may be wound either way.
        indices: ``[sum of lengths]`` vertex indices of the outline and the holes, in order.

    Returns:
        ``[F, 3]`` vertex indices; None if the holes do not lie within the outline, or if they overlap.
    """
    from manifold3d import triangulate

    outline, *holes = np.split(indices, np.cumsum(lengths)[:-1])
    if lengths.min() < 3:
        return None
    with np.errstate(all="ignore"):
        normal = _normals(vertices[outline][None])[0]
        plane = _plane(normal)
        flat = [(vertices[own] - vertices[outline].mean(axis=0)) @ plane for own in (outline, *holes)]
        areas = np.array([_area(one) for one in flat])
    if not np.isfinite(areas).all():  # no plane fits, or products overflow
        return None
    turn = [1] + [1 if area < 0 else -1 for area in areas[1:]]
    cut = np.array(triangulate([one[::way] for one, way in zip(flat, turn, strict=True)]), np.int64)
    cut = cut.reshape(-1, 3)
    if len(cut) != len(indices) + 2 * len(holes) - 2:
        return None
    corners = np.concatenate([one[::way] for one, way in zip(flat, turn, strict=True)])[cut]
    pieces = np.array([_area(one) for one in corners])
    area = areas[0] - np.abs(areas[1:]).sum()
    if pieces.min() < -_FLAT * areas[0] or abs(pieces.sum() - area) > _FLAT * areas[0]:
        return None
    faces: Int = np.concatenate([own[::way] for own, way in zip((outline, *holes), turn, strict=True)])[cut]
    return faces


def triangulate_strips(lengths: Int, indices: Int) -> Int:
    """Cut triangle strips, which end at -1 or with their list, into triangles of the same winding.

    Args:
        lengths: ``[n]`` length of each list.
        indices: ``[sum of lengths]`` vertex indices, and -1 between strips.

    Returns:
        ``[F, 3]`` vertex indices; every second triangle of a strip is reversed.
    """
    last = np.zeros(len(indices), bool)
    last[np.cumsum(lengths)[lengths > 0] - 1] = True
    begins = np.roll(last | (indices < 0), 1)  # the number after a -1, or after the end of a list
    begins[:1] = True
    place = np.arange(len(indices))
    turn = place - np.maximum.accumulate(np.where(begins, place, 0))
    ahead = np.flatnonzero((turn >= 2) & (indices >= 0))
    a, b, c = indices[ahead - 2], indices[ahead - 1], indices[ahead]
    odd = turn[ahead] % 2 == 1
    return np.stack([np.where(odd, b, a), np.where(odd, a, b), c], axis=1)


def _area(flat: Float) -> float:
    """Area of a polygon ``[length, 2]``; negative if it is wound clockwise."""
    ahead = np.roll(flat, -1, axis=0)
    return float((flat[:, 0] * ahead[:, 1] - flat[:, 1] * ahead[:, 0]).sum()) / 2


def _plane(normal: Float) -> Float:
    """Compute two axes ``[3, 2]`` of a plane, in which a polygon of this normal is counter-clockwise."""
    u = np.cross(normal, np.eye(3)[np.argsort(np.abs(normal))[0]])
    v = np.cross(normal, u)
    return np.stack([u / np.linalg.norm(u), v / np.linalg.norm(v)], axis=1)


def _normals(corners: Float) -> Float:
    """Twice the area vectors of polygons ``[n, length, 3]``, by Newell's method: ``[n, 3]``."""
    local = corners - corners.mean(axis=1, keepdims=True)
    normals: Float = np.cross(local, np.roll(local, -1, axis=1)).sum(axis=1)
    return normals


def _has_inward_corner(corners: Float) -> np.ndarray:
    """Tell which polygons ``[n, length, 3]`` are not convex: ``[n]``."""
    normals = _normals(corners)
    ahead = np.roll(corners, -1, axis=1) - corners
    turns = np.einsum("nld,nd->nl", np.cross(np.roll(ahead, 1, axis=1), ahead), normals)
    inward: np.ndarray = (turns < -_FLAT * np.einsum("nd,nd->n", normals, normals)[:, None]).any(axis=1)
    return inward


def _cut_in_plane(corners: Float) -> Int | None:
    """Cut a polygon ``[length, 3]`` in its plane: ``[length - 2, 3]``, or None if it crosses itself there."""
    from manifold3d import triangulate

    normal = _normals(corners[None])[0]
    flat = (corners - corners.mean(axis=0)) @ _plane(normal)
    cut = np.array(triangulate([flat]), np.int64).reshape(-1, 3)
    if len(cut) != len(corners) - 2:
        return None
    a, b, c = flat[cut].transpose(1, 0, 2)
    b, c = b - a, c - a
    areas = b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0]
    return cut if areas.min() >= -_FLAT * areas.sum() else None
