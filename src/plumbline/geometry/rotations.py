"""Uniform random rotations and directions, as pure functions of the generator's state."""

import numpy as np

from plumbline.records import Float


def random_rotation(rng: np.random.Generator) -> Float:
    """Draw a rotation uniformly (Haar measure on SO(3)).

    Four independent normals give a direction uniform on the 3-sphere, that is, a uniform unit
    quaternion; the sphere covers SO(3) twice and evenly (Shoemake, "Uniform random rotations",
    Graphics Gems III, 1992).

    Args:
        rng: four standard normals are drawn from it.

    Returns:
        ``[3, 3]`` float64, orthogonal with determinant +1. It rotates column vectors; rotate points in rows
        by ``points @ rotation.T``.
    """
    quaternion = rng.standard_normal(4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def random_directions(rng: np.random.Generator, num: int) -> Float:
    """Draw unit vectors uniformly on the sphere.

    Args:
        rng: ``3 * num`` standard normals are drawn from it.
        num: number of vectors.

    Returns:
        ``[num, 3]`` float64 unit vectors.
    """
    vectors = rng.standard_normal((num, 3))
    result: Float = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return result
