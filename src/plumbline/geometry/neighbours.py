"""Nearest neighbours among the points of a scan."""

import numpy as np
from scipy.spatial import cKDTree

from plumbline.errors import InputError
from plumbline.records import Float, Int


def nearest_neighbours(points: Float, k: int) -> Int:
    """Find the k nearest other points of every point.

    A point is never its own neighbour, no matter how many duplicates it has; duplicates are neighbours at
    distance zero. Equal distances are ordered by index.

    Args:
        points: ``[N, 3]``, N >= 2, finite.
        k: number of neighbours, at least 1; clipped to N - 1.

    Returns:
        ``[N, min(k, N - 1)]`` int64, nearest first.

    Raises:
        InputError: there are fewer than two points, or ``k`` is below 1.
    """
    num = len(points)
    if num < 2 or k < 1:
        raise InputError(f"{num} points and k = {k}: a graph needs at least two points and a k of at least 1")
    k = min(k, num - 1)
    # Ask for the point itself and one more than k: the extra one shows whether the last place is a tie.
    distance, index = cKDTree(points).query(points, k=min(k + 2, num))
    if (index[:, 0] == np.arange(num)).all() and (distance[:, 1:] > distance[:, :-1]).all():
        found: Int = index[:, 1 : k + 1]
        return found
    # With equal distances the tree's order is arbitrary, and a point may come after its duplicates.
    myself = index == np.arange(num)[:, None]
    distance[myself] = np.inf
    order = np.lexsort((index, distance), axis=-1)
    index = np.take_along_axis(index, order, axis=1)
    distance = np.take_along_axis(distance, order, axis=1)
    if distance.shape[1] > k:
        for row in np.flatnonzero(distance[:, k - 1] == distance[:, k]):
            index[row, :k] = _nearest_to(points, int(row), k)
    return index[:, :k].astype(np.int64)


def _nearest_to(points: Float, row: int, k: int) -> Int:
    square = ((points - points[row]) ** 2).sum(axis=1)
    square[row] = np.inf
    return np.argsort(square, kind="stable")[:k]
