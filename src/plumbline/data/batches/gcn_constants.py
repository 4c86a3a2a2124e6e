"""Per-graph constants of a graph convolutional network, none of which depends on the weights."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from torch import Tensor

from plumbline.errors import InputError
from plumbline.records import Float, Int

_MOST_ENTRIES = 2**31 - 1


def check_entries(num: int) -> None:
    """Refuse more entries in one sparse matrix than its int32 indices can count.

    Raises:
        InputError: ``num`` is larger than 2**31 - 1.
    """
    if num > _MOST_ENTRIES:
        raise InputError(
            f"{num:,} edges at once are too many for a sparse matrix, which holds {_MOST_ENTRIES:,} at most: "
            "lower --batch_size or --batch_points, or prepare smaller graphs"
        )


class SparsePair(NamedTuple):
    """A sparse matrix ``[rows, cols]`` in CSR format and its transpose, which the backward pass needs.

    Row pointers and column indices are int32 (MKL and cuSPARSE accept these without a copy), values float32.
    """

    ptr: Tensor
    col: Tensor
    value: Tensor
    ptr_t: Tensor
    col_t: Tensor
    value_t: Tensor


class GCNTables(NamedTuple):
    """Constants of a graph convolutional network for one batch; they do not depend on the weights.

    ``A = D^-1/2 (adjacency + 1) D^-1/2`` is the symmetrically normalised adjacency (Kipf & Welling,
    "Semi-Supervised Classification with Graph Convolutional Networks", eq. 2; with in-degrees, as in PyTorch
    Geometric).

    Attributes:
        propagate: ``A`` of the whole batch, block-diagonal, ``[N, N]``.
        pool: ``P A``, where ``P`` is the mean over each graph's nodes, ``[G, N]``: propagation followed by
            global mean pooling, as one product.
        aggregated: ``A X`` of the node features ``X``, ``[N, F]`` float32.
    """

    propagate: SparsePair
    pool: SparsePair
    aggregated: Tensor


class GCNArrays(NamedTuple):
    """The content of :class:`GCNTables` for many graphs, as numpy arrays with indices local to each graph.

    ``degree`` counts the entries in a node's row of ``A`` (its in-edges and itself), ``degree_t`` those in
    its column; ``pool`` is the node's weight in ``P A``.
    """

    degree: Int
    col: Int
    value: Float
    degree_t: Int
    col_t: Int
    value_t: Float
    pool: Float
    aggregated: Float


def gcn_arrays(node_features: Float, in_degree: Int, edge_source: Int, node_ptr: Int) -> GCNArrays:
    """Compute the constants of a graph convolution for G graphs.

    Self loops are treated as in PyTorch Geometric's ``gcn_norm``: each node has exactly one, whether or not
    the edges already contain it. Parallel edges count as often as they occur.

    Args:
        node_features: ``[N, F]``.
        in_degree: ``[N]`` edges that end at each node.
        edge_source: ``[E]`` source of each edge, an index into all N nodes; edges are sorted by target.
        node_ptr: ``[G + 1]`` first node of each graph.

    Returns:
        The arrays; column indices are local: ``col - first node of the graph``.

    Raises:
        InputError: there are more entries than int32 can index.
    """
    num_nodes = len(node_features)
    check_entries(num_nodes + len(edge_source))
    nodes = np.arange(num_nodes, dtype=np.int32)
    target = np.repeat(nodes, in_degree)
    source = edge_source.astype(np.int32, copy=False)
    proper = source != target
    degree = in_degree.astype(np.int32) + 1
    if not proper.all():
        source, target = source[proper], target[proper]
        degree = np.bincount(target, minlength=num_nodes).astype(np.int32) + 1
    ptr = np.concatenate([[0], np.cumsum(degree)]).astype(np.int32)
    # Self loops come last in each row; the edges before them keep their order.
    col = np.empty(ptr[-1], np.int32)
    loop_at = ptr[1:] - 1
    is_edge = np.ones(len(col), bool)
    is_edge[loop_at] = False
    col[loop_at], col[is_edge] = nodes, source
    scale = 1.0 / np.sqrt(degree)
    value = (np.repeat(scale, degree) * scale[col]).astype(np.float32)
    matrix = sparse.csr_array((value, col, ptr), shape=(num_nodes, num_nodes))
    transpose = matrix.tocsc()
    sizes = np.diff(node_ptr)
    first = np.repeat(node_ptr[:-1].astype(np.int32), sizes)
    mean = np.repeat(1.0 / np.maximum(sizes, 1), sizes)
    return GCNArrays(
        degree=degree,
        col=col - np.repeat(first, degree),
        value=value,
        degree_t=np.diff(transpose.indptr).astype(np.int32),
        col_t=transpose.indices.astype(np.int32) - np.repeat(first, np.diff(transpose.indptr)),
        value_t=transpose.data,
        pool=(np.add.reduceat(transpose.data, transpose.indptr[:-1]) * mean).astype(np.float32),
        aggregated=(matrix @ node_features.astype(np.float64)).astype(np.float32),
    )
