"""Surface normals of a scan."""

from typing import NamedTuple

import numpy as np

from plumbline.geometry.neighbours import nearest_neighbours
from plumbline.records import Float, Int

_TIE_BREAK = 1e-9
"""Relative weight of the sensor's direction, which decides if the points alone do not define the normal."""
_ILL_CONDITIONED = 1e-12
"""Squared length of the closed form's vector below which a full eigendecomposition is used instead."""


class Surface(NamedTuple):
    """The surface around each point.

    Attributes:
        normal: ``[N, 3]`` unit vectors with ``(normal * towards).sum(1) >= 0``.
        curvature: ``[N]`` share of the neighbourhood's variance perpendicular to its plane, 0 to 1/3.
    """

    normal: Float
    curvature: Float


def estimate_surface(points: Float, towards: Float, k: int = 16, neighbours: Int | None = None) -> Surface:
    """Estimate normals and curvature by principal components of each point and its nearest neighbours.

    Equivariant to rotations and reflections of points and sensor together, invariant to translation and
    scale. Normals point towards the sensor. If the neighbourhood is a line or a single position, the normal
    is the possible direction nearest to the direction of the sensor.

    Args:
        points: ``[N, 3]``, N >= 2.
        towards: ``[N, 3]`` unit vectors from each point to the sensor that measured it.
        k: neighbours of each point, clipped to N - 1.
        neighbours: ``[N, >=k]`` indices of the neighbours, nearest first, if already known.

    Source: Hoppe et al., Surface reconstruction from unorganized points, 1992; Pauly et al., Efficient
    Simplification of Point-Sampled Surfaces, 2002 (surface variation).
    """
    if neighbours is None:
        neighbours = nearest_neighbours(points, k)
    # The last axis counts the points: numpy is several times faster on long rows than on many small matrices.
    columns = np.ascontiguousarray(points.T)
    offsets = columns.take(neighbours.T[:k], axis=1) - columns[:, None]
    # The point itself belongs to the neighbourhood: its zero offset only adds 1 to the count.
    count = offsets.shape[1] + 1
    mean = offsets.sum(axis=1) / count
    spread = np.einsum("ikn,jkn->ijn", offsets, offsets) / count - mean[:, None] * mean
    size = spread[0, 0] + spread[1, 1] + spread[2, 2]
    spread /= np.where(size > 0, size, 1.0)
    away = towards.T
    spread += _TIE_BREAK * (np.eye(3)[:, :, None] - away[:, None] * away)
    least, normals = _least_axes(spread)
    normals[np.einsum("ij,ij->i", normals, towards) < 0] *= -1
    return Surface(normals, np.clip(least, 0.0, 1 / 3))


def _least_axes(matrices: Float) -> tuple[Float, Float]:
    """Find the least eigenvalues ``[N]`` of symmetric matrices and their unit eigenvectors ``[N, 3]``.

    The matrices ``[3, 3, N]`` have a trace of about 1.

    Uses a closed form (Smith, Eigenvalues of a symmetric 3 x 3 matrix, 1961), which is ten times faster than
    LAPACK on thousands of small matrices; LAPACK solves the few ill-conditioned ones.
    """
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = matrices
    centre = (xx + yy + zz) / 3
    xx, yy, zz = xx - centre, yy - centre, zz - centre
    square = xx * xx + yy * yy + zz * zz + 2 * (xy * xy + xz * xz + yz * yz)
    width = np.sqrt(np.maximum(square / 6, 1e-300))
    determinant = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    angle = np.arccos(np.clip(determinant / (2 * width**3), -1, 1)) / 3
    least = 2 * width * np.cos(angle + 2 * np.pi / 3)
    xx, yy, zz = xx - least, yy - least, zz - least
    # The eigenvector is perpendicular to every row; the longest cross product of two is the most accurate.
    a, b, c = xy * yz - yy * xz, xy * xz - xx * yz, xz * yz - xy * zz
    crossed = np.stack([[c, xx * zz - xz * xz, b], [a, b, xx * yy - xy * xy], [yy * zz - yz * yz, c, a]])
    length = np.einsum("ijn,ijn->in", crossed, crossed)
    best, row = length.argmax(axis=0), np.arange(matrices.shape[2])
    longest = length[best, row]
    axes = crossed[best, :, row] / np.sqrt(np.maximum(longest, 1e-300))[:, None]
    weak = longest < _ILL_CONDITIONED
    if weak.any():
        axes[weak] = np.linalg.eigh(matrices[:, :, weak].transpose(2, 0, 1))[1][:, :, 0]
    return centre + least, axes
