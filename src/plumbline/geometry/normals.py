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
    offsets = points[neighbours[:, :k]] - points[:, None]
    # The point itself belongs to the neighbourhood: its zero offset only adds 1 to the count.
    count = offsets.shape[1] + 1
    mean = offsets.sum(axis=1) / count
    spread = offsets.transpose(0, 2, 1) @ offsets / count - mean[:, :, None] * mean[:, None, :]
    size = np.trace(spread, axis1=1, axis2=2)
    spread = spread / np.where(size > 0, size, 1.0)[:, None, None]
    spread += _TIE_BREAK * (np.eye(3) - towards[:, :, None] * towards[:, None, :])
    least, normals = _least_axes(spread)
    flip = np.einsum("ij,ij->i", normals, towards) < 0
    normals[flip] *= -1
    return Surface(normals, np.clip(least, 0.0, 1 / 3))


def _least_axes(matrices: Float) -> tuple[Float, Float]:
    """Find the least eigenvalues ``[N]`` of symmetric matrices and their unit eigenvectors ``[N, 3]``.

    The matrices ``[N, 3, 3]`` have a trace of about 1.

    Uses a closed form (Smith, Eigenvalues of a symmetric 3 x 3 matrix, 1961), which is ten times faster than
    LAPACK on thousands of small matrices; LAPACK solves the few ill-conditioned ones.
    """
    centre = np.trace(matrices, axis1=1, axis2=2) / 3
    shifted = matrices - centre[:, None, None] * np.eye(3)
    width = np.sqrt(np.maximum(np.einsum("nij,nij->n", shifted, shifted) / 6, 1e-300))
    half_det = _determinant(shifted) / (2 * width**3)
    angle = np.arccos(np.clip(half_det, -1, 1)) / 3
    least = 2 * width * np.cos(angle + 2 * np.pi / 3)
    rows = shifted - least[:, None, None] * np.eye(3)
    # The eigenvector is perpendicular to every row; the longest cross product is the most accurate.
    crossed = np.stack([np.cross(rows[:, i], rows[:, i - 1]) for i in range(3)], axis=1)
    length = np.einsum("nij,nij->ni", crossed, crossed)
    best = length.argmax(axis=1)[:, None]
    longest = np.take_along_axis(length, best, axis=1)[:, 0]
    axes = np.take_along_axis(crossed, best[:, :, None], axis=1)[:, 0]
    axes = axes / np.sqrt(np.maximum(longest, 1e-300))[:, None]
    weak = longest < _ILL_CONDITIONED
    if weak.any():
        axes[weak] = np.linalg.eigh(matrices[weak])[1][:, :, 0]
    return centre + least, axes


def _determinant(matrices: Float) -> Float:
    a, b, c = matrices[:, 0], matrices[:, 1], matrices[:, 2]
    result: Float = np.einsum("ni,ni->n", a, np.cross(b, c))
    return result
