"""Choosing some of many points."""

import numpy as np

from plumbline.errors import InputError
from plumbline.records import Float, Int


def farthest_points(points: Float, num: int, start: int | None = None) -> Int:
    """Farthest-point sampling: each next point is the one farthest from all chosen so far.

    The order matters: any prefix of the answer is itself a farthest-point sample. Distances decide alone,
    so the choice is invariant to rotation, reflection, translation and scale (up to exact ties, which the
    lowest index wins).

    Args:
        points: ``[N, 3]``.
        num: how many to choose, at most N.
        start: the first one; by default the point farthest from the mean.

    Returns:
        ``[num]`` int64 indices.

    Source: Gonzalez, Clustering to minimize the maximum intercluster distance, 1985.
    """
    if not 0 < num <= len(points):
        raise InputError(f"cannot choose {num} of {len(points)} points; ask for 1 to {len(points)}")
    centred = points - points.mean(axis=0)
    if start is None:
        start = int(np.argmax(np.einsum("ij,ij->i", centred, centred)))
    # Rows x, y, z: contiguous sums, and exact zeros for the chosen points themselves.
    columns = np.ascontiguousarray(centred.T, dtype=np.float64)
    chosen = np.empty(num, dtype=np.int64)
    nearest = np.full(len(points), np.inf)
    offset, square = np.empty_like(columns), np.empty(len(points))
    for i in range(num):
        chosen[i] = start
        np.subtract(columns, columns[:, start, None], out=offset)
        np.einsum("ij,ij->j", offset, offset, out=square)
        np.minimum(nearest, square, out=nearest)
        # A duplicate of a chosen point stays eligible, the chosen point itself does not.
        nearest[start] = -1.0
        start = int(nearest.argmax())
    return chosen


def random_points(rng: np.random.Generator, total: int, num: int) -> Int:
    """``[num]`` int64 different indices below ``total``, uniformly at random, in random order."""
    if not 0 < num <= total:
        raise InputError(f"cannot choose {num} of {total} points; ask for 1 to {total}")
    return rng.permutation(total)[:num]
