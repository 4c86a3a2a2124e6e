"""Products of vectors, several times faster than those of numpy for a few thousand of them or fewer."""

import numpy as np

from plumbline.records import Float


def dot(a: Float, b: Float) -> Float:
    """Compute the dot products ``[R]`` of the rows of ``[R, 3]``."""
    result: Float = np.einsum("ij,ij->i", a, b)
    return result


def cross(a: Float, b: Float) -> Float:
    """Compute ``np.cross`` of ``[..., 3]``, digit for digit."""
    x, y, z = a[..., 0], a[..., 1], a[..., 2]
    u, v, w = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=-1)
