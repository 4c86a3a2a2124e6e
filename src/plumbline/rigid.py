"""Rigid motions as matrices ``[4, 4]``: what is one, up to the digits of a file."""

import numpy as np

from plumbline.records import Float

_DIGITS = 1e-3
"""How far a rotation may be from an exact one, in each number; files have three decimals at least."""


def not_rigid(matrix: Float) -> str | None:
    """Say why a matrix is not a rotation and a translation above a row 0 0 0 1; None if it is."""
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        return "it is not 4 x 4 finite numbers"
    if np.abs(matrix[3] - (0, 0, 0, 1)).max() > _DIGITS:
        return "its last row is not 0 0 0 1"
    rotation = matrix[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _DIGITS:
        return "its first three rows and columns are no rotation"
    return "it mirrors" if np.linalg.det(rotation) < 0 else None
