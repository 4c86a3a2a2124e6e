"""Subsample point clouds, by farthest-point or random sampling."""

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plumbline.errors import InputError
from plumbline.records import Float, Int, Sampling, Scan

THINNING = 4
"""Farthest-point sampling starts from at most this many times the number of points to choose."""
_COINCIDENT = 1e-14
"""Largest squared distance, relative to the squared size, that counts as rounding error."""


def farthest_points(points: Float, num: int) -> Int:
    """Choose points by farthest-point sampling: each next point is the farthest from all chosen so far.

    The first is the point farthest from the mean. Every prefix of the result is itself a farthest-point
    sample. The choice depends only on distances, so it is invariant to rotation, reflection, translation and
    scale (except for exact ties, which the lowest index wins). If all remaining points coincide with chosen
    ones (within a ten-millionth of the size), they follow in the order of their indices.

    Args:
        points: ``[N, 3]``.
        num: number of points to choose, at least 1 and at most N.

    Returns:
        ``[num]`` int64 indices.

    Raises:
        InputError: ``num`` is out of range.

    Source: Gonzalez, Clustering to minimize the maximum intercluster distance, 1985.
    """
    if not 0 < num <= len(points):
        raise InputError(f"cannot choose {num} of {len(points)} points; choose 1 to {len(points)}")
    centred = np.asarray(points, dtype=np.float64) - points.mean(axis=0)
    half = np.einsum("ij,ij->i", centred, centred) / 2
    start = half.argmax()
    # |p - q|^2 / 2 = |p|^2 / 2 + |q|^2 / 2 - p.q as a dot product of five numbers: one BLAS call per step.
    ones = np.ones(len(points))
    seeds = np.column_stack([-centred, half, ones])
    columns = np.ascontiguousarray(np.column_stack([centred, ones, half]).T)
    resolution = _COINCIDENT * float(half.max())
    chosen = np.empty(num, dtype=np.int64)
    nearest, gap = np.full(len(points), np.inf), np.empty(len(points))
    for i in range(num):
        chosen[i] = start
        np.dot(seeds[start], columns, gap)
        np.minimum(nearest, gap, out=nearest)
        start = nearest.argmax()
        if nearest[start] <= resolution:  # as those of the chosen points are
            left = np.delete(np.arange(len(points)), chosen[: i + 1])
            chosen[i + 1 :] = left[: num - i - 1]
            break
    return chosen


def choose_points(points: Float, num: int, *, sampling: Sampling, order: Int) -> Int:
    """Choose points of a scan by farthest-point or by random sampling.

    Farthest-point sampling starts from a random subset of four times as many points as are chosen. This
    limits its cost, and the chosen points are spread almost as well.

    Args:
        points: ``[N, 3]``.
        num: number of points to choose; all points if there are fewer.
        sampling: ``"farthest"`` or ``"random"``.
        order: ``[N]`` a random permutation, the only source of randomness.

    Returns:
        ``[min(num, N)]`` int64 indices in the order of sampling.
    """
    num = min(num, len(points))
    if sampling == "random":
        return order[:num]
    candidates = order[: THINNING * num]
    return candidates[farthest_points(points[candidates], num)]


def draw_sampling(sampling: Sampling | Literal["mixed"], rng: np.random.Generator) -> Sampling:
    """Resolve ``"mixed"`` to one of the two methods at random; the others draw nothing from the generator."""
    if sampling != "mixed":
        return sampling
    return "farthest" if rng.random() < 0.5 else "random"


def thin_scan(scan: Scan, num: int, *, sampling: Sampling, rng: np.random.Generator) -> Scan:
    """Reduce a scan to at most ``num`` points, chosen as in simulated scans; all else is unchanged.

    Frame, view numbers, centre of mass and bounding radius stay the same.
    """
    kept = choose_points(scan.points, num, sampling=sampling, order=rng.permutation(len(scan.points)))
    return take_points(scan, kept)


def take_points(scan: Scan, kept: Int | NDArray[np.bool_]) -> Scan:
    """The scan with some of its points, given by their indices or by a mask; all else is unchanged."""
    index = np.flatnonzero(kept) if kept.dtype == bool else kept  # taking rows is a third of masking them
    return replace(
        scan,
        points=scan.points.take(index, axis=0),
        sensor=scan.sensor.take(index, axis=0),
        view=scan.view.take(index),
    )
