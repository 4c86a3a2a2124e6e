"""Size of the axis-aligned box around points."""

import numpy as np

from plumbline.records import Float


def extents(points: Float) -> Float:
    """Compute the lengths ``[3]`` of the axis-aligned box around points ``[N, 3]``, N >= 1.

    Numpy reduces the rows of an array with three columns one by one; its columns, copied, take a tenth.
    """
    columns = np.ascontiguousarray(points.T)
    lengths: Float = columns.max(axis=1) - columns.min(axis=1)
    return lengths
