"""Products of vectors whose components are rows, several times faster than those of numpy's rows of three."""

import numpy as np

from plumbline.records import Float


def dot(a: Float, b: Float) -> Float:
    """Compute the dot products ``[...]`` of vectors ``[3, ...]``."""
    # The order in which np.einsum adds them, so that data sets keep their last digits.
    result: Float = a[0] * b[0] + a[2] * b[2] + a[1] * b[1]
    return result


def cross(a: Float, b: Float) -> Float:
    """Compute the cross products ``[3, ...]`` of vectors ``[3, ...]``."""
    x, y, z = a
    u, v, w = b
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u])
