"""Connected components of the pixels of a depth image."""

import math
from typing import NamedTuple

import numpy as np

from plumbline.geometry.cleaning import NEAR, joined
from plumbline.geometry.intrinsics import Intrinsics
from plumbline.records import Float, Int

_STEPS = ((1, -1), (1, 0), (1, 1))
"""Rows and columns from a pixel to its neighbours in the next row."""


class PixelComponents(NamedTuple):
    """Which pixels are connected.

    Attributes:
        component: ``[N]`` number of the component of each pixel.
        edges: number of pairs of neighbouring pixels that are connected.
    """

    component: Int
    edges: int


def pixel_components(points: Float, row: Int, column: Int, camera: Intrinsics) -> PixelComponents:
    """Find the connected components of pixels by their points; no tree is needed.

    Neighbouring pixels are connected if their points are nearer than ``NEAR`` times the distance of two
    pixels at their depth.

    Args:
        points: ``[N, 3]`` of these pixels, N > 0, in the frame of the camera.
        row, column: ``[N]`` their places, row by row.
        camera: that measured them.
    """
    row, column = row - row.min(), column - column.min()
    # A run is a connected part of a row. There are far fewer runs than pixels, and they are found at once.
    in_a_row = (row[1:] == row[:-1]) & (column[1:] == column[:-1] + 1)
    in_a_row &= _are_near(points[:-1].T, points[1:].T, 1 / camera.fx)
    run = np.concatenate([[0], np.cumsum(~in_a_row)])
    shape = row.max() + 1, column.max() + 1
    at = np.full((3, *shape), np.nan)  # what is not finite is near to nothing
    at[:, row, column] = points.T
    runs = np.zeros(shape, np.intp)
    runs[row, column] = run
    pairs, edges = [], int(np.count_nonzero(in_a_row))
    for down, right in _STEPS:
        here = slice(shape[0] - down), slice(max(-right, 0), shape[1] - max(right, 0))
        there = slice(down, None), slice(max(right, 0), shape[1] - max(-right, 0))
        pitch = math.hypot(down / camera.fy, right / camera.fx)
        near = _are_near(at[:, *here], at[:, *there], pitch)
        pair = np.stack([runs[here][near], runs[there][near]])
        edges += pair.shape[1]
        new = np.ones(pair.shape[1], bool)
        new[1:] = (pair[:, 1:] != pair[:, :-1]).any(axis=0)
        pairs.append(pair[:, new])
    joins = np.concatenate(pairs, axis=1)
    return PixelComponents(joined(joins[0], joins[1], run[-1] + 1)[run], edges)


def _are_near(one: Float, other: Float, pitch: float) -> np.ndarray:
    """Whether points ``[3, ...]`` are near each other; ``pitch``: distance of two such pixels at depth 1."""
    away = one - other
    near = NEAR * pitch * np.minimum(one[2], other[2])
    result: np.ndarray = np.einsum("i...,i...->...", away, away) <= near * near
    return result
