"""Missing returns: rows of a scan for which the sensor measured nothing.

Drivers of depth cameras and LiDARs write ``0 0 0``, NaN or infinity for a pixel without a return. Such rows
are not points of the object, so they are left out, counted and reported.
"""

from dataclasses import replace

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.spheres import bounding_sphere
from plumbline.records import Cloud, Float

_FEWEST = 2
"""This many rows of exact zeros are missing returns: no two measured points are equal to the last bit."""
_APART = 2.0
"""A single row of 0 0 0 is a missing return if it is this many radii away from the other points."""
LARGEST_SQUARED = 1e100
"""Below it no square overflows. Larger coordinates come from damaged bytes."""


def zero_rows(points: Float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Mark the rows ``[N]`` that are exactly 0 0 0."""
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = points[:, 0] == 0
    if found.any():
        found &= (points[:, 1] == 0) & (points[:, 2] == 0)
    return found


def are_missing_returns(zeros: int) -> bool:
    """Tell whether this many rows of 0 0 0 mean missing returns; a single one may be a point."""
    return zeros >= _FEWEST


def _are_far(points: Float) -> bool:
    """Tell whether all points ``[N, 3]`` are far from 0 0 0."""
    if not len(points) or not (np.abs(points) < LARGEST_SQUARED).all():
        return False  # damaged, and refused later
    centre, radius = bounding_sphere(points)
    return bool(np.linalg.norm(centre) > _APART * radius)


def without_missing(cloud: Cloud, *, organised: bool) -> Cloud:
    """Leave out the missing returns of a file.

    Args:
        cloud: points as the file has them.
        organised: whether they are the pixels of an image. Then rows that are not finite are missing returns,
            too, and so is a single row of 0 0 0. In other clouds it is one only far from all other points: it
            may be a corner of the object at the origin of its frame.

    Returns:
        The cloud without these rows; ``dropped`` and ``loss`` say how many were left out.

    Raises:
        InputError: no row is left; the message names the cloud.
    """
    points = cloud.points
    zeros = zero_rows(points)
    if not organised:
        number = int(np.count_nonzero(zeros))
        if not are_missing_returns(number) and not (number and _are_far(points[~zeros])):
            return cloud
    broken = ~np.isfinite(points).all(axis=1) if organised else np.zeros(len(points), bool)
    keep = ~(zeros | broken)
    lost = int(np.count_nonzero(~keep))
    if not lost:
        return cloud
    if lost == len(points):
        raise InputError(
            f"{cloud.name} has no points: all {lost} rows are missing returns; give another scan"
        )
    written = " or ".join(
        text for text, rows in (("0 0 0", zeros), ("NaN or infinite", broken)) if rows.any()
    )
    which = "is a missing return" if lost == 1 else "are missing returns"
    per_point = cloud.sensor is not None and cloud.sensor.shape == points.shape
    return replace(
        cloud,
        points=points[keep],
        sensor=cloud.sensor[keep] if cloud.sensor is not None and per_point else cloud.sensor,
        dropped=cloud.dropped + lost,
        loss=f"{lost:,} of {len(points):,} rows {which} ({written}), left out",
    )
