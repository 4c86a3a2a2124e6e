"""Constants of a graph for equivariant models: its centre and size, and patches that cover it."""

import numpy as np

from plumbline.data.store.reader import Gathered
from plumbline.data.store.tensors import offsets
from plumbline.geometry.sampling import farthest_points
from plumbline.records import Float, Int

TOKENS = 64
"""Patches per graph; a model uses the first few."""
NEIGHBOURS = 16
"""Nodes of a patch in addition to its centre, if the graph is not known to be a k-nearest-neighbour graph."""


def centre_and_size(pos: Float, node_ptr: Int) -> tuple[Float, Float]:
    """Compute each graph's mean position ``[G, 3]`` and the root mean square distance from it ``[G]``.

    If all positions of a graph coincide, or nearly (in float32, their size would be zero or lose its digits),
    its size is 1. Sums are computed in float64.
    """
    counts = np.diff(node_ptr)
    wide = pos.astype(np.float64)
    centre = np.add.reduceat(wide, node_ptr[:-1], axis=0) / counts[:, None]
    square = ((wide - np.repeat(centre, counts, axis=0)) ** 2).sum(axis=1)
    size = np.sqrt(np.add.reduceat(square, node_ptr[:-1]) / counts)
    least = np.finfo(np.float32).tiny
    return centre.astype(pos.dtype), np.where(size >= least, size, 1.0).astype(pos.dtype)


def patches(flat: Gathered, *, leaders: int, k: int | None) -> Int:
    """Find the patches of each graph: ``[G, T, 1 + K]`` int32 local node indices, see ``Batch``.

    Args:
        flat: the graphs.
        leaders: number of leading nodes that are already in farthest-point order.
        k: neighbours per node, if the graph joins every node to its k nearest, nearest first; None for any
            other kind of graph.
    """
    sizes = np.diff(flat.node_ptr)
    if leaders >= TOKENS and k is not None:
        return _from_edges(flat, sizes, k)
    pieces = [_from_points(flat.pos[a:b]) for a, b in zip(flat.node_ptr[:-1], flat.node_ptr[1:], strict=True)]
    return np.stack(pieces)


def _from_edges(flat: Gathered, sizes: Int, k: int) -> Int:
    token = np.arange(TOKENS) % sizes[:, None]
    node = flat.node_ptr[:-1, None] + token
    first = offsets(flat.in_degree)[node]
    degree = flat.in_degree[node]
    column = np.arange(k) % np.maximum(degree, 1)[:, :, None]
    found = flat.edge_source[first[:, :, None] + column] - flat.node_ptr[:-1, None, None]
    return np.concatenate([token[:, :, None], found], axis=2).astype(np.int32)


def _from_points(pos: Float) -> Int:
    points = pos.astype(np.float64)
    token = farthest_points(points, min(TOKENS, len(points)))
    away = ((points[token, None] - points) ** 2).sum(axis=2)
    away[np.arange(len(token)), token] = -1.0
    nearest = np.argsort(away, axis=1, kind="stable")[:, : NEIGHBOURS + 1]
    rows = np.arange(TOKENS) % len(token)
    others = max(nearest.shape[1] - 1, 1)
    columns = 1 + np.arange(NEIGHBOURS) % others if nearest.shape[1] > 1 else np.zeros(NEIGHBOURS, np.int64)
    return nearest[rows][:, np.concatenate([[0], columns])].astype(np.int32)
