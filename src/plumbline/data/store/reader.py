"""Reader of the packed store: a data set as flat, memory-mapped arrays, batched with a few gathers.

A folder holds ``manifest.json`` (description, hashes, provenance), ``index.safetensors`` (one row per
graph) and ``shard-00000.safetensors`` ... (whole graphs laid end to end). Graph ``i`` owns the nodes
``node_ptr[i]:node_ptr[i + 1]`` and the edges ``edge_ptr[i]:edge_ptr[i + 1]``, counted over all shards.
Edge attributes that depend on the positions alone are computed on demand and not stored, because reading
them takes longer than computing them.
"""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plumbline.data.store.checks import (
    OPTIONAL_SHAPES,
    check_array,
    check_edges,
    check_file,
    check_index,
    check_objects,
    check_range,
    read_manifest,
)
from plumbline.data.store.tensors import map_tensors, pack_names, unpack_names, will_need
from plumbline.errors import InputError
from plumbline.records import LARGEST, SMALLEST, Float, Int, Rejected, Sample, unusable_radius


class Gathered(NamedTuple):
    """Graphs joined into one batch, in the requested order. Stored frame.

    Attributes:
        node_features: ``[N, F]`` float32.
        pos: ``[N, 3]`` float32.
        in_degree: ``[N]`` int32; edges are sorted by target, ``target = repeat(arange(N), in_degree)``.
        edge_source: ``[E]`` int64, counted within the batch.
        node_ptr: ``[B + 1]`` int64, where each graph's nodes begin.
        edge_ptr: ``[B + 1]`` int64, where each graph's edges begin.
        target: ``[B, 3]`` float32 centre of mass.
        bounding_radius: ``[B]`` float32.
        num_views: ``[B]`` int32; 0 if unknown.
        vectors: ``[B, W, 3]`` float32.
        volume, inertia: ``[B]`` and ``[B, 3, 3]`` float32 of the whole object; NaN where they are unknown.
        edge_attr: ``[E, D]`` float32, or None if not requested or not in the store.
    """

    node_features: Float
    pos: Float
    in_degree: Int
    edge_source: Int
    node_ptr: Int
    edge_ptr: Int
    target: Float
    bounding_radius: Float
    num_views: Int
    vectors: Float
    volume: Float
    inertia: Float
    edge_attr: Float | None = None


