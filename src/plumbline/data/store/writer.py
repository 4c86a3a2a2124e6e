"""Writer of the packed store: resumable parts, and merging parts into shards.

Every file is written to a temporary file in the destination folder, flushed to disk and renamed. The
manifest comes last, so a folder with a ``manifest.json`` is complete. The same samples in the same order
give the same bytes, however they were grouped into parts.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import plumbline
from plumbline.data.store.tensors import map_tensors, offsets, write_tensors
from plumbline.errors import DamagedStoreError, InputError
from plumbline.records import Rejected, Sample, scan_radius
from plumbline.writing import write_atomically

FORMAT = "plumbline-packed"
SCHEMA = 2
MANIFEST = "manifest.json"
INDEX = "index.safetensors"
SHARD_BYTES = 256 << 20

EDGE_ATTR_KINDS = ("none", "sh", "displacement", "stored")
_MANIFEST_FIELDS = (
    *("feature_names", "vector_names", "leaders", "edge_attr", "sh_degree", "normalise", "k"),
    *("created_by", "provenance"),
)
_PER_GRAPH = ("target", "origin", "scale", "bounding_radius", "num_views", "vectors", "volume", "inertia")
_OPTIONAL = ("volume", "inertia")
"""Arrays that are left out of a store in which no graph has them."""
_CHUNK_GRAPHS = 1024
_MOST_MAPS = 64
"""Part files that an unfinished shard may keep mapped, each with a file descriptor; small ones are copied."""


# ----------------------------------------------------------------------------------------------------------
# Parts: samples as flat arrays


@dataclass(frozen=True, slots=True)
class Part:
    """Samples as flat arrays, together with the inputs that were rejected.

    Attributes:
        arrays: the arrays of a shard and of the index, ``node_count`` and ``edge_count`` ``[G]``,
            ``radius_known`` ``[G]``, and ``object_idx`` ``[G]``, an index into ``object_names``.
        object_names: distinct names in order of first appearance.
        rejected: inputs that gave no sample.
    """

    arrays: dict[str, np.ndarray]
    object_names: tuple[str, ...]
    rejected: tuple[Rejected, ...]

    def __len__(self) -> int:
        return len(self.arrays["node_count"])


def make_part(
    samples: Sequence[Sample], rejected: Iterable[Rejected] = (), *, store_edge_attr: bool = False
) -> Part:
    """Join samples into flat arrays.

    A missing bounding radius is replaced by the largest distance of a point from the mean of the points.

    Args:
        samples: all with the same number of node features (and of edge features if they are stored).
        rejected: inputs that gave no sample.
        store_edge_attr: keep ``edge_attr``. Otherwise it is dropped, because the store computes spherical
            harmonics and displacements from the positions.

    Raises:
        InputError: samples differ in the number of features or vectors.
    """
    names: dict[str, int] = {}
    object_idx = [names.setdefault(sample.object_name, len(names)) for sample in samples]
    radius = np.array([sample.bounding_radius for sample in samples], np.float64)
    known = np.isfinite(radius)
    for i in np.flatnonzero(~known).tolist():
        radius[i] = scan_radius(samples[i])
    arrays = {
        "node_features": _join([s.node_features for s in samples], np.float32, "node_features"),
        "in_degree": _join([s.in_degree for s in samples], np.int32, "in_degree"),
        "edge_source": _join([s.edge_source for s in samples], np.int32, "edge_source"),
        "node_count": np.array([len(s.in_degree) for s in samples], np.int64),
        "edge_count": np.array([len(s.edge_source) for s in samples], np.int64),
        "target": np.array([s.target for s in samples], np.float64).reshape(-1, 3),
        "origin": np.array([s.origin for s in samples], np.float64).reshape(-1, 3),
        "scale": np.array([s.scale for s in samples], np.float64),
        "bounding_radius": radius,
        "num_views": np.array([s.num_views for s in samples], np.int32),
        "vectors": _join([_vectors(s) for s in samples], np.float32, "vectors"),
        "volume": np.array([s.volume for s in samples], np.float64),
        "inertia": np.array([_inertia(s) for s in samples], np.float64).reshape(-1, 3, 3),
        "radius_known": known.astype(np.uint8),
        "object_idx": np.array(object_idx, np.int32),
    }
    if any(s.point_cloud is not None for s in samples):
        arrays["point_cloud"] = _join([s.pos for s in samples], np.float32, "point_cloud")
    if store_edge_attr and samples:
        attributes = [s.edge_attr for s in samples if s.edge_attr is not None]
        if len(attributes) < len(samples):
            raise InputError(
                "some samples have edge_attr and others do not, so they cannot be stored together"
            )
        arrays["edge_attr"] = _join(attributes, np.float32, "edge_attr")
    return Part(arrays, tuple(names), tuple(rejected))


def _inertia(sample: Sample) -> np.ndarray:
    return np.full((3, 3), np.nan) if sample.inertia is None else sample.inertia


def _vectors(sample: Sample) -> np.ndarray:
    """The vectors of a sample, ``[1, W, 3]``."""
    return np.zeros((1, 0, 3), np.float32) if sample.vectors is None else sample.vectors[None]


def _join(pieces: Sequence[np.ndarray], dtype: type, what: str) -> np.ndarray:
    if len({piece.shape[1:] for piece in pieces}) > 1:
        raise InputError(f"samples whose {what} differ in width cannot be stored together")
    return np.concatenate(pieces, axis=0, dtype=dtype, casting="same_kind") if pieces else np.zeros(0, dtype)


def write_part(
    path: Path,
    samples: Sequence[Sample],
    rejected: Iterable[Rejected] = (),
    *,
    store_edge_attr: bool = False,
    durable: bool = True,
) -> None:
    """Write samples as one part file, atomically; arguments as in :func:`make_part`.

    ``durable`` waits until the part is on disk, so that work can be resumed after a crash of the machine.
    """
    part = make_part(samples, rejected, store_edge_attr=store_edge_attr)
    text = json.dumps([[item.source, item.reason] for item in part.rejected], allow_nan=False).encode()
    extra = {**pack_names(part.object_names), "rejected": np.frombuffer(text, np.uint8)}
    tensors = {name: [array] for name, array in {**part.arrays, **extra}.items()}
    write_tensors(path, tensors, durable=durable)


def read_part(path: Path) -> Part:
    """Map a file written by :func:`write_part`. Raises DamagedStoreError."""
    arrays = map_tensors(path)
    try:
        names = unpack_names(arrays.pop("object_name_ptr"), arrays.pop("object_name_bytes"))
        rejected = tuple(Rejected(*item) for item in json.loads(arrays.pop("rejected").tobytes()))
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedStoreError(f"{path} is damaged: it is not a part of a data set ({error})") from error
    return Part(arrays, tuple(names), rejected)


def pack_names(names: Sequence[str]) -> dict[str, np.ndarray]:
    """Encode names as two flat arrays: the bytes of all names, and where each name begins."""
    encoded = [name.encode("utf-8", "surrogateescape") for name in names]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return {"object_name_ptr": ends, "object_name_bytes": np.frombuffer(b"".join(encoded), np.uint8)}


def unpack_names(ptr: np.ndarray, data: np.ndarray) -> list[str]:
    """The inverse of :func:`pack_names`."""
    text = data.tobytes()
    bounds = ptr.tolist()
    return [text[begin:end].decode("utf-8", "surrogateescape") for begin, end in pairwise(bounds)]


# ----------------------------------------------------------------------------------------------------------
# The store


def merge_parts(
    folder: Path,
    part_paths: Iterable[Path],
    *,
    manifest_fields: Mapping[str, Any],
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Merge part files, in the given order, into a packed store. The part files are kept.

    Args:
        folder: where to write; created if missing. Shards of an unfinished merge are replaced.
        part_paths: files written by :func:`write_part`.
        manifest_fields: ``feature_names`` (required), ``vector_names``, ``leaders`` (number of first nodes
            in farthest-point order), ``edge_attr`` ("none", "sh", "displacement", "stored"),
            ``sh_degree``, ``normalise``, ``k``, ``created_by``, ``provenance``.
        shard_bytes: size limit of a shard; a graph that would exceed it starts a new shard.

    Raises:
        InputError: the folder already holds a finished store, there is no sample to store, or samples
            differ in the number of features or vectors.
        DamagedStoreError: a part is damaged.
    """
    _write(folder, (read_part(path) for path in part_paths), shard_bytes, dict(manifest_fields))


