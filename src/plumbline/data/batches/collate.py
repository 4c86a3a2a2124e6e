"""Build batches from flat arrays with a few vectorised gathers, never with a loop over graphs.

Letters: G graphs in the source, B graphs in a batch, N nodes, E edges.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from plumbline.data.batches.batch import Batch
from plumbline.data.batches.by_points import first_batch
from plumbline.data.batches.gcn_constants import GCNTables, SparsePair, check_entries, gcn_arrays
from plumbline.data.batches.patches import NEIGHBOURS, TOKENS, centre_and_size, patches
from plumbline.data.store.in_memory import MemoryStore
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.tensors import offsets
from plumbline.records import Int

Store = PackedStore | MemoryStore

PARTS = frozenset({"gcn", "edge_index", "patches", "payload"})
"""The parts of a batch that a model's ``needs`` may name."""

_CHUNK = 64
_CHUNK_ROWS = 1 << 20
"""Graphs whose constants are computed at once, and their nodes and edges: few enough to stay in the
processor's cache, which makes opening a large data set several times faster, and to fit into any memory."""


class _Rows(NamedTuple):
    """The nodes, edges or adjacency entries of a batch's graphs, one graph after the other.

    Attributes:
        ptr: ``[B + 1]`` int64, the first row of each graph.
        owner: ``[rows]`` int64, the graph that each row belongs to.
        columns: by name, ``[rows, ...]``; indices in them are local to each graph.
    """

    ptr: Tensor
    owner: Tensor
    columns: dict[str, Tensor]


class GraphTables:
    """G graphs as flat tensors on one device, from which batches are gathered.

    Args:
        store: the data set.
        indices: ``[G]`` the graphs of the data set to use.
        needs: parts of a :class:`Batch` that the model, or its training, reads in addition to the node
            features: any of ``"gcn"``, ``"edge_index"``, ``"patches"``, ``"payload"``.
        device: where the tensors are kept and the batches are built.
    """

    def __init__(
        self, store: Store, indices: Int, needs: frozenset[str], device: torch.device | str = "cpu"
    ) -> None:
        columns = _all_columns(store, indices, needs)
        self._device = torch.device(device)
        self._sizes = {level: sizes for level, (sizes, _) in columns.items()}
        self._ptr = {level: _tensor(offsets(sizes), device) for level, (sizes, _) in columns.items()}
        self._columns = {
            level: {name: _tensor(array, device) for name, array in arrays.items()}
            for level, (_, arrays) in columns.items()
        }
        if "in_degree" in self._columns["node"]:
            first = offsets(self._sizes["node"])[:-1]
            self._max_in_degree = np.maximum.reduceat(columns["node"][1]["in_degree"], first)

    def __len__(self) -> int:
        return len(self._sizes["node"])

    @property
    def num_bytes(self) -> int:
        """Memory of the tensors."""
        tensors = [*self._ptr.values(), *(x for columns in self._columns.values() for x in columns.values())]
        return sum(tensor.nbytes for tensor in tensors)

    def batch(self, rows: Int) -> Batch:
        """Gather the graphs at ``rows [B]`` (positions among this table's graphs), in that order."""
        wanted = torch.from_numpy(rows).to(self._device, non_blocking=True)
        levels = {
            level: self._rows(level, rows, wanted)
            for level in ("node", "edge", "entry")
            if self._columns[level]
        }
        graph = {name: column.index_select(0, wanted) for name, column in self._columns["graph"].items()}
        largest = int(self._max_in_degree[rows].max()) if "in_degree" in self._columns["node"] else 0
        return _assembled(levels, graph, largest)

    def _rows(self, level: str, rows: Int, wanted: Tensor) -> _Rows:
        """Gather the nodes, edges or entries of some graphs; their number is known on the host."""
        total = int(self._sizes[level][rows].sum())
        if level == "entry":
            check_entries(total)
        ptr = self._ptr[level]
        begin = ptr.index_select(0, wanted)
        sizes = ptr.index_select(0, wanted + 1) - begin
        result_ptr = torch.zeros(len(wanted) + 1, dtype=torch.int64, device=self._device)
        torch.cumsum(sizes, 0, out=result_ptr[1:])
        owner = torch.repeat_interleave(sizes, output_size=total)
        found = torch.arange(total, device=self._device) + (begin - result_ptr[:-1]).index_select(0, owner)
        columns = {name: column.index_select(0, found) for name, column in self._columns[level].items()}
        return _Rows(result_ptr, owner, columns)


