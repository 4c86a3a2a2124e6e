"""Choosing some of many points."""

from typing import Literal

import numpy as np

from plumbline.errors import InputError
from plumbline.records import Float, Int, Sampling, Scan

_THINNING = 4
"""Farthest-point sampling starts from at most this many times the points that are wanted."""
_COINCIDENT = 1e-14
"""Squared distances, relative to the squared size, that are rounding error."""


def farthest_points(points: Float, num: int, start: int | None = None) -> Int:
    """Farthest-point sampling: each next point is the one farthest from all chosen so far.

    The order matters: any prefix of the answer is itself a farthest-point sample. Distances decide alone,
    so the choice is invariant to rotation, reflection, translation and scale (up to exact ties, which the
    lowest index wins). When only points are left that coincide with chosen ones (within a ten-millionth of
    the size), they follow by index.

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
    centred = np.asarray(points, dtype=np.float64) - points.mean(axis=0)
    half = np.einsum("ij,ij->i", centred, centred) / 2
    if start is None:
        start = int(half.argmax())
    # |p - q|^2 / 2 = |p|^2 / 2 + |q|^2 / 2 - p.q as one product of five numbers: one BLAS call a step.
    ones = np.ones(len(points))
    seeds = np.column_stack([-centred, half, ones])
    columns = np.ascontiguousarray(np.column_stack([centred, ones, half]).T)
    resolution = _COINCIDENT * float(half.max())
    chosen = np.empty(num, dtype=np.int64)
    nearest, gap = np.full(len(points), np.inf), np.empty(len(points))
    for i in range(num):
        chosen[i] = start
        np.dot(seeds[start], columns, out=gap)
        np.minimum(nearest, gap, out=nearest)
        nearest[start] = -np.inf
        start = int(nearest.argmax())
        if nearest[start] <= resolution:
            left = np.flatnonzero(nearest > -np.inf)
            chosen[i + 1 :] = left[: num - i - 1]
            break
    return chosen


def choose_points(points: Float, num: int, *, sampling: Sampling, order: Int) -> Int:
    """Choose points of a scan by farthest-point or by random sampling.

    Farthest-point sampling starts from a random subset four times as large as wanted: that bounds its
    work, and the spread of the points it chooses hardly suffers.

    Args:
        points: ``[N, 3]``.
        num: how many; all where there are no more.
        sampling: ``"farthest"`` or ``"random"``.
        order: ``[N]`` a random permutation, the only source of chance.

    Returns:
        ``[min(num, N)]`` int64 indices in the order of sampling.
    """
    num = min(num, len(points))
    if sampling == "random":
        return order[:num]
    candidates = order[: _THINNING * num]
    return candidates[farthest_points(points[candidates], num)]


def draw_sampling(sampling: Sampling | Literal["mixed"], rng: np.random.Generator) -> Sampling:
    """One of the two ways: ``"mixed"`` draws it, the others take nothing from the generator."""
    if sampling != "mixed":
        return sampling
    return "farthest" if rng.random() < 0.5 else "random"


def thin_scan(scan: Scan, num: int, *, sampling: Sampling, rng: np.random.Generator) -> Scan:
    """A scan of at most ``num`` points, chosen as in simulated scans. Frame, views and truth stay."""
    kept = choose_points(scan.points, num, sampling=sampling, order=rng.permutation(len(scan.points)))
    return Scan(scan.points[kept], scan.sensor[kept], scan.view[kept], scan.com, scan.bounding_radius)
