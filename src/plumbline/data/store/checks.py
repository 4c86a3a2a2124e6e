"""Checks of a packed store: its manifest and index must match its files before any of them is used."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from plumbline.data.store.tensors import offsets
from plumbline.data.store.writer import FORMAT, MANIFEST, SCHEMA
from plumbline.errors import DamagedStoreError, InputError
from plumbline.records import Int

_INDEX_SHAPES: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "node_ptr": ("<i8", "graphs+1", ()),
    "edge_ptr": ("<i8", "graphs+1", ()),
    "target": ("<f8", "graphs", (3,)),
    "origin": ("<f8", "graphs", (3,)),
    "scale": ("<f8", "graphs", ()),
    "bounding_radius": ("<f8", "graphs", ()),
    "radius_known": ("|u1", "graphs", ()),
    "num_views": ("<i4", "graphs", ()),
    "object_idx": ("<i4", "graphs", ()),
    "object_name_ptr": ("<i8", "objects+1", ()),
}
"""Arrays of the index except ``vectors`` and the object names: type, rows, rest of the shape."""
OPTIONAL_SHAPES: dict[str, tuple[int, ...]] = {"volume": (), "inertia": (3, 3)}
"""Arrays of float64 that an index has if some graph has a finite one: rest of the shape."""

_FILE_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
"""File names that a manifest may contain: no path, so that none leads out of the folder."""


def read_manifest(path: Path) -> dict[str, Any]:
    """Read and check the manifest of a folder.

    Raises:
        InputError: there is no manifest, it cannot be read, or it is of another format or schema.
        DamagedStoreError: it is damaged.
    """
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{path} is not a packed data set: it has no {MANIFEST}") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except (RecursionError, ValueError) as error:
        raise DamagedStoreError(f"{file} is damaged: it is not JSON") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{file} does not describe a packed data set (its format is not {FORMAT!r})")
    schema = manifest.get("schema")
    if schema != SCHEMA:
        raise InputError(
            f"{file} has schema version {schema!r}, but this program reads version {SCHEMA}: "
            "update the program, or make the data set again with `plumbline prepare`"
        )
    try:
        _check_manifest(manifest)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DamagedStoreError(f"{file} is damaged: {type(error).__name__}: {error}") from error
    return manifest


def _check_manifest(manifest: dict[str, Any]) -> None:
    for item in [*manifest["shards"], manifest["index"]]:
        if not _FILE_NAME.fullmatch(item["file"]):
            raise ValueError(f"{item['file']!r} is not the name of a file in the same folder")
        if not isinstance(item["bytes"], int) or not isinstance(item["sha256"], str):
            raise TypeError(f"{item['file']!r} lacks its size or its hash")
    for name in ("num_graphs", "num_objects", "num_nodes", "num_edges"):
        if not isinstance(manifest[name], int) or manifest[name] < (name != "num_edges"):
            raise ValueError(f"{name} is {manifest[name]!r}")
    if sum(shard["num_graphs"] for shard in manifest["shards"]) != manifest["num_graphs"]:
        raise ValueError("the shards do not add up to num_graphs")
    kind, degree = manifest["edge_attr"]["kind"], manifest["edge_attr"]["sh_degree"]
    if kind not in ("none", "sh", "displacement", "stored") or (kind == "sh") != isinstance(degree, int):
        raise ValueError(f"edge attributes of kind {kind!r} and degree {degree!r}")
    if not isinstance(manifest["edge_attr"]["dim"], int):
        raise TypeError("edge attributes without a width")
    if not isinstance(manifest["leaders"], int):
        raise TypeError("leaders is not a whole number")
    for name in ("feature_names", "vector_names", "normalise", "k", "bounding_radius", "rejected"):
        manifest[name]
    if not all(isinstance(item["source"] + item["reason"], str) for item in manifest["rejected"]):
        raise TypeError("rejected inputs without a source or a reason")


def check_file(file: Path, expected: int) -> None:
    """Refuse a file that is missing, links out of its folder, or differs in size from the manifest."""
    try:
        size = file.stat().st_size
        if file.is_symlink() and file.resolve().parent != file.parent.resolve():
            raise DamagedStoreError(
                f"{file} is a link that points out of its folder: replace it with the file itself"
            )
    except FileNotFoundError as error:
        raise DamagedStoreError(f"{file} is missing from the packed data set") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    if size != expected:
        raise DamagedStoreError(f"{file} is damaged: it has {size} bytes, but the manifest says {expected}")


def check_index(file: Path, index: dict[str, np.ndarray], manifest: dict[str, Any]) -> None:
    """Refuse an index whose arrays do not match the manifest."""
    for name, (dtype, count, rest) in _INDEX_SHAPES.items():
        rows = manifest["num_" + count.removesuffix("+1")] + count.endswith("+1")
        check_array(file, index, name, dtype, (rows, *rest))
    check_array(file, index, "vectors", "<f4", (manifest["num_graphs"], len(manifest["vector_names"]), 3))
    for name, rest in OPTIONAL_SHAPES.items():
        if name in index:
            check_array(file, index, name, "<f8", (manifest["num_graphs"], *rest))
    names = index["object_name_ptr"][-1]
    check_array(file, index, "object_name_bytes", "|u1", (int(names),))
    for name in ("node", "edge"):
        ptr, total = index[f"{name}_ptr"], manifest[f"num_{name}s"]
        if ptr[0] != 0 or ptr[-1] != total:
            raise DamagedStoreError(f"{file} is damaged: {name}_ptr does not run from 0 to {total}")


def check_array(
    file: Path, tensors: dict[str, np.ndarray], name: str, dtype: str, shape: tuple[int, ...]
) -> None:
    """Refuse a file that has no array of this name, type and shape."""
    if name not in tensors:
        raise DamagedStoreError(f"{file} is damaged: it has no {name}")
    array = tensors[name]
    if array.dtype != np.dtype(dtype) or array.shape != shape:
        found, expected = f"{array.dtype} {array.shape}", f"{np.dtype(dtype)} {shape}"
        raise DamagedStoreError(f"{file} is damaged: {name} is {found}, but should be {expected}")


def check_objects(path: Path, object_idx: Int, num_objects: int) -> None:
    """Refuse object indices outside ``0 .. num_objects - 1``."""
    if object_idx.min() < 0 or object_idx.max() >= num_objects:
        raise DamagedStoreError(
            f"{path} is damaged: its index names objects that do not exist; "
            "run plumbline check --deep for details"
        )


def check_range(path: Path, ptr: Int, graphs: Int, first: Int, last: Int) -> None:
    """Refuse graphs whose rows lie outside their shards.

    Args:
        path: of the store, for the message.
        ptr: ``node_ptr`` or ``edge_ptr``.
        graphs: which graphs to check.
        first, last: the shard of each graph holds the graphs ``first .. last - 1``.
    """
    begin, end = ptr[graphs], ptr[graphs + 1]
    if not ((ptr[first] <= begin) & (begin <= end) & (end <= ptr[last])).all():
        raise DamagedStoreError(
            f"{path} is damaged: its index points outside a shard; run plumbline check --deep for details"
        )


def check_edges(path: Path, source: Int, in_degree: Int, node_ptr: Int, edge_ptr: Int) -> None:
    """Refuse edges that leave their graph; ``source [E]`` is numbered within the batch."""
    ends = offsets(in_degree)[node_ptr]
    inside = not len(source) or (source.min() >= 0 and source.max() < len(in_degree))
    if not inside or (len(in_degree) and in_degree.min() < 0) or not np.array_equal(ends, edge_ptr):
        raise DamagedStoreError(
            f"{path} is damaged: edges lead out of their graphs; run plumbline check --deep to find the file"
        )