def resident_bytes(store: PackedStore, needs: frozenset[str]) -> int:
    """Estimate the bytes that :class:`GraphTables` of the whole store occupies."""
    per_node = 4 * len(store.feature_names) * (2 if "gcn" in needs else 1) + 24
    per_edge = (16 if "gcn" in needs else 0) + (8 if "edge_index" in needs else 0)
    per_graph = 4 * TOKENS * (NEIGHBOURS + 1) if "patches" in needs else 0
    nodes, edges = store.num_nodes, store.num_edges
    return per_graph * len(store) + per_node * nodes + per_edge * (edges + nodes)


def _assembled(levels: dict[str, _Rows], graph: dict[str, Tensor], max_in_degree: int) -> Batch:
    """Build a batch from its rows. The rows are changed: local indices become indices of the whole batch."""
    nodes = levels["node"]
    node = nodes.columns
    edge_index = gcn = None
    if "edge" in levels:
        edges = levels["edge"]
        source = edges.columns["source"].add_(nodes.ptr.index_select(0, edges.owner))
        target = torch.repeat_interleave(node["in_degree"], output_size=len(source))
        edge_index = torch.stack([source, target])
    if "entry" in levels:
        gcn = _gcn_tables(nodes, levels["entry"])
    if "patches" in graph:
        graph["patches"] = graph["patches"] + nodes.ptr[:-1, None, None]
    features = node["node_features"]
    return Batch(
        node_features=features,
        pos=node.get("pos", features[:, :3]),
        node_ptr=nodes.ptr,
        edge_index=edge_index,
        max_in_degree=max_in_degree,
        gcn=gcn,
        **graph,
    )


def _gcn_tables(nodes: _Rows, entries: _Rows) -> GCNTables:
    node, entry = nodes.columns, entries.columns
    shift = nodes.ptr.to(torch.int32).index_select(0, entries.owner)
    each = torch.arange(len(nodes.owner) + 1, dtype=torch.int32, device=shift.device)
    return GCNTables(
        propagate=SparsePair(
            ptr=_pointers(node["degree"]),
            col=entry["col"].add_(shift),
            value=entry["value"],
            ptr_t=_pointers(node["degree_t"]),
            col_t=entry["col_t"].add_(shift),
            value_t=entry["value_t"],
        ),
        pool=SparsePair(
            ptr=nodes.ptr.to(torch.int32),
            col=each[:-1],
            value=node["pool"],
            ptr_t=each,
            col_t=nodes.owner.to(torch.int32),
            value_t=node["pool"],
        ),
        aggregated=node["aggregated"],
    )


_Columns = dict[str, tuple[Int, dict[str, np.ndarray]]]
"""For each level (graph, node, edge, entry of the adjacency): rows per graph, and the columns by name."""


def _columns(store: Store, indices: Int, needs: frozenset[str]) -> _Columns:
    """Read what :class:`GraphTables` keeps of some graphs, with indices local to each graph."""
    flat = store.gather(indices)
    node: dict[str, np.ndarray] = {"node_features": flat.node_features}
    edge: dict[str, np.ndarray] = {}
    entry: dict[str, np.ndarray] = {}
    entry_sizes = np.zeros(len(indices), np.int64)
    if store.has_point_cloud:
        node["pos"] = flat.pos
    if "edge_index" in needs:
        edge["source"] = flat.edge_source - np.repeat(flat.node_ptr[:-1], np.diff(flat.edge_ptr))
        node["in_degree"] = flat.in_degree.astype(np.int64)
    if "gcn" in needs:
        gcn = gcn_arrays(flat.node_features, flat.in_degree, flat.edge_source, flat.node_ptr)
        node |= {name: getattr(gcn, name) for name in ("degree", "degree_t", "pool", "aggregated")}
        entry = {name: getattr(gcn, name) for name in ("col", "value", "col_t", "value_t")}
        entry_sizes = np.diff(offsets(gcn.degree)[flat.node_ptr])
    graph: dict[str, np.ndarray] = {
        name: getattr(flat, name) for name in ("target", "bounding_radius", "vectors")
    }
    graph["index"] = indices
    graph["centre"], graph["size"] = centre_and_size(flat.pos, flat.node_ptr)
    if "payload" in needs:
        graph["volume"], graph["inertia"] = flat.volume, flat.inertia
    if "patches" in needs:
        graph["patches"] = patches(flat, leaders=store.leaders, k=store.k)
    return {
        "graph": (np.ones(len(indices), np.int64), graph),
        "node": (np.diff(flat.node_ptr), node),
        "edge": (np.diff(flat.edge_ptr), edge),
        "entry": (entry_sizes, entry),
    }