def write_store(
    folder: Path,
    samples: Iterable[Sample],
    *,
    rejected: Iterable[Rejected] = (),
    shard_bytes: int = SHARD_BYTES,
    **manifest_fields: Any,
) -> None:
    """Write samples, consumed one by one, as a packed store; arguments as in :func:`merge_parts`."""
    kept = manifest_fields.get("edge_attr") == "stored"
    parts = (make_part(chunk, store_edge_attr=kept) for chunk in _chunks(samples, _CHUNK_GRAPHS))
    refused = (make_part([], [item]) for item in rejected)
    _write(folder, (part for group in (parts, refused) for part in group), shard_bytes, manifest_fields)


def _chunks(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    chunk: list[Sample] = []
    for sample in samples:
        chunk.append(sample)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _write(folder: Path, parts: Iterable[Part], shard_bytes: int, fields: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / MANIFEST).exists():
        raise InputError(f"{folder} already holds a packed data set: remove it or choose another folder")
    writer = _Writer(folder, shard_bytes, fields)
    for part in parts:
        writer.add(part)
    writer.finish()


@dataclass
class _Writer:
    """Collects parts (large ones as views, not copies) and writes each shard when it is full."""

    folder: Path
    shard_bytes: int
    fields: dict[str, Any]
    pieces: list[dict[str, np.ndarray]] = field(default_factory=list)
    filled: int = 0
    index: dict[str, list[np.ndarray]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    shards: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def __post_init__(self) -> None:
        unknown = set(self.fields) - set(_MANIFEST_FIELDS)
        if unknown or "feature_names" not in self.fields:
            raise TypeError(
                f"feature_names is required, and these are not manifest fields: {sorted(unknown)}"
            )
        self.kind = self.fields.get("edge_attr", "none")
        if self.kind not in EDGE_ATTR_KINDS:
            raise TypeError(f"edge_attr must be one of {EDGE_ATTR_KINDS}, got {self.kind!r}")
        self.edge_dim: int | None = None

    def add(self, part: Part) -> None:
        self.rejected.extend(part.rejected)
        if not len(part):
            return
        self._check_widths(part)
        arrays = part.arrays
        renamed = np.array([self.names.setdefault(n, len(self.names)) for n in part.object_names], np.int32)
        index = {name: arrays[name] for name in (*_PER_GRAPH, "radius_known", "node_count", "edge_count")}
        index["object_idx"] = renamed[arrays["object_idx"]]
        for name, array in index.items():
            self.index.setdefault(name, []).append(np.array(array))
        node_ptr = offsets(arrays["node_count"])
        edge_ptr = offsets(arrays["edge_count"])
        # Shard boundaries must not depend on how samples were grouped into parts. Whether a part has point
        # clouds does depend on it, so they are not counted.
        per_node, per_edge = 4 * len(self.fields["feature_names"]) + 4, 4 + 4 * (self.edge_dim or 0)
        size = offsets(arrays["node_count"] * per_node + arrays["edge_count"] * per_edge)
        begin = 0
        while begin < len(part):
            room = self.shard_bytes - self.filled
            end = int(np.searchsorted(size, size[begin] + room, side="right")) - 1
            if end <= begin and self.filled:
                self._flush()
                continue
            end = max(end, begin + 1)  # a graph larger than a shard gets a shard to itself
            piece = _slice(arrays, node_ptr[begin], node_ptr[end], edge_ptr[begin], edge_ptr[end])
            piece["node_count"] = arrays["node_count"][begin:end]
            amount = int(size[end] - size[begin])
            if amount < self.shard_bytes // _MOST_MAPS:
                piece = {name: array.copy() for name, array in piece.items()}
            self.pieces.append(piece)
            self.filled += amount
            begin = end

    def _check_widths(self, part: Part) -> None:
        found, expected = part.arrays["node_features"].shape[1], len(self.fields["feature_names"])
        if found != expected:
            raise InputError(f"samples have {found} node features, but the data set has {expected}")
        found, expected = part.arrays["vectors"].shape[1], len(self.fields.get("vector_names", ()))
        if found != expected:
            raise InputError(f"samples have {found} vectors, but the data set has {expected}")
        if self.kind != "stored":
            return
        if "edge_attr" not in part.arrays:
            raise InputError("samples have no edge_attr, but the data set stores edge_attr")
        dim = part.arrays["edge_attr"].shape[1]
        if self.edge_dim not in (None, dim):
            raise InputError(f"samples have {dim} edge features, but the data set has {self.edge_dim}")
        self.edge_dim = dim

    def _flush(self) -> None:
        names = ["node_features", "in_degree", "edge_source"]
        if self.kind == "stored":
            names.append("edge_attr")
        tensors = {name: [piece[name] for piece in self.pieces] for name in names}
        if any(not _same_positions(piece) for piece in self.pieces):
            tensors["point_cloud"] = [_positions(piece) for piece in self.pieces]
        file = f"shard-{len(self.shards):05d}.safetensors"
        digest, size = write_tensors(self.folder / file, tensors)
        num_graphs = sum(len(piece["node_count"]) for piece in self.pieces)
        self.shards.append({"file": file, "sha256": digest, "bytes": size, "num_graphs": num_graphs})
        self.pieces, self.filled = [], 0

    def finish(self) -> None:
        if not self.index:
            first = f": {self.rejected[0].source}: {self.rejected[0].reason}" if self.rejected else ""
            raise InputError(f"there is no sample to store in {self.folder}{first}")
        self._flush()
        index = {name: np.concatenate(pieces) for name, pieces in self.index.items()}
        index = {
            name: array for name, array in index.items() if name not in _OPTIONAL or np.isfinite(array).any()
        }
        known = index["radius_known"] == 1
        for name in ("node", "edge"):
            index[f"{name}_ptr"] = offsets(index.pop(f"{name}_count"))
        index.update(pack_names(list(self.names)))
        digest, size = write_tensors(self.folder / INDEX, {name: [array] for name, array in index.items()})
        self._remove_leftovers()
        manifest = {
            "format": FORMAT,
            "schema": SCHEMA,
            "num_graphs": len(known),
            "num_objects": len(self.names),
            "num_nodes": int(index["node_ptr"][-1]),
            "num_edges": int(index["edge_ptr"][-1]),
            "feature_names": list(self.fields["feature_names"]),
            "vector_names": list(self.fields.get("vector_names", ())),
            "leaders": int(self.fields.get("leaders", 0)),
            "edge_attr": self._edge_attr(),
            "normalise": self.fields.get("normalise", "unknown"),
            "k": self.fields.get("k"),
            "bounding_radius": "object" if known.all() else "mixed" if known.any() else "scan",
            "created_by": self.fields.get("created_by", f"plumbline {plumbline.__version__}"),
            "provenance": self.fields.get("provenance", {}),
            "rejected": [{"source": item.source, "reason": item.reason} for item in self.rejected],
            "shards": self.shards,
            "index": {"file": INDEX, "sha256": digest, "bytes": size},
        }
        write_atomically(
            self.folder / MANIFEST, json.dumps(manifest, indent=1, allow_nan=False).encode() + b"\n"
        )

    def _edge_attr(self) -> dict[str, Any]:
        degree = self.fields.get("sh_degree") if self.kind == "sh" else None
        if self.kind == "sh" and degree is None:
            raise TypeError("edge_attr='sh' needs sh_degree")
        dim = {"none": 0, "displacement": 3, "stored": self.edge_dim}.get(self.kind)
        return {
            "kind": self.kind,
            "sh_degree": degree,
            "dim": (degree + 1) ** 2 if degree is not None else dim,
        }

    def _remove_leftovers(self) -> None:
        """Remove shards and temporary files of an earlier, unfinished write."""
        kept = {shard["file"] for shard in self.shards}
        for path in [*self.folder.glob("shard-*.safetensors"), *self.folder.glob(".*.tmp")]:
            if path.name not in kept:
                path.unlink(missing_ok=True)


def _slice(
    arrays: Mapping[str, np.ndarray], node0: int, node1: int, edge0: int, edge1: int
) -> dict[str, np.ndarray]:
    piece = {name: arrays[name][node0:node1] for name in ("node_features", "in_degree")}
    piece["edge_source"] = arrays["edge_source"][edge0:edge1]
    if "point_cloud" in arrays:
        piece["point_cloud"] = arrays["point_cloud"][node0:node1]
    if "edge_attr" in arrays:
        piece["edge_attr"] = arrays["edge_attr"][edge0:edge1]
    return piece


def _positions(piece: Mapping[str, np.ndarray]) -> np.ndarray:
    return piece["point_cloud"] if "point_cloud" in piece else piece["node_features"][:, :3]


def _same_positions(piece: Mapping[str, np.ndarray]) -> bool:
    features = piece["node_features"]
    return "point_cloud" not in piece or bool(np.array_equal(piece["point_cloud"], features[:, :3]))
