"""The cameras that took a scan, and the rays of their pixels."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from plumbline.errors import InputError
from plumbline.geometry.intrinsics import Intrinsics, matrix_intrinsics
from plumbline.records import Float

_MOST_PIXELS = 16_000_000
"""More pixels than a depth camera has: the object fills the view, or the pixels were found wrongly."""
_POOR_FIT = 1.0
"""A point farther from its pixel than this, in the median, is not the point of that pixel."""


class Camera(NamedTuple):
    """A pinhole camera in the frame of a scan.

    Attributes:
        position: ``[3]``.
        axes: ``[3, 3]`` unit rows: right, down, forward.
        intrinsics: in pixels; whole numbers are the centres of pixels.
    """

    position: Float
    axes: Float
    intrinsics: Intrinsics


def find_cameras(
    points: Float,
    sensor: Float,
    *,
    matrix: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    name: str = "the scan",
) -> list[Camera]:
    """Find the cameras that took a scan, one for each position of the sensor.

    With a camera matrix, or a mask of the points' pixels, the frame of the points is that of the camera: x
    right, y down, z forward. Otherwise, and for several views, the pixels are a square grid as fine as the
    directions of the points; how it was rolled is not known, and not needed.

    Args:
        points: ``[N, 3]``.
        sensor: ``[3]`` or ``[N, 3]``.
        matrix: ``[3, 3]`` camera matrix.
        mask: ``[H, W]``, not 0 at the pixels of the points, which are in the order of its rows.
        name: what error messages call the scan.

    Raises:
        InputError: the matrix is not a camera matrix, the points are not those of the mask, or all are in one
            direction.
    """
    positions, view = np.unique(np.broadcast_to(sensor, points.shape), axis=0, return_inverse=True)
    if len(positions) == 1 and matrix is not None:
        return [Camera(positions[0], np.eye(3), matrix_intrinsics(matrix, f"{name}, K"))]
    if len(positions) == 1 and mask is not None and np.count_nonzero(mask) == len(points):
        return [Camera(positions[0], np.eye(3), _fitted(points - positions[0], mask != 0, name))]
    return [_as_fine(points[view.ravel() == i], place, name) for i, place in enumerate(positions)]


def pixel_rays(camera: Camera, shown: Float, name: str = "the scan") -> Float:
    """The rays through all pixels of the rectangle around what a camera shows.

    Args:
        camera: the camera.
        shown: ``[V, 3]`` corners of what it shows, in the frame of the scan.
        name: what error messages call the scan.

    Returns:
        ``[R, 3]`` unit vectors in the frame of the scan.

    Raises:
        InputError: a corner is not in front of the camera, or the rectangle has more pixels than any camera.
    """
    x, y, z = camera.axes @ (shown - camera.position).T
    if (z <= 0).any():
        raise InputError(
            f"{name}: the mesh, placed by pose, is not in front of the sensor; pose must map the mesh to the "
            "frame of the points"
        )
    fx, fy, cx, cy = camera.intrinsics
    column, row = x / z * fx + cx, y / z * fy + cy
    low = np.floor([column.min(), row.min()])
    high = np.ceil([column.max(), row.max()])
    if (high - low + 1).prod() > _MOST_PIXELS:
        raise InputError(
            f"{name}: the mesh covers more than {_MOST_PIXELS:,} pixels of the camera; check K and pose"
        )
    columns, rows = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    rays = np.stack([(columns.ravel() - cx) / fx, (rows.ravel() - cy) / fy, np.ones(columns.size)], axis=1)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    turned: Float = rays @ camera.axes
    return turned


def _fitted(points: Float, mask: NDArray[np.bool_], name: str) -> Intrinsics:
    """The intrinsics with which points in the camera's frame fall on the pixels of a mask, least squares."""
    row, column = np.nonzero(mask)
    (fx, cx), across = _line(points[:, 0] / points[:, 2], column)
    (fy, cy), down = _line(points[:, 1] / points[:, 2], row)
    if not max(across, down) <= _POOR_FIT:  # written so that NaN is refused
        raise InputError(
            f"{name}: the points are not those of the mask, row by row; give the camera matrix K, or leave "
            "the mask out"
        )
    return Intrinsics(fx, fy, cx, cy)


def _line(slope: Float, pixel: np.ndarray) -> tuple[tuple[float, float], float]:
    """Fit ``pixel = f * slope + c``; returns (f, c) and the median distance from it in pixels."""
    table = np.stack([slope, np.ones(len(slope))], axis=1)
    f, c = np.linalg.lstsq(table, pixel, rcond=None)[0].tolist()
    return (f, c), float(np.median(np.abs(table @ (f, c) - pixel)))


def _as_fine(points: Float, position: Float, name: str) -> Camera:
    """A camera that looks at the points, with pixels as fine as their directions."""
    away = points - position
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    forward = away.mean(axis=0)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, np.eye(3)[np.argmin(np.abs(forward))])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(forward, right), forward])
    x, y, z = axes @ away.T
    flat = np.stack([x[z > 0], y[z > 0]], axis=1) / z[z > 0, None]
    gap = cKDTree(flat).query(flat, k=[2])[0] if len(flat) > 1 else np.zeros(0)
    gap = gap[np.isfinite(gap) & (gap > 0)]
    if not len(gap):
        raise InputError(f"{name}: all points of a view are in one direction from its sensor")
    focal = 1 / float(np.median(gap))
    return Camera(position, axes, Intrinsics(focal, focal, 0.0, 0.0))
