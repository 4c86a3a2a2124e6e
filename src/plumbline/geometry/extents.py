"""Mean of points, and the axis-aligned box around them.

Numpy reduces the rows of an array with three columns one by one; its columns, copied, take a tenth.
"""

import numpy as np

from plumbline.records import Float


def box(points: Float) -> tuple[Float, Float]:
    """The lowest and the highest corner ``[3]`` of the axis-aligned box around points ``[N, 3]``, N >= 1."""
    columns = np.ascontiguousarray(points.T)
    return columns.min(axis=1), columns.max(axis=1)


def extents(points: Float) -> Float:
    """Compute the lengths ``[3]`` of the axis-aligned box around points ``[N, 3]``, N >= 1."""
    low, high = box(points)
    lengths: Float = high - low
    return lengths


def mean_point(points: Float) -> Float:
    """Compute the mean ``[3]`` of points ``[N, 3]``, N >= 1."""
    mean: Float = np.ascontiguousarray(points.T).mean(axis=1)
    return mean
