"""Integrity check and description of a data set, as ``plumbline check`` reports them."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from plumbline.console.text import counted
from plumbline.data.pt.cache import open_data, remove_unused
from plumbline.data.split import group_of, split_by_object
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.verify import chunks, verify
from plumbline.data.store.writer import MANIFEST
from plumbline.errors import DamagedStoreError, InputError
from plumbline.records import Float, Int

_VAL_SPLIT, _SEED = 0.1, 0
_SMALLEST, _LARGEST = 0.001, 20.0
"""Range of the median bounding radius in metres; outside it, the scale is probably wrong."""
_FAR = 3.0
"""Distance of target and mean of the points, in bounding radii, that no view of one object can explain."""


def check_data(
    path: Path, *, deep: bool = False, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Check whether a data set is intact, and describe it if it is.

    A damaged packed copy of a folder of ``.pt`` files is built again, unless it is in use.

    Args:
        path: a packed data set, or a folder of ``.pt`` files.
        deep: also recompute every checksum and check every number.
        progress: called with (files read, total files) while ``.pt`` files are read.

    Returns:
        Plain values for JSON: ``ok``, ``problems`` (one sentence each), and, if there is no problem, the
        values of :func:`describe`.

    Raises:
        InputError: there is no data set, or nothing in it can be used.
    """
    report: dict[str, Any] = {"path": str(path), "ok": False, "deep": deep, "problems": []}
    try:
        store = open_data(path, progress=progress)
        report["problems"] = verify(store, deep=deep)
        cache = None if store.path == path else store.path
        if report["problems"] and cache is not None:
            del store  # an open store keeps its cache from being removed
            report["cache"] = str(cache)
            if remove_unused(cache):
                report["made_again"] = report["problems"]
                store = open_data(path, progress=progress)
                report["problems"] = verify(store, deep=deep)
    except DamagedStoreError as error:
        report["problems"] = [str(error)]
    report["ok"] = not report["problems"]
    if report["ok"]:
        report.update(describe(store, path))
    return report


def describe(store: PackedStore, path: Path) -> dict[str, Any]:
    """Describe a data set as plain values for JSON; lengths in stored units."""
    names = [group_of(name) for name in store.object_names]
    grouped = names != list(store.object_names)
    offsets, size = _target_distances(store), _sizes(store)
    outside = np.flatnonzero(offsets > _FAR)
    objects = Counter(names)
    graphs: Counter[str] = Counter()
    for number, amount in enumerate(np.bincount(store.object_idx, minlength=store.num_objects).tolist()):
        graphs[names[number]] += amount
    return {
        "layout": "packed" if (path / MANIFEST).exists() else "folder of .pt files",
        "store": str(store.path),
        "fingerprint": store.fingerprint,
        "created_by": store.manifest["created_by"],
        "num_graphs": len(store),
        "num_objects": store.num_objects,
        "groups": {
            name: {"objects": objects[name], "graphs": graphs[name]}
            for name in sorted(objects if grouped else ())
        },
        "nodes_per_graph": _spread(np.diff(store.node_ptr)),
        "edges_per_graph": _spread(np.diff(store.edge_ptr)),
        "feature_names": list(store.feature_names),
        "edge_attr": store.manifest["edge_attr"],
        "normalise": store.normalise,
        "k": store.k,
        "bounding_radius": {"of": store.radius_source, **_spread(store.bounding_radius)},
        "size_in_metres": size,
        "target_from_point_mean_in_radii": _spread(offsets),
        "warnings": _warnings(store, size, outside),
        "split": _split(store),
        "rejected": [{"source": item.source, "reason": item.reason} for item in store.rejected],
    }


def _spread(values: np.ndarray) -> dict[str, float]:
    plain = values.astype(np.float64)
    return {"min": float(plain.min()), "mean": float(plain.mean()), "max": float(plain.max())}


def _sizes(store: PackedStore) -> dict[str, float] | None:
    """Bounding radii in metres; None if the frame is normalised and the scale is not recorded."""
    if store.normalise in ("unit", "unknown") and (store.scale == 1).all():
        return None
    radius = store.bounding_radius * store.scale
    return {"min": float(radius.min()), "median": float(np.median(radius)), "max": float(radius.max())}


def _warnings(store: PackedStore, size: dict[str, float] | None, outside: Int) -> list[str]:
    """Warn of valid data that look like a mistake; ``outside``: graphs whose target is far away."""
    found = []
    if size is not None and not _SMALLEST <= size["median"] <= _LARGEST:
        found.append(
            f"half of the bounding radii are {'above' if size['median'] > _LARGEST else 'below'} "
            f"{size['median']:.3g} m: is --scale correct?"
        )
    if len(outside):
        name = store.object_names[store.object_idx[outside[0]]]
        found.append(
            f"the target of {counted(len(outside), 'graph')} lies more than {_FAR:g} bounding radii from the "
            f"mean of the points (the first is {name}): are its label and its unit correct?"
        )
    return found


def _target_distances(store: PackedStore) -> Float:
    """``[G]`` distance of the target from the mean of the points, in bounding radii."""
    if store.kept is not None:
        return _target_distances(PackedStore.open(store.path))[store.kept]
    distances = np.empty(len(store))
    for number in range(len(store.manifest["shards"])):
        graphs, arrays = store.shard_graphs(number), store.shard(number)
        pos = arrays.get("point_cloud", arrays["node_features"][:, :3])
        for first, last in chunks(store, graphs):
            ptr = store.node_ptr[first : last + 1] - store.node_ptr[graphs.start]
            points = pos[ptr[0] : ptr[-1]].astype(np.float64)
            mean = np.add.reduceat(points, ptr[:-1] - ptr[0], axis=0) / np.diff(ptr)[:, None]
            distances[first:last] = np.linalg.norm(store.target[first:last] - mean, axis=1)
    radius = np.where(store.bounding_radius > 0, store.bounding_radius, np.inf)
    return distances / radius


def _split(store: PackedStore) -> dict[str, Any]:
    try:
        sides = split_by_object(store.object_idx, store.object_names, _VAL_SPLIT, _SEED)
    except InputError as error:
        return {"reason": str(error)}
    counts = {
        side: {"graphs": len(indices), "objects": len(np.unique(store.object_idx[indices]))}
        for side, indices in zip(("train", "val"), sides, strict=True)
    }
    return {"val_split": _VAL_SPLIT, "seed": _SEED, **counts}
