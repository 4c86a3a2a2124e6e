"""A batch of graphs as a handful of flat tensors, and the graph constants that models ask for."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from plumbline.errors import InputError
from plumbline.records import Float, Int

_MOST_ENTRIES = 2**31 - 1


def check_entries(num: int) -> None:
    """Refuses more entries of one sparse matrix than its int32 indices can count."""
    if num > _MOST_ENTRIES:
        raise InputError(
            f"{num:,} edges at once, and a sparse matrix holds {_MOST_ENTRIES:,}: lower --batch_size, or "
            "prepare smaller graphs"
        )


class SparsePair(NamedTuple):
    """A sparse matrix ``[rows, cols]`` in CSR form beside its transpose, which the backward pass needs.

    Row pointers and column indices are int32 (what MKL and cuSPARSE take without a copy), values float32.
    """

    ptr: Tensor
    col: Tensor
    value: Tensor
    ptr_t: Tensor
    col_t: Tensor
    value_t: Tensor


class GCNTables(NamedTuple):
    """What a graph convolutional network needs of its graphs, none of which depends on the weights.

    With the symmetrically normalised adjacency ``A = D^-1/2 (adjacency + 1) D^-1/2`` (Kipf & Welling,
    "Semi-Supervised Classification with Graph Convolutional Networks", eq. 2; in-degrees, as in PyTorch
    Geometric):

    Attributes:
        propagate: ``A`` of the whole batch, block-diagonal, ``[N, N]``.
        pool: ``P A`` with ``P`` the mean over each graph's nodes, ``[G, N]``: propagation followed by
            global mean pooling is this one product.
        aggregated: ``A X`` of the node features ``X``, ``[N, F]`` float32.
    """

    propagate: SparsePair
    pool: SparsePair
    aggregated: Tensor


class Batch:
    """Everything a model may read about G graphs with N nodes and E edges. Stored frame.

    Not a dataclass on purpose: Lightning's half-precision plugins cast the tensors of every collection
    they know, and the geometry must stay in float32.

    Attributes:
        node_features: ``[N, F]`` float32.
        pos: ``[N, 3]`` float32.
        node_ptr: ``[G + 1]`` int64, first node of each graph.
        target: ``[G, 3]`` float32 centre of mass.
        bounding_radius: ``[G]`` float32, stored units.
        centre: ``[G, 3]`` float32 mean of each graph's positions.
        size: ``[G]`` float32 root mean square distance of the positions from it; 1 where they coincide.
        vectors: ``[G, W, 3]`` float32 vectors of the whole scan, stored units.
        index: ``[G]`` int64 position of each graph in its data set.
        edge_index: ``[2, E]`` int64, or None unless the model needs it.
        max_in_degree: most edges that end at one node, known on the host; 0 unless the model needs edges.
        edge_attr: ``[E, D]`` float32, or None unless the model needs it.
        gcn: the constants of a graph convolutional network, or None unless the model needs them.
        patches: ``[G, T, 1 + K]`` int64, or None unless the model needs it: T nodes of each graph in
            farthest-point order, each followed by its K nearest nodes, nearest first. A graph that has fewer
            repeats them, so any first few rows and columns are patches too.
    """

    __slots__ = (
        "bounding_radius",
        "centre",
        "edge_attr",
        "edge_index",
        "gcn",
        "index",
        "max_in_degree",
        "node_features",
        "node_ptr",
        "patches",
        "pos",
        "size",
        "target",
        "vectors",
    )

    def __init__(
        self,
        *,
        node_features: Tensor,
        pos: Tensor,
        node_ptr: Tensor,
        target: Tensor,
        bounding_radius: Tensor,
        centre: Tensor,
        size: Tensor,
        vectors: Tensor,
        index: Tensor,
        edge_index: Tensor | None = None,
        max_in_degree: int = 0,
        edge_attr: Tensor | None = None,
        gcn: GCNTables | None = None,
        patches: Tensor | None = None,
    ) -> None:
        self.node_features = node_features
        self.pos = pos
        self.node_ptr = node_ptr
        self.target = target
        self.bounding_radius = bounding_radius
        self.centre = centre
        self.size = size
        self.vectors = vectors
        self.index = index
        self.edge_index = edge_index
        self.max_in_degree = max_in_degree
        self.edge_attr = edge_attr
        self.gcn = gcn
        self.patches = patches

    @property
    def num_graphs(self) -> int:
        """G."""
        return len(self.node_ptr) - 1

    @property
    def num_nodes(self) -> int:
        """N."""
        return len(self.node_features)

    @property
    def graph_idx(self) -> Tensor:
        """``[N]`` int64, the graph of every node."""
        return torch.repeat_interleave(torch.diff(self.node_ptr), output_size=self.num_nodes)

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor of the batch."""
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, Tensor):
                yield value
            elif isinstance(value, GCNTables):
                yield from (*value.propagate, *value.pool, value.aggregated)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The same batch with ``change`` applied to every tensor."""

        def pair(tensors: SparsePair) -> SparsePair:
            return SparsePair(*(change(tensor) for tensor in tensors))

        values: dict[str, Any] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, GCNTables):
                values[name] = GCNTables(pair(value.propagate), pair(value.pool), change(value.aggregated))
            else:
                values[name] = change(value) if isinstance(value, Tensor) else value
        return Batch(**values)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The batch on a device; itself if it is there already."""
        if self.node_features.device == torch.device(device):
            return self
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory."""
        return self._map(lambda tensor: tensor.pin_memory())


class GCNArrays(NamedTuple):
    """:class:`GCNTables` of many graphs as numpy arrays with indices local to each graph.

    ``degree`` counts a node's entries in its row of ``A`` (in-edges and itself), ``degree_t`` those in its
    column; ``pool`` is the node's weight in ``P A``.
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
    """The constants of a graph convolution for G graphs.

    Self loops are treated as PyTorch Geometric's ``gcn_norm`` does: one per node, whether the edges held
    it already or not. Parallel edges count as often as they occur.

    Args:
        node_features: ``[N, F]``.
        in_degree: ``[N]`` edges that end at each node.
        edge_source: ``[E]`` source of each edge, counted over all N nodes, sorted by target.
        node_ptr: ``[G + 1]`` first node of each graph.

    Returns:
        Arrays with local indices: ``col - first node of the graph``.
    """
    num_nodes = len(node_features)
    check_entries(num_nodes + len(edge_source))
    nodes = np.arange(num_nodes, dtype=np.int32)
    target = np.repeat(nodes, in_degree)
    source = edge_source.astype(np.int32, copy=False)
    proper = source != target
    if not proper.all():
        source, target = source[proper], target[proper]
    degree = np.bincount(target, minlength=num_nodes).astype(np.int32) + 1
    ptr = np.concatenate([[0], np.cumsum(degree)]).astype(np.int32)
    # Self loops go last in each row; the edges keep their order before them.
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
        pool=(transpose.T.sum(axis=1) * mean).astype(np.float32),
        aggregated=(matrix @ node_features.astype(np.float64)).astype(np.float32),
    )
