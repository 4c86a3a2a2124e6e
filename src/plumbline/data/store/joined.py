"""Several packed stores seen as one. Their shards stay where they are; only one row per graph is copied."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from plumbline.data.store.reader import PackedStore
from plumbline.data.store.tensors import offsets
from plumbline.errors import InputError
from plumbline.records import Rejected

_PER_GRAPH = (
    "target", "origin", "scale", "bounding_radius", "radius_known", "vectors", "num_views", "volume",
    "inertia",
)  # fmt: skip


def join_stores(parts: Sequence[PackedStore], folders: Sequence[Path]) -> "JoinedStore":
    """Join data sets of graphs that are made alike.

    Args:
        parts: the data sets.
        folders: their folders as the user named them, for error messages.

    Raises:
        InputError: a folder is given twice, or two data sets differ in what every graph of one has.
    """
    for i, (part, folder) in enumerate(zip(parts, folders, strict=True)):
        if folder.resolve() in [other.resolve() for other in folders[:i]]:
            raise InputError(f"--data_dir: {folder} is given twice")
        here, there = _form(parts[0]), _form(part)
        for what in here:
            if here[what] != there[what]:
                raise InputError(
                    f"--data_dir: {folders[0]} and {folder} differ in {what} ({here[what]}; {there[what]}): "
                    "prepare both alike"
                )
    return JoinedStore(parts, folders)


def _form(store: PackedStore) -> dict[str, str]:
    """What the graphs of a data set have in common, as the user calls it."""
    edge_attr = f"{store.edge_attr_kind}, {store.edge_attr_dim} numbers"
    return {
        "the features of a point": ", ".join(store.feature_names),
        "the vectors of a scan": ", ".join(store.vector_names) or "none",
        "the frame, --normalise": store.normalise,
        "the number of neighbours, --k": str(store.k),
        "--edge_attr": edge_attr
        if store.sh_degree is None
        else f"{edge_attr}, --sh_degree {store.sh_degree}",
        "the number of points in farthest-point order": str(store.leaders),
    }


class JoinedStore(PackedStore):
    """Packed stores one after the other, see :func:`join_stores`. Objects of one name are one object.

    Attributes:
        parts: the stores.
    """

    def __init__(self, parts: Sequence[PackedStore], folders: Sequence[Path]) -> None:
        self.parts, self._folders = tuple(parts), tuple(folders)
        number = {
            name: i for i, name in enumerate(dict.fromkeys(n for part in parts for n in part.object_names))
        }
        self.object_names = list(number)
        own = [np.array([number[name] for name in part.object_names], np.int32) for part in parts]
        index: dict[str, np.ndarray] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in _PER_GRAPH
        }
        for name in ("node_ptr", "edge_ptr"):
            sizes = [np.diff(getattr(part, name)) for part in parts]
            index[name] = np.concatenate([[0], np.cumsum(np.concatenate(sizes), dtype=np.int64)])
        index["object_idx"] = np.concatenate(
            [new[part.object_idx] for new, part in zip(own, parts, strict=True)]
        )
        index |= {name: np.zeros(0, np.uint8) for name in ("object_name_ptr", "object_name_bytes")}
        known = index["radius_known"]
        super().__init__(
            Path(" + ".join(map(str, folders))),
            {
                **parts[0].manifest,
                **{name: sum(getattr(part, name) for part in parts) for name in ("num_nodes", "num_edges")},
                "num_objects": len(number),
                "bounding_radius": "object" if known.all() else "mixed" if known.any() else "scan",
                "shards": [shard for part in parts for shard in part.manifest["shards"]],
                "rejected": [],
            },
            index,
        )
        self.rejected = [
            Rejected(f"{folder}/{item.source}", item.reason)
            for folder, part in zip(folders, parts, strict=True)
            for item in part.rejected
        ]
        self._leave_out_as_in_the_parts()
        self._places = [(part, i) for part in parts for i in range(len(part.manifest["shards"]))]

    def _leave_out_as_in_the_parts(self) -> None:
        """Skip the graphs in the shards that a part has left out."""
        rows = (
            [np.diff(part._node_rows) for part in self.parts],
            [np.diff(part._edge_rows) for part in self.parts],
        )
        self._node_rows, self._edge_rows = (offsets(np.concatenate(sizes)) for sizes in rows)
        first = offsets([len(sizes) for sizes in rows[0]])
        kept = [
            start + (np.arange(len(part)) if part.kept is None else part.kept)
            for part, start in zip(self.parts, first, strict=False)
        ]
        self.kept = None if all(part.kept is None for part in self.parts) else np.concatenate(kept)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, ([part.__reduce__()[1] for part in self.parts], self._folders)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the data, 64 hex digits: depends on the fingerprints of the parts and their order."""
        return hashlib.sha256("\n".join(part.fingerprint for part in self.parts).encode()).hexdigest()

    def shard(self, number: int) -> dict[str, np.ndarray]:
        """The memory-mapped arrays of one shard, counted over all parts. Raises DamagedStoreError."""
        part, own = self._places[number]
        return part.shard(own)


def _reopened(parts: Sequence[tuple[Path, bool]], folders: Sequence[Path]) -> JoinedStore:
    return JoinedStore([PackedStore.open(path, leave_out=leave_out) for path, leave_out in parts], folders)
