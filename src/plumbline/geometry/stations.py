"""Where the sensors stood, found again from the direction in which each point saw its sensor.

A data set stores these directions and not the positions. The lines of sight of one view meet where its
sensor stood.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plumbline.records import Float, Int

_CANDIDATES = 16
"""Meeting points of a line with others that are tried."""
_ROUNDING = 1e-5
"""Lines meet if they pass within this fraction of the distance: a direction in float32 is off by a hundredth
of it."""
_PARALLEL = 1e-4
"""Angle between two lines, in radians, below which rounding decides where they meet."""


class Stations(NamedTuple):
    """Where the sensors of a scan stood.

    Attributes:
        sensor: ``[N, 3]`` position of the sensor of each point; NaN where ``view`` is -1.
        view: ``[N]`` int64 view of each point, ``0 .. S-1``; -1 where its line of sight meets no other.
    """

    sensor: Float
    view: Int


def find_stations(points: Float, towards: Float) -> Stations:
    """Find the positions of the sensors from the directions to them.

    Of the points where one line of sight meets others, the one that most lines go through is a station. This
    is repeated with the lines that are left.

    Args:
        points: ``[N, 3]``.
        towards: ``[N, 3]`` unit directions to the sensors. Both may have been rounded to float32.

    Returns:
        The stations, in the frame and unit of the points. Symmetry: E(3), and scale.
    """
    coarse = 4 * float(np.spacing(np.float32(np.abs(points).max(initial=0.0))))
    origin = points.mean(axis=0, dtype=np.float64) if len(points) else np.zeros(3)
    points, towards = points - origin, np.asarray(towards, np.float64)
    sensor, view = np.full(points.shape, np.nan), np.full(len(points), -1)
    left, number = np.arange(len(points)), 0
    while len(left):
        bundle = _largest_bundle(points[left], towards[left], coarse)
        mine = left[bundle]
        if len(mine) > 1:
            sensor[mine] = origin + _meeting_point(points[mine], towards[mine])
            view[mine] = number
            number += 1
        left = left[~bundle]
    return Stations(sensor, view)


def _largest_bundle(points: Float, towards: Float, coarse: float) -> NDArray[np.bool_]:
    """Tell which of the lines ``[n]`` meet the first one in one point; the first one is always among them.

    Source: Sunday, Distance between 3D Lines & Segments, 2012, for the nearest points of two lines.
    """
    best: NDArray[np.bool_] = np.arange(len(points)) == 0
    between = points - points[0]
    cosine = towards @ towards[0]
    square = np.linalg.norm(np.cross(towards, towards[0]), axis=1) ** 2
    oblique = square > _PARALLEL**2
    along = between @ towards[0] - cosine * (between * towards).sum(axis=1)
    along = np.where(oblique, along / np.where(oblique, square, 1.0), -1.0)
    places = points[0] + along[:, None] * towards[0]
    meeting = (along > 0) & _through(places, points, towards, coarse)
    for other in np.argsort(-np.where(meeting, square, 0.0), kind="stable")[:_CANDIDATES]:
        if not meeting[other]:
            break
        bundle = _through(places[other], points, towards, coarse)
        bundle[0] = True
        if bundle.sum() > best.sum():
            best = bundle
    return best


def _through(places: Float, points: Float, towards: Float, coarse: float) -> NDArray[np.bool_]:
    """Tell whether each line ``[n]`` passes through its place, in the direction of its sensor."""
    offset = places - points
    away = (offset * towards).sum(axis=1)
    gap = np.linalg.norm(offset - away[:, None] * towards, axis=1)
    # Where the place lies behind, the distance is negative and no gap small enough.
    result: NDArray[np.bool_] = gap <= _ROUNDING * away + coarse
    return result


def _meeting_point(points: Float, towards: Float) -> Float:
    """Compute the point ``[3]`` with the least sum of squared distances from lines."""
    across = np.eye(3) - towards[:, :, None] * towards[:, None, :]
    result: Float = np.linalg.solve(across.sum(axis=0), (across @ points[:, :, None]).sum(axis=0)[:, 0])
    return result