class PackedStore:
    """A packed data set, opened for reading. Pickled as its path and reopened when unpickled.

    Attributes:
        path: the folder.
        manifest: the parsed ``manifest.json``.
        feature_names: names of the node features.
        vector_names: names of the vectors of a whole scan.
        leaders: the first ``leaders`` nodes of every graph are in farthest-point order; 0 if unknown.
        vectors: ``[G, W, 3]`` float32.
        node_ptr, edge_ptr: ``[G + 1]`` int64.
        target, origin: ``[G, 3]`` float64; ``world = origin + scale * stored``.
        scale, bounding_radius: ``[G]`` float64; ``num_views``, ``object_idx``: ``[G]`` int32.
        volume, inertia: ``[G]`` and ``[G, 3, 3]`` float64 of the whole object, see :class:`Sample`; NaN where
            they are unknown.
        object_name_ptr: ``[O + 1]`` int64, where each object's name begins in the joined bytes of all names.
        num_objects, num_nodes, num_edges: totals.
        edge_attr_kind: "none", "sh", "displacement" (computed on demand) or "stored".
        edge_attr_dim: D, 0 for "none".
        sh_degree: degree of the harmonics for "sh", else None.
        radius_known: ``[G]`` uint8, 0 where the object's radius is unknown; ``bounding_radius`` is then the
            largest distance of a point from the mean of the points.
        radius_source: "object" if ``radius_known`` is all 1, "scan" if all 0, else "mixed".
        rejected: inputs that were rejected when the store was made, and graphs that are left out now because
            their radius cannot be used (earlier versions stored them).
        kept: ``[G]`` which graphs of the shards these are; None if they are all of them.
    """

    def __init__(
        self, path: Path, manifest: dict[str, Any], index: dict[str, np.ndarray], kept: Int | None = None
    ):
        self.path = path
        self.manifest = manifest
        self.feature_names = tuple(manifest["feature_names"])
        self.vector_names = tuple(manifest["vector_names"])
        self.leaders = int(manifest["leaders"])
        self.num_objects = int(manifest["num_objects"])
        self.num_nodes = int(manifest["num_nodes"])
        self.num_edges = int(manifest["num_edges"])
        self.normalise = manifest["normalise"]
        self.k = manifest["k"]
        self.radius_source = manifest["bounding_radius"]
        self.edge_attr_kind = manifest["edge_attr"]["kind"]
        self.edge_attr_dim = int(manifest["edge_attr"]["dim"])
        self.sh_degree = manifest["edge_attr"]["sh_degree"]
        self.rejected = [Rejected(item["source"], item["reason"]) for item in manifest["rejected"]]
        self._node_rows, self._edge_rows = index["node_ptr"], index["edge_ptr"]
        self.kept = kept
        if kept is not None:
            self.rejected += _left_out(index, kept)
            index = _only(index, kept)
            self.num_objects = len(index["object_name_ptr"]) - 1
            self.num_nodes, self.num_edges = int(index["node_ptr"][-1]), int(index["edge_ptr"][-1])
        self.node_ptr, self.edge_ptr = index["node_ptr"], index["edge_ptr"]
        self.target, self.origin = index["target"], index["origin"]
        self.scale, self.bounding_radius = index["scale"], index["bounding_radius"]
        self.radius_known, self.vectors = index["radius_known"], index["vectors"]
        self.num_views, self.object_idx = index["num_views"], index["object_idx"]
        self.volume, self.inertia = (
            index[name] if name in index else np.full((len(self.scale), *rest), np.nan)
            for name, rest in OPTIONAL_SHAPES.items()
        )
        self.object_name_ptr, self._name_bytes = index["object_name_ptr"], index["object_name_bytes"]
        self._shard_ptr = np.cumsum([0, *(shard["num_graphs"] for shard in manifest["shards"])])
        self._shards: dict[int, dict[str, np.ndarray]] = {}

    @classmethod
    def open(cls, path: Path | str, *, leave_out: bool = False) -> "PackedStore":
        """Open a store: read the manifest, map the index, check the size of every shard.

        Args:
            path: the folder.
            leave_out: leave out graphs with a radius that cannot be used; training and evaluation do.

        Raises:
            InputError: the folder is not a packed data set, another version of the program wrote it, or no
                graph has a radius that can be used.
            DamagedStoreError: a file is missing, cut short, or contradicts the manifest.
        """
        path = Path(path)
        manifest = read_manifest(path)
        for item in [*manifest["shards"], manifest["index"]]:
            check_file(path / item["file"], item["bytes"])
        file = path / manifest["index"]["file"]
        index = map_tensors(file)
        check_index(file, index, manifest)
        radius = index["bounding_radius"]
        if not leave_out or (radius.min() >= SMALLEST and radius.max() <= LARGEST):
            return cls(path, manifest, index)
        kept = np.flatnonzero((radius >= SMALLEST) & (radius <= LARGEST))
        if not len(kept):
            raise InputError(f"no graph of {path} can be used; the first: {unusable_radius(radius[0])}")
        return cls(path, manifest, index, kept)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path.absolute(), self.kept is not None)

    def __len__(self) -> int:
        return len(self.scale)

    @cached_property
    def object_names(self) -> list[str]:
        """The distinct object names, in order of first appearance; decoded on first use.

        Raises:
            DamagedStoreError: a graph belongs to an object that has no name.
        """
        check_objects(self.path, self.object_idx, self.num_objects)
        return unpack_names(self.object_name_ptr, self._name_bytes)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the data, 64 hex digits: changes if any stored byte of any array changes."""
        hashes = [item["sha256"] for item in [self.manifest["index"], *self.manifest["shards"]]]
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()

    def shard(self, number: int) -> dict[str, np.ndarray]:
        """The memory-mapped arrays of one shard. Raises DamagedStoreError."""
        if number not in self._shards:
            file = self.path / self.manifest["shards"][number]["file"]
            tensors = map_tensors(file)
            first, last = self._shard_ptr[number], self._shard_ptr[number + 1]
            nodes = int(self._node_rows[last] - self._node_rows[first])
            edges = int(self._edge_rows[last] - self._edge_rows[first])
            check_array(file, tensors, "node_features", "<f4", (nodes, len(self.feature_names)))
            check_array(file, tensors, "in_degree", "<i4", (nodes,))
            check_array(file, tensors, "edge_source", "<i4", (edges,))
            if "point_cloud" in tensors:
                check_array(file, tensors, "point_cloud", "<f4", (nodes, 3))
            if self.edge_attr_kind == "stored":
                check_array(file, tensors, "edge_attr", "<f4", (edges, self.edge_attr_dim))
            self._shards[number] = tensors
        return self._shards[number]

    @property
    def has_payload(self) -> bool:
        """Whether both are known somewhere: volume and inertia. Shells have no inertia."""
        return bool(np.isfinite(self.volume).any() and np.isfinite(self.inertia).any())

    @cached_property
    def has_point_cloud(self) -> bool:
        """Whether positions are stored separately; otherwise they are the first three node features."""
        return any("point_cloud" in self.shard(number) for number in range(len(self.manifest["shards"])))

    def shard_graphs(self, number: int) -> range:
        """The graphs of one shard, left out or not."""
        return range(int(self._shard_ptr[number]), int(self._shard_ptr[number + 1]))

    def sample(self, i: int, *, edge_attr: bool = True) -> Sample:
        """Copy one graph into a record; ``edge_attr`` includes computed edge attributes."""
        i = range(len(self))[i]
        graph = self.gather(np.array([i]), edge_attr=edge_attr)
        same = np.array_equal(graph.pos, graph.node_features[:, :3])
        return Sample(
            node_features=graph.node_features,
            in_degree=graph.in_degree,
            edge_source=graph.edge_source.astype(np.int32),
            target=np.array(self.target[i]),
            object_name=self.object_names[self.object_idx[i]],
            edge_attr=graph.edge_attr,
            point_cloud=None if same else graph.pos,
            bounding_radius=float(self.bounding_radius[i]) if self.radius_known[i] else float("nan"),
            origin=tuple(self.origin[i].tolist()),
            scale=float(self.scale[i]),
            num_views=int(self.num_views[i]),
            volume=float(self.volume[i]),
            inertia=np.array(self.inertia[i]) if np.isfinite(self.inertia[i]).all() else None,
            vectors=np.array(self.vectors[i]) if self.vector_names else None,
        )

    def shards_of(self, indices: Int) -> Int:
        """The shard number of each graph. Raises DamagedStoreError if a graph lies outside its shard."""
        return self._shards_of(self._stored(indices))

    def _stored(self, indices: Int) -> Int:
        """The position of each graph among all graphs of the shards."""
        return indices if self.kept is None else self.kept[indices]

    def _shards_of(self, stored: Int) -> Int:
        shards = np.searchsorted(self._shard_ptr, stored, side="right") - 1
        for ptr in (self._node_rows, self._edge_rows):
            check_range(self.path, ptr, stored, self._shard_ptr[shards], self._shard_ptr[shards + 1])
        return shards

    def gather(self, indices: Int, *, edge_attr: bool = False) -> Gathered:
        """Join graphs into one batch, in a number of vectorised steps that does not depend on their number.

        Args:
            indices: ``[B]`` graphs, in any order, repeats allowed.
            edge_attr: include edge attributes, computed here if they are not stored.

        Raises:
            IndexError: an index outside ``0 .. G - 1``.
        """
        indices = np.asarray(indices, dtype=np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"graph indices must lie in 0 .. {len(self) - 1}")
        stored = self._stored(indices)
        shards = self._shards_of(stored)
        first = self._shard_ptr[shards]
        node_row, node_ptr = _ranges(self._node_rows, stored, first)
        edge_row, edge_ptr = _ranges(self._edge_rows, stored, first)
        nodes: dict[str, Any] = {
            "node_features": np.empty((len(node_row), len(self.feature_names)), np.float32),
            "in_degree": np.empty(len(node_row), np.int32),
        }
        edges: dict[str, Any] = {"edge_source": np.empty(len(edge_row), np.int32)}
        if edge_attr and self.edge_attr_kind == "stored":
            edges["edge_attr"] = np.empty((len(edge_row), self.edge_attr_dim), np.float32)
        touched = np.unique(shards)
        for number in touched.tolist():
            self._fetch(number, stored[shards == number], [*nodes, "point_cloud"], list(edges))
        for number in touched.tolist():
            arrays = self.shard(number)
            mine = None if len(touched) == 1 else shards == number
            _take(nodes, arrays, node_row, node_ptr, mine)
            _take(edges, arrays, edge_row, edge_ptr, mine)
        pos = nodes["node_features"][:, :3].copy()
        for number in touched.tolist():
            if "point_cloud" in self.shard(number):
                _take({"point_cloud": pos}, self.shard(number), node_row, node_ptr, shards == number)
        source = np.repeat(node_ptr[:-1], np.diff(edge_ptr))
        source += edges["edge_source"]
        check_edges(self.path, source, nodes["in_degree"], node_ptr, edge_ptr)
        return Gathered(
            node_features=nodes["node_features"],
            pos=pos,
            in_degree=nodes["in_degree"],
            edge_source=source,
            node_ptr=node_ptr,
            edge_ptr=edge_ptr,
            target=self.target[indices].astype(np.float32),
            bounding_radius=self.bounding_radius[indices].astype(np.float32),
            num_views=self.num_views[indices],
            vectors=self.vectors[indices],
            volume=self.volume[indices].astype(np.float32),
            inertia=self.inertia[indices].astype(np.float32),
            edge_attr=self._edge_attr(edges, pos, source, nodes["in_degree"]) if edge_attr else None,
        )

    def _fetch(self, number: int, stored: Int, nodes: list[str], edges: list[str]) -> None:
        """Ask the system to prefetch the rows of some graphs of one shard."""
        arrays, first = self.shard(number), self._shard_ptr[number]
        for ptr, names in ((self._node_rows, nodes), (self._edge_rows, edges)):
            begin, end = ptr[stored] - ptr[first], ptr[stored + 1] - ptr[first]
            for name in names:
                if name in arrays:
                    will_need(arrays[name], begin, end)

    def _edge_attr(
        self, edges: dict[str, np.ndarray], pos: Float, source: Int, in_degree: Int
    ) -> Float | None:
        if self.edge_attr_kind in ("none", "stored"):
            return edges.get("edge_attr")
        vectors = pos[source] - np.repeat(pos, in_degree, axis=0)
        if self.edge_attr_kind == "displacement":
            return vectors
        from plumbline.geometry.harmonics import spherical_harmonics

        return spherical_harmonics(vectors, self.sh_degree).astype(np.float32, copy=False)


def _reopened(path: Path, leave_out: bool) -> PackedStore:
    return PackedStore.open(path, leave_out=leave_out)


def _left_out(index: dict[str, np.ndarray], kept: Int) -> list[Rejected]:
    """The graphs that are not kept, each with its object and the reason."""
    names = unpack_names(index["object_name_ptr"], index["object_name_bytes"])
    return [
        Rejected(f"graph {graph} ({_name(names, index['object_idx'][graph])})", reason)
        for graph in np.setdiff1d(np.arange(len(index["scale"])), kept).tolist()
        if (reason := unusable_radius(float(index["bounding_radius"][graph])))
    ]


def _name(names: list[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else "of no object"


def _only(index: dict[str, np.ndarray], kept: Int) -> dict[str, np.ndarray]:
    """The index of some graphs, as if there were no others."""
    names = unpack_names(index["object_name_ptr"], index["object_name_bytes"])
    objects, object_idx = np.unique(index["object_idx"][kept], return_inverse=True)
    per_graph = {name: array[kept] for name, array in index.items() if len(array) == len(index["scale"])}
    sizes = {name: np.diff(index[name])[kept] for name in ("node_ptr", "edge_ptr")}
    return {
        **per_graph,
        **{name: np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]) for name, counts in sizes.items()},
        **pack_names([_name(names, number) for number in objects.tolist()]),
        "object_idx": object_idx.astype(np.int32),
    }


def _ranges(ptr: Int, graphs: Int, first: Int) -> tuple[Int, Int]:
    """Row numbers of some graphs, concatenated, each relative to the start of its shard (graph ``first``).

    Returns:
        ``[sum of rows]`` int64 row numbers, and ``[B + 1]`` int64 offsets where each graph's rows begin.
    """
    begin, end = ptr[graphs], ptr[graphs + 1]
    out_ptr = np.zeros(len(graphs) + 1, np.int64)
    np.cumsum(end - begin, out=out_ptr[1:])
    rows = np.repeat(begin - ptr[first] - out_ptr[:-1], end - begin)
    rows += np.arange(out_ptr[-1])
    return rows, out_ptr


def _take(
    out: dict[str, np.ndarray], arrays: dict[str, np.ndarray], rows: Int, ptr: Int, mine: Int | None
) -> None:
    """Fill the rows of ``out`` that belong to the graphs in the mask ``mine`` (None: all of them)."""
    if mine is None:
        for name, array in out.items():
            # Rows are in range by construction; "clip" lets numpy write into `out` without a buffer.
            np.take(arrays[name], rows, axis=0, out=array, mode="clip")
        return
    where = np.flatnonzero(np.repeat(mine, np.diff(ptr)))
    for name, array in out.items():
        array[where] = np.take(arrays[name], rows[where], axis=0)
