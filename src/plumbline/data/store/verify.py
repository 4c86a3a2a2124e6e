"""Integrity check of a packed store: hashes, bounds, finite numbers."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from plumbline.data.store.reader import PackedStore
from plumbline.data.store.tensors import offsets
from plumbline.errors import DamagedStoreError
from plumbline.files import reading
from plumbline.records import Int

_CHUNK_ROWS = 2_000_000


def verify(store: PackedStore, *, deep: bool = True) -> list[str]:
    """Check an open store.

    Args:
        store: opening it has already checked the manifest, the file sizes and the shapes of the index.
        deep: also recompute the SHA-256 of every file and check every number of every shard.

    Returns:
        One sentence per problem, each naming its file; empty if there is none.
    """
    if store.kept is not None:
        store = PackedStore.open(store.path)
    problems = _index_problems(store)
    usable = not problems
    if deep:
        for item in [store.manifest["index"], *store.manifest["shards"]]:
            if _sha256(store.path / item["file"]) != item["sha256"]:
                problems.append(
                    f"{store.path / item['file']} is damaged: its SHA-256 differs from the manifest's"
                )
    for number, item in enumerate(store.manifest["shards"]) if usable else ():
        try:
            store.shard(number)
            if deep:
                problems.extend(
                    f"{store.path / item['file']}: {text}" for text in _shard_problems(store, number)
                )
        except DamagedStoreError as error:
            problems.append(str(error))
    return problems


def _sha256(path: Path) -> str:
    with reading(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _index_problems(store: PackedStore) -> list[str]:
    file = store.path / store.manifest["index"]["file"]
    found = []
    for name, ptr, least in (("node_ptr", store.node_ptr, 1), ("edge_ptr", store.edge_ptr, 0)):
        wrong = np.flatnonzero(np.diff(ptr) < least)
        if len(wrong):
            found.append(f"{name} {'does not increase' if least else 'decreases'} at graph {wrong[0]}")
    for name in ("target", "origin", "scale", "bounding_radius", "vectors"):
        values = getattr(store, name)
        wrong = np.flatnonzero(~np.isfinite(values.reshape(len(store), -1)).all(axis=1))
        if len(wrong):
            found.append(f"{name} of graph {wrong[0]} is not finite")
    if not (store.scale > 0).all() or not (store.bounding_radius >= 0).all():
        found.append("a scale or a bounding radius is not positive")
    if store.object_idx.min() < 0 or store.object_idx.max() >= store.num_objects:
        found.append("object_idx names an object that does not exist")
    name_ptr = store.object_name_ptr
    if name_ptr[0] != 0 or (np.diff(name_ptr) < 0).any():
        found.append("object_name_ptr is not ascending from 0")
    return [f"{file}: {text}" for text in found]


def _shard_problems(store: PackedStore, number: int) -> Iterator[str]:
    """Yield at most one problem of each kind, with the first graph that has it."""
    arrays = store.shard(number)
    graphs = store.shard_graphs(number)
    seen: set[str] = set()
    for first, last in chunks(store, graphs):
        node_ptr = store.node_ptr[first : last + 1] - store.node_ptr[graphs.start]
        edge_ptr = store.edge_ptr[first : last + 1] - store.edge_ptr[graphs.start]
        nodes, edges = slice(node_ptr[0], node_ptr[-1]), slice(edge_ptr[0], edge_ptr[-1])
        node_count, edge_count = np.diff(node_ptr), np.diff(edge_ptr)
        checks: dict[str, Int] = {}
        for name, rows, count in (
            ("node_features", nodes, node_count),
            ("point_cloud", nodes, node_count),
            ("edge_attr", edges, edge_count),
        ):
            if name in arrays:
                bad = ~np.isfinite(arrays[name][rows]).all(axis=1)
                checks[f"{name} holds NaN or infinite values"] = _graphs_of(bad, count)
        in_degree, source = arrays["in_degree"][nodes], arrays["edge_source"][edges]
        checks["in_degree is negative"] = _graphs_of(in_degree < 0, node_count)
        total = offsets(in_degree)[node_ptr - node_ptr[0]]
        checks["in_degree does not add up to the number of edges"] = np.flatnonzero(
            np.diff(total) != edge_count
        )
        outside = (source < 0) | (source >= np.repeat(node_count, edge_count))
        checks["edge_source names a node that does not exist"] = _graphs_of(outside, edge_count)
        for text, wrong in checks.items():
            if len(wrong) and text not in seen:
                seen.add(text)
                yield f"{text} in graph {first + int(wrong[0])}"


def chunks(store: PackedStore, graphs: range) -> Iterator[tuple[int, int]]:
    """Split a shard into runs of graphs, ``(first, last + 1)``, that are small enough for the memory."""
    rows = store.node_ptr[graphs.start : graphs.stop + 1] + store.edge_ptr[graphs.start : graphs.stop + 1]
    begin = 0
    while begin < len(graphs):
        end = int(np.searchsorted(rows, rows[begin] + _CHUNK_ROWS, side="right")) - 1
        end = max(end, begin + 1)
        yield graphs.start + begin, graphs.start + end
        begin = end


def _graphs_of(bad: np.ndarray, count: Int) -> Int:
    """The graphs (numbered from the first of the chunk) that own the rows in a mask."""
    return np.searchsorted(np.cumsum(count), np.flatnonzero(bad), side="right")
