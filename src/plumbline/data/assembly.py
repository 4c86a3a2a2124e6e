"""Batches out of flat arrays: a handful of vectorised gathers, never a loop over graphs.

Letters: G graphs in the source, B graphs in a batch, N nodes, E edges.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from plumbline.data.batch import Batch, GCNTables, SparsePair, gcn_arrays
from plumbline.data.packed import PackedStore
from plumbline.records import Int


class _Ranges(NamedTuple):
    """Contiguous ranges of a flat array, laid end to end.

    Attributes:
        rows: ``[total]`` where the wanted rows lie in the flat array.
        ptr: ``[B + 1]`` where each range begins in the result.
        owner: ``[total]`` which range a row of the result belongs to.
    """

    rows: Tensor
    ptr: Tensor
    owner: Tensor


class GraphTables:
    """G graphs as flat tensors on one device, from which batches are gathered.

    Args:
        store: the data set.
        indices: ``[G]`` which of its graphs.
        needs: parts of a :class:`Batch` that the model reads beyond the node features: any of
            ``"gcn"``, ``"edge_index"``, ``"edge_attr"``.
        device: where the tensors live and the batches are built.
    """

    def __init__(
        self, store: PackedStore, indices: Int, needs: frozenset[str], device: torch.device | str = "cpu"
    ) -> None:
        unknown = needs - {"gcn", "edge_index", "edge_attr"}
        if unknown:
            raise ValueError(f"a batch has no {', '.join(sorted(unknown))}")
        flat = store.gather(indices, edge_attr="edge_attr" in needs)
        self._sizes = np.diff(flat.node_ptr)
        edge_sizes = np.diff(flat.edge_ptr)
        node: dict[str, np.ndarray] = {"node_features": flat.node_features}
        if not np.array_equal(flat.pos, flat.node_features[:, :3]):
            node["pos"] = flat.pos
        edge: dict[str, np.ndarray] = {}
        if "edge_index" in needs:
            edge["source"] = flat.edge_source - np.repeat(flat.node_ptr[:-1], edge_sizes)
            node["in_degree"] = flat.in_degree.astype(np.int64)
        if flat.edge_attr is not None:
            edge["attr"] = flat.edge_attr
        self._edge_sizes = edge_sizes
        entry: dict[str, np.ndarray] = {}
        if "gcn" in needs:
            gcn = gcn_arrays(flat.node_features, flat.in_degree, flat.edge_source, flat.node_ptr)
            node |= {
                "degree": gcn.degree,
                "degree_t": gcn.degree_t,
                "pool": gcn.pool,
                "aggregated": gcn.aggregated,
            }
            entry = {"col": gcn.col, "value": gcn.value, "col_t": gcn.col_t, "value_t": gcn.value_t}
            entry_ptr = np.concatenate([[0], np.cumsum(gcn.degree, dtype=np.int64)])[flat.node_ptr]
            self._entry_sizes = np.diff(entry_ptr)
            self._entry_ptr = torch.from_numpy(entry_ptr).to(device)
        self._node_ptr = torch.from_numpy(np.ascontiguousarray(flat.node_ptr)).to(device)
        self._edge_ptr = torch.from_numpy(np.ascontiguousarray(flat.edge_ptr)).to(device)
        self._node = {name: _tensor(array, device) for name, array in node.items()}
        self._edge = {name: _tensor(array, device) for name, array in edge.items()}
        self._entry = {name: _tensor(array, device) for name, array in entry.items()}
        self._graph = {
            "target": _tensor(flat.target.astype(np.float32, copy=False), device),
            "bounding_radius": _tensor(flat.bounding_radius.astype(np.float32, copy=False), device),
            "index": _tensor(np.ascontiguousarray(indices, np.int64), device),
        }
        self._needs = needs
        self._device = torch.device(device)

    def __len__(self) -> int:
        return len(self._sizes)

    def batch(self, rows: Int) -> Batch:
        """The graphs at ``rows [B]`` (positions among this table's graphs), in that order."""
        wanted = torch.from_numpy(rows).to(self._device, non_blocking=True)
        nodes = self._ranges(self._node_ptr, wanted, int(self._sizes[rows].sum()))
        node = {name: column.index_select(0, nodes.rows) for name, column in self._node.items()}
        edge_index = edge_attr = gcn = None
        if self._edge:
            edges = self._ranges(self._edge_ptr, wanted, int(self._edge_sizes[rows].sum()))
            edge = {name: column.index_select(0, edges.rows) for name, column in self._edge.items()}
            edge_attr = edge.get("attr")
            if "source" in edge:
                source = edge["source"] + nodes.ptr.index_select(0, edges.owner)
                target = torch.repeat_interleave(node["in_degree"], output_size=len(source))
                edge_index = torch.stack([source, target])
        if self._entry:
            gcn = self._gcn_tables(rows, wanted, nodes, node)
        graph = {name: column.index_select(0, wanted) for name, column in self._graph.items()}
        features = node["node_features"]
        return Batch(
            node_features=features,
            pos=node.get("pos", features[:, :3]),
            node_ptr=nodes.ptr,
            edge_index=edge_index,
            edge_attr=edge_attr,
            gcn=gcn,
            **graph,
        )

    def _gcn_tables(self, rows: Int, wanted: Tensor, nodes: _Ranges, node: dict[str, Tensor]) -> GCNTables:
        entries = self._ranges(self._entry_ptr, wanted, int(self._entry_sizes[rows].sum()))
        entry = {name: column.index_select(0, entries.rows) for name, column in self._entry.items()}
        shift = nodes.ptr.to(torch.int32).index_select(0, entries.owner)
        num_nodes = len(nodes.rows)
        each = torch.arange(num_nodes + 1, dtype=torch.int32, device=self._device)
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

    def _ranges(self, ptr: Tensor, wanted: Tensor, total: int) -> _Ranges:
        """Rows of the ranges ``ptr[wanted] .. ptr[wanted + 1]``; ``total`` is known on the host."""
        begin = ptr.index_select(0, wanted)
        sizes = ptr.index_select(0, wanted + 1) - begin
        result_ptr = torch.zeros(len(wanted) + 1, dtype=torch.int64, device=self._device)
        torch.cumsum(sizes, 0, out=result_ptr[1:])
        owner = torch.repeat_interleave(sizes, output_size=total)
        rows = torch.arange(total, device=self._device) + (begin - result_ptr[:-1]).index_select(0, owner)
        return _Ranges(rows, result_ptr, owner)


def _tensor(array: np.ndarray, device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _pointers(sizes: Tensor) -> Tensor:
    """``[N]`` row sizes as ``[N + 1]`` int32 row pointers."""
    ptr = torch.zeros(len(sizes) + 1, dtype=torch.int32, device=sizes.device)
    torch.cumsum(sizes, 0, dtype=torch.int32, out=ptr[1:])
    return ptr


def make_batch(store: PackedStore, indices: Int, needs: frozenset[str]) -> Batch:
    """One batch straight from the store, equal to what :class:`GraphTables` of all graphs gathers."""
    return GraphTables(store, indices, needs).batch(np.arange(len(indices)))
