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
_ALIGNMENT = 64
"""Bytes: a row of the processor's cache, as PyTorch aligns its own tensors."""


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

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The batch on a device, sent as one block of memory; itself if it is there already."""
        if self.node_features.device == torch.device(device):
            return self
        block, places = self.as_block()
        return Batch.of_block(block.to(device, non_blocking=non_blocking), places)

    def pin_memory(self) -> "Batch":
        """The batch in one block of page-locked memory."""
        block, places = self.as_block()
        return Batch.of_block(block.pin_memory(), places)

    def packed(self) -> "Batch":
        """The same batch in one block of memory."""
        return Batch.of_block(*self.as_block())

    def __reduce__(self) -> tuple[Callable[..., "Batch"], tuple[Any, ...]]:
        """Pickled as a block: reader processes send each tensor as an open file, and a batch has twenty."""
        return Batch.of_block, self.as_block()

    def as_block(self, room: Tensor | None = None) -> tuple[Tensor, dict[str, Any]]:
        """All tensors in one, aligned as PyTorch aligns its own, and where each is.

        Args:
            room: ``[bytes]`` uint8 that is filled if it is large enough and they are not in one already.

        Returns:
            ``[bytes]`` uint8, and the attributes with places instead of tensors, for :meth:`of_block`.
            Strides and shared storages stay what they are.
        """
        storages = _Storages()
        places = _mapped({name: getattr(self, name) for name in self.__slots__}, Tensor, storages.place)
        return storages.joined(room), places

    @staticmethod
    def of_block(block: Tensor, places: dict[str, Any]) -> "Batch":
        """The batch that :meth:`as_block` was asked of."""

        storage = block.untyped_storage()

        def tensor(place: _Place) -> Tensor:
            # No view of the block: of views autograd would take a change of one for a change of all.
            whole = torch.empty(0, dtype=place.dtype, device=block.device)
            return whole.set_(storage, place.first, place.size, place.stride)

        return Batch(**_mapped(places, _Place, tensor))


def _mapped(values: dict[str, Any], kind: type, change: Callable[[Any], Any]) -> dict[str, Any]:
    """A batch's attributes with ``change`` applied to everything of one kind, in the same order each time."""

    def pair(tensors: SparsePair) -> SparsePair:
        return SparsePair(*(change(tensor) for tensor in tensors))

    changed: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, GCNTables):
            changed[name] = GCNTables(pair(value.propagate), pair(value.pool), change(value.aggregated))
        else:
            changed[name] = change(value) if isinstance(value, kind) else value
    return changed


class _Place(NamedTuple):
    """Where a tensor lies in a block of memory, in elements of its own type."""

    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    first: int


class _Storages:
    """The storages behind several tensors, to be laid end to end."""

    def __init__(self) -> None:
        self._storages: dict[tuple[int, int], tuple[int, torch.UntypedStorage]] = {}
        self._bytes = 0

    def place(self, tensor: Tensor) -> _Place:
        """Keeps a place for the tensor's storage, unless another tensor has brought it."""
        storage = tensor.untyped_storage()
        key = storage.data_ptr(), storage.nbytes()
        begin, _ = self._storages.setdefault(key, (self._bytes, storage))
        if begin == self._bytes:
            self._bytes += -(-storage.nbytes() // _ALIGNMENT) * _ALIGNMENT
        first = begin // tensor.element_size() + int(tensor.storage_offset())
        return _Place(tensor.dtype, tuple(tensor.shape), tensor.stride(), first)

    def joined(self, room: Tensor | None) -> Tensor:
        """``[bytes]`` uint8, all storages."""
        if len(self._storages) == 1:
            return torch.empty(0, dtype=torch.uint8).set_(next(iter(self._storages.values()))[1])
        if room is None or len(room) < self._bytes:
            room = torch.empty(self._bytes, dtype=torch.uint8)
        for begin, storage in self._storages.values():
            whole = torch.empty(0, dtype=torch.uint8).set_(storage)
            room[begin : begin + len(whole)] = whole
        return room[: self._bytes]


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
    degree = in_degree.astype(np.int32) + 1
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
        pool=(np.add.reduceat(transpose.data, transpose.indptr[:-1]) * mean).astype(np.float32),
        aggregated=(matrix @ node_features.astype(np.float64)).astype(np.float32),
    )