def _all_columns(store: Store, indices: Int, needs: frozenset[str]) -> _Columns:
    """Compute :func:`_columns` of many graphs in chunks, into arrays that are allocated once."""
    unknown = needs - PARTS
    if unknown:
        raise ValueError(f"a batch has no {', '.join(sorted(unknown))}")
    indices = np.ascontiguousarray(indices, np.int64)
    chunks = list(_chunks(store, indices))
    columns = _columns(store, indices[chunks[0]], needs)
    if len(chunks) == 1:
        return columns
    if isinstance(store, PackedStore):
        store.shards_of(indices)  # refuses damaged shards before memory is allocated for all graphs
    num_nodes = int((store.node_ptr[indices + 1] - store.node_ptr[indices]).sum())
    num_edges = int((store.edge_ptr[indices + 1] - store.edge_ptr[indices]).sum())
    # An upper bound for entries: self loops that are already among the edges are not counted twice.
    room = {"graph": len(indices), "node": num_nodes, "edge": num_edges, "entry": num_nodes + num_edges}
    whole = {
        level: {
            name: np.empty((room[level], *array.shape[1:]), array.dtype) for name, array in arrays.items()
        }
        for level, (_, arrays) in columns.items()
    }
    sizes: dict[str, list[Int]] = {level: [] for level in columns}
    filled = dict.fromkeys(columns, 0)
    for chunk in chunks:
        for level, (some, arrays) in _columns(store, indices[chunk], needs).items():
            end = filled[level] + int(some.sum())
            for name, array in arrays.items():
                whole[level][name][filled[level] : end] = array
            sizes[level].append(some)
            filled[level] = end
    return {
        level: (
            np.concatenate(sizes[level]),
            {name: array[: filled[level]] for name, array in arrays.items()},
        )
        for level, arrays in whole.items()
    }


def _chunks(store: Store, indices: Int) -> Iterator[slice]:
    """Divide graphs into chunks of at most ``_CHUNK`` graphs and ``_CHUNK_ROWS`` rows, or of one graph."""
    rows = np.abs(np.diff(store.node_ptr) + np.diff(store.edge_ptr))[indices]
    total, begin = offsets(rows), 0
    while begin < max(len(indices), 1):
        end = int(np.searchsorted(total, total[begin] + _CHUNK_ROWS, side="right")) - 1
        end = min(max(end, begin + 1), begin + _CHUNK)
        yield slice(begin, end)
        begin = end


def _tensor(array: np.ndarray, device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _pointers(sizes: Tensor) -> Tensor:
    """Turn ``[N]`` row sizes into ``[N + 1]`` int32 row pointers."""
    ptr = torch.zeros(len(sizes) + 1, dtype=torch.int32, device=sizes.device)
    torch.cumsum(sizes, 0, dtype=torch.int32, out=ptr[1:])
    return ptr


def make_batch(store: Store, indices: Int, needs: frozenset[str]) -> Batch:
    """Build one batch directly from the store, equal to what :class:`GraphTables` of all graphs gathers."""
    return loose_batch(store, indices, needs).packed()


def loose_batch(store: Store, indices: Int, needs: frozenset[str]) -> Batch:
    """Build the batch of :func:`make_batch` without packing it.

    The tensors are aligned as numpy aligns arrays, which is less than matrix products need to be fast.
    """
    levels = {}
    columns = _all_columns(store, indices, needs)
    for level, (sizes, arrays) in columns.items():
        owner = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes))
        rows = {name: _tensor(array, "cpu") for name, array in arrays.items()}
        levels[level] = _Rows(torch.from_numpy(offsets(sizes)), owner, rows)
    graph = levels.pop("graph").columns
    largest = int(columns["node"][1]["in_degree"].max()) if "in_degree" in columns["node"][1] else 0
    levels = {level: rows for level, rows in levels.items() if rows.columns}
    return _assembled(levels, graph, largest)


def largest_batch(
    store: Store, indices: Int, batch_size: int, needs: frozenset[str], batch_points: int = 0
) -> Batch:
    """Build the largest possible batch: the ``batch_size`` largest of the graphs ``indices``.

    With ``batch_points``, instead as many of the largest as have at most that many points.
    """
    sizes = np.diff(store.node_ptr)[indices]
    largest_first = np.argsort(sizes, kind="stable")[::-1]
    if batch_points:
        batch_size = first_batch(sizes[largest_first], batch_points)
    return make_batch(store, indices[largest_first[:batch_size]], needs)
