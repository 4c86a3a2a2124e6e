"""A batch of graphs as a handful of flat tensors."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from plumbline.data.batches.block import Place, Storages
from plumbline.data.batches.gcn_constants import GCNTables, SparsePair


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
        storages = Storages()
        places = _mapped({name: getattr(self, name) for name in self.__slots__}, Tensor, storages.place)
        return storages.joined(room), places

    @staticmethod
    def of_block(block: Tensor, places: dict[str, Any]) -> "Batch":
        """The batch that :meth:`as_block` was asked of."""

        storage = block.untyped_storage()

        def tensor(place: Place) -> Tensor:
            # No view of the block: of views autograd would take a change of one for a change of all.
            whole = torch.empty(0, dtype=place.dtype, device=block.device)
            return whole.set_(storage, place.first, place.size, place.stride)

        return Batch(**_mapped(places, Place, tensor))


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
