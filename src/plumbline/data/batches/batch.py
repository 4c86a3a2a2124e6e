"""A batch of graphs as a few flat tensors."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from plumbline.data.batches.block import Place, Storages
from plumbline.data.batches.gcn_constants import GCNTables, SparsePair


class Batch:
    """Everything a model may read about G graphs with N nodes and E edges, in the stored frame.

    Deliberately not a dataclass: Lightning's half-precision plugins cast the tensors of every collection type
    they know, and the geometry must stay in float32.

    Attributes:
        node_features: ``[N, F]`` float32.
        pos: ``[N, 3]`` float32.
        node_ptr: ``[G + 1]`` int64, first node of each graph; the last entry is N.
        target: ``[G, 3]`` float32 centre of mass.
        bounding_radius: ``[G]`` float32, stored units.
        centre: ``[G, 3]`` float32 mean of each graph's positions.
        size: ``[G]`` float32 root mean square distance of the positions from ``centre``; 1 where all
            positions coincide.
        vectors: ``[G, W, 3]`` float32 vectors of the whole scan, stored units.
        index: ``[G]`` int64 position of each graph in its data set.
        edge_index: ``[2, E]`` int64, or None if the model does not need it.
        max_in_degree: largest number of edges that end at one node, known on the host; 0 if the model does
            not need edges.
        gcn: the constants of a graph convolutional network, or None if the model does not need them.
        patches: ``[G, T, 1 + K]`` int64, or None if the model does not need it: T nodes of each graph in
            farthest-point order, each followed by its K nearest nodes, nearest first. A graph with fewer
            nodes repeats them, so the first few rows and columns are valid patches too.
        volume, inertia: ``[G]`` and ``[G, 3, 3]`` float32 truth about the whole object, stored units cubed
            and squared (see :class:`plumbline.records.Sample`); NaN where it is unknown, None if the model
            does not need it ("payload").
    """

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
        gcn: GCNTables | None = None,
        patches: Tensor | None = None,
        volume: Tensor | None = None,
        inertia: Tensor | None = None,
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
        self.gcn = gcn
        self.patches = patches
        self.volume = volume
        self.inertia = inertia

    @property
    def num_graphs(self) -> int:
        """G, the number of graphs."""
        return len(self.node_ptr) - 1

    @property
    def num_nodes(self) -> int:
        """N, the number of nodes."""
        return len(self.node_features)

    @property
    def graph_idx(self) -> Tensor:
        """The graph of every node, ``[N]`` int64."""
        return torch.repeat_interleave(torch.diff(self.node_ptr), output_size=self.num_nodes)

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor of the batch."""
        for value in vars(self).values():
            if isinstance(value, Tensor):
                yield value
            elif isinstance(value, GCNTables):
                yield from (*value.propagate, *value.pool, value.aggregated)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """Move the batch to a device as one block of memory; return ``self`` if it is already there."""
        if self.node_features.device == torch.device(device):
            return self
        block, places = self.as_block()
        return Batch.of_block(block.to(device, non_blocking=non_blocking), places)

    def pin_memory(self) -> "Batch":
        """Copy the batch into one block of page-locked memory."""
        block, places = self.as_block()
        return Batch.of_block(block.pin_memory(), places)

    def packed(self) -> "Batch":
        """Copy the batch into one block of memory."""
        return Batch.of_block(*self.as_block())

    def __reduce__(self) -> tuple[Callable[..., "Batch"], tuple[Any, ...]]:
        """Pickle as one block: otherwise each of about twenty tensors is sent as an open file of its own."""
        return Batch.of_block, self.as_block()

    def as_block(self, room: Tensor | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Join all tensors in one block of memory, aligned as PyTorch aligns its own tensors.

        Args:
            room: ``[bytes]`` uint8 to fill. It is used if it is large enough and the tensors do not already
                share one block.

        Returns:
            The block ``[bytes]`` uint8, and the attributes with a :class:`Place` instead of each tensor, for
            :meth:`of_block`. Strides and shared storages are preserved.
        """
        storages = Storages()
        places = _mapped(vars(self), Tensor, storages.place)
        return storages.joined(room), places

    @staticmethod
    def of_block(block: Tensor, places: dict[str, Any]) -> "Batch":
        """Rebuild a batch from what :meth:`as_block` returned."""

        storage = block.untyped_storage()

        def tensor(place: Place) -> Tensor:
            # Not a view of the block: autograd would count an in-place change of one view as a change of all.
            whole = torch.empty(0, dtype=place.dtype, device=block.device)
            return whole.set_(storage, place.first, place.size, place.stride)

        return Batch(**_mapped(places, Place, tensor))


def _mapped(values: dict[str, Any], kind: type, change: Callable[[Any], Any]) -> dict[str, Any]:
    """Apply ``change`` to all of a batch's attributes that are of type ``kind``, always in the same order."""

    def pair(tensors: SparsePair) -> SparsePair:
        return SparsePair(*(change(tensor) for tensor in tensors))

    changed: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, GCNTables):
            changed[name] = GCNTables(pair(value.propagate), pair(value.pool), change(value.aggregated))
        else:
            changed[name] = change(value) if isinstance(value, kind) else value
    return changed
