"""``plumbline check``: is a data set whole, and what is in it? Does a model keep its symmetry?"""

import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plumbline.config import CheckConfig
from plumbline.console.progress import file_bar
from plumbline.console.tables import fits, print_whole
from plumbline.data.pt.cache import open_data, remove_unused
from plumbline.data.split import split_by_object
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.verify import verify
from plumbline.data.store.writer import MANIFEST
from plumbline.errors import DamagedStoreError, InputError
from plumbline.evaluation.metrics import group_of
from plumbline.predictors.find_checkpoint import find_best
from plumbline.records import Float, Int

SHOWN_GROUPS = 30
SHOWN_REJECTS = 20
_VAL_SPLIT, _SEED = 0.1, 0
_CHUNK_NODES = 1_000_000
_SMALLEST, _LARGEST = 0.001, 20.0
"""Median bounding radius in metres outside of which a scale was probably forgotten."""
_FAR = 3.0
"""Bounding radii between target and mean of the points that no view of one object explains."""


def run(config: CheckConfig, console: Console) -> int:
    """Checks a data set (packed, or a folder of `.pt` files) or a checkpoint's symmetry, and reports.

    Returns:
        0 if all is well, 1 if something stored is damaged or a model breaks the symmetry that it declares.

    Raises:
        InputError: there is no data set or no checkpoint, or nothing in it can be used.
    """
    if config.equivariance is not None:
        return check_equivariance(config, config.equivariance, console)
    report: dict[str, Any] = {"path": str(config.path), "ok": False, "deep": config.deep, "problems": []}

    def open_it() -> PackedStore:
        with file_bar(console) as bar:
            return open_data(config.path, progress=None if config.json else bar)

    try:
        store = open_it()
        report["problems"] = verify(store, deep=config.deep)
        cache = None if store.path == config.path else store.path
        if report["problems"] and cache is not None:
            del store  # it keeps the cache in use
            report["cache"] = str(cache)
            if remove_unused(cache):
                report["made_again"] = report["problems"]
                store = open_it()
                report["problems"] = verify(store, deep=config.deep)
    except DamagedStoreError as error:
        report["problems"] = [str(error)]
    report["ok"] = not report["problems"]
    if report["ok"]:
        report.update(describe(store, config.path))
    if config.json:
        console.out(json.dumps(report, indent=1), highlight=False)
    else:
        _show(report, console)
    return 0 if report["ok"] else 1


def check_equivariance(config: CheckConfig, given: Path, console: Console) -> int:
    """Measures a checkpoint's symmetry and prints it; 1 if the model breaks what it declares."""
    if config.path != CheckConfig().path or config.deep:
        raise InputError("--equivariance looks at a checkpoint alone: leave the data set and --deep out")
    path = find_best(given)
    from plumbline.evaluation import equivariance
    from plumbline.models import SYMMETRIES
    from plumbline.predictors.checkpoint import load_checkpoint

    loaded = load_checkpoint(path)
    symmetry = str(loaded.model.symmetry)
    with console.status("moving scans") if console.is_terminal and not config.json else nullcontext():
        found = equivariance.measure(loaded.model, loaded.model_name, loaded.data, path=path)
    kept = equivariance.KEPT[symmetry]
    report = {
        "checkpoint": str(path),
        "model": loaded.model_name,
        "declares": symmetry,
        "ok": equivariance.keeps(symmetry, found),
        "scans": equivariance.SCANS,
        "limits": equivariance.LIMITS,
        "moves": {
            kind: {"declared": kind in kept, **{name: item._asdict() for name, item in some.items()}}
            for kind, some in found.items()
        },
    }
    if config.json:
        console.out(json.dumps(report, indent=1, allow_nan=False), highlight=False)
    else:
        _show_equivariance(report, SYMMETRIES[symmetry], console)
    return 0 if report["ok"] else 1


def describe(store: PackedStore, path: Path) -> dict[str, Any]:
    """Everything that is printed, as plain values for JSON; lengths in stored units."""
    names = [group_of(name) for name in store.object_names]
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
        "groups": {name: {"objects": objects[name], "graphs": graphs[name]} for name in sorted(objects)},
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
    """Bounding radii in metres; None where the frame is normalised and nothing says by how much."""
    if store.normalise in ("unit", "unknown") and (store.scale == 1).all():
        return None
    radius = store.bounding_radius * store.scale
    return {"min": float(radius.min()), "median": float(np.median(radius)), "max": float(radius.max())}


def _warnings(store: PackedStore, size: dict[str, float] | None, outside: Int) -> list[str]:
    """What is stored rightly and yet looks like a mistake; ``outside``: graphs with a target far away."""
    found = []
    if size is not None and not _SMALLEST <= size["median"] <= _LARGEST:
        found.append(
            f"half of the bounding radii are {'above' if size['median'] > _LARGEST else 'below'} "
            f"{size['median']:.3g} m: is --scale right?"
        )
    if len(outside):
        name = store.object_names[store.object_idx[outside[0]]]
        graphs = "of 1 graph lies" if len(outside) == 1 else f"of {len(outside):,} graphs lies"
        found.append(
            f"the target {graphs} more than {_FAR:g} bounding radii from the mean of the points, "
            f"first that of {name}: are its label and its unit right?"
        )
    return found


def _target_distances(store: PackedStore) -> Float:
    """``[G]`` distance of the target from the mean of the points, in bounding radii."""
    distances = np.empty(len(store))
    for number in range(len(store.manifest["shards"])):
        graphs, arrays = store.shard_graphs(number), store.shard(number)
        pos = arrays.get("point_cloud", arrays["node_features"][:, :3])
        ptr = store.node_ptr[graphs.start : graphs.stop + 1] - store.node_ptr[graphs.start]
        begin = 0
        while begin < len(graphs):
            end = max(int(np.searchsorted(ptr, ptr[begin] + _CHUNK_NODES, side="right")) - 1, begin + 1)
            points = pos[ptr[begin] : ptr[end]].astype(np.float64)
            total = np.add.reduceat(points, ptr[begin:end] - ptr[begin], axis=0)
            rows = slice(graphs.start + begin, graphs.start + end)
            mean = total / np.diff(ptr[begin : end + 1])[:, None]
            distances[rows] = np.linalg.norm(store.target[rows] - mean, axis=1)
            begin = end
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


# ----------------------------------------------------------------------------------------------------------
# Printing


def _show(report: dict[str, Any], console: Console) -> None:
    if not report["ok"]:
        console.print(f"{escape(report['path'])} is damaged:")
        for text in report["problems"]:
            console.print(f"  {escape(text)}")
        advice = "Restore the files from a copy, or delete the folder and run `plumbline prepare` again."
        if "cache" in report:
            advice = (
                "The .pt files are not damaged, only their packed copy, and another program has it open: "
                f"end that program and check again, or delete {escape(report['cache'])}."
            )
        console.print(advice)
        return
    for text in report.get("made_again", []):
        console.print(f"made again: {escape(text)}")
    _show_facts(report, console)
    _show_groups(report["groups"], console)
    _show_rejected(report["rejected"], console)


def _show_equivariance(report: dict[str, Any], meaning: str, console: Console) -> None:
    limits, declares = report["limits"], report["declares"]
    console.print(f"{report['model']} ({report['checkpoint']})", markup=False)
    console.print(f"declares {declares}: {meaning}\n", markup=False)
    table = _deviations(report, ("mean", "largest"))
    print_whole(console, table if fits(console, table) else _deviations(report, ("largest",)))
    rounding = " and ".join(f"{limit:.0e} in {name}" for name, limit in limits.items())
    console.print(
        f"\n|f(R x) - R f(x)| as a fraction of the object's radius, over {report['scans']} scans of built-in "
        f"solids; up to {rounding} is rounding."
    )
    if declares == "none":
        console.print("The model declares no symmetry, so there is none to keep.")
    elif report["ok"]:
        console.print("The model keeps the symmetry that it declares.")
    else:
        console.print("The model breaks the symmetry that it declares.")


def _deviations(report: dict[str, Any], parts: Sequence[str]) -> Table:
    """One row per kind of move: some figures in each precision, and the verdict on the largest."""
    limits = report["limits"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("scans moved by", no_wrap=True)
    for name in limits:
        for part in parts:
            table.add_column(f"{name}, {part}" if part == parts[0] else part, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for kind, found in report["moves"].items():
        kept = all(found[name]["largest"] <= limit for name, limit in limits.items())
        said = ("kept" if kept else "BROKEN") if found["declared"] else "not declared"
        cells = [f"{found[name][part]:.1e}" for name in limits for part in parts]
        table.add_row(kind, *cells, said)
    return table


def _show_facts(report: dict[str, Any], console: Console) -> None:
    facts = _facts(report)
    width = max(len(name) for name, _ in facts) + 3
    for name, value in facts:
        first, *more = _folded(value, console.width - width) if console.is_terminal else [value]
        console.print(f"[dim]{name:<{width}}[/dim]{escape(first)}", soft_wrap=True, emoji=False)
        for line in more:
            console.print(" " * width + escape(line), soft_wrap=True, emoji=False)
    for text in report["warnings"]:
        console.print(f"warning: {escape(text)}")


def _folded(value: str, room: int) -> list[str]:
    """Lines between words, none of which is changed: a path can be copied."""
    folder = textwrap.TextWrapper(
        max(room, 20),
        break_long_words=False,
        break_on_hyphens=False,
        expand_tabs=False,
        replace_whitespace=False,
    )
    return folder.wrap(value) or [""]


def _facts(report: dict[str, Any]) -> list[tuple[str, str]]:
    edge, radius, split = report["edge_attr"], report["bounding_radius"], report["split"]
    kinds = {
        "none": "none",
        "sh": f"spherical harmonics to degree {edge['sh_degree']} ({edge['dim']}), computed when read",
        "displacement": "displacement (3), computed when read",
        "stored": f"stored ({edge['dim']})",
    }
    whose = {
        "object": "of the object",
        "scan": "of the scan (the object's is unknown)",
        "mixed": "of the object where known, else of the scan",
    }
    if "reason" in split:
        preview = split["reason"]
    else:
        sides = [
            f"{_count(split[s]['graphs'], 'graph')} of {_count(split[s]['objects'], 'object')}"
            for s in ("train", "val")
        ]
        preview = f"{sides[0]} train, {sides[1]} validate (--val_split {split['val_split']})"
    offset, size = report["target_from_point_mean_in_radii"], report["size_in_metres"]
    checked = "every checksum and number is right" if report["deep"] else "sizes and index are right"
    return [
        ("data set", f"{report['path']} ({report['layout']})"),
        ("condition", f"whole: {checked}" + ("" if report["deep"] else "; --deep looks at everything")),
        ("graphs", f"{report['num_graphs']:,} of {_count(report['num_objects'], 'object')}"),
        ("rejected", _count(len(report["rejected"]), "input")),
        ("nodes per graph", _range(report["nodes_per_graph"], ",.0f")),
        ("edges per graph", _range(report["edges_per_graph"], ",.0f")),
        ("node features", f"{len(report['feature_names'])}: {' '.join(report['feature_names'])}"),
        ("edge attributes", kinds[edge["kind"]]),
        ("neighbours", "not recorded" if report["k"] is None else str(report["k"])),
        ("normalisation", str(report["normalise"])),
        ("bounding radius", f"{_range(radius, '.4g')}, {whose[radius['of']]}"),
        ("size in metres", "not recorded" if size is None else _metres(size)),
        (
            "target to point mean",
            f"{100 * offset['mean']:.1f} % of the radius on average, at most {100 * offset['max']:.1f} %",
        ),
        ("split", preview),
        ("fingerprint", report["fingerprint"][:16]),
    ]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _metres(size: dict[str, float]) -> str:
    low, middle, high = (f"{size[key]:.3g}" for key in ("min", "median", "max"))
    return (
        f"bounding radius {middle} m"
        if low == high
        else f"bounding radius {low} to {high} m, median {middle} m"
    )


def _range(spread: dict[str, float], form: str) -> str:
    if spread["min"] == spread["max"]:
        return f"{spread['min']:{form}}"
    return f"{spread['min']:{form}} to {spread['max']:{form}}, mean {spread['mean']:{form}}"


def _show_groups(groups: dict[str, dict[str, int]], console: Console) -> None:
    if len(groups) < 2:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("group", no_wrap=True)
    table.add_column("objects", justify="right", no_wrap=True)
    table.add_column("graphs", justify="right", no_wrap=True)
    for name, amount in list(groups.items())[:SHOWN_GROUPS]:
        table.add_row(escape(name) or "(none)", f"{amount['objects']:,}", f"{amount['graphs']:,}")
    console.print()
    print_whole(console, table)
    if len(groups) > SHOWN_GROUPS:
        console.print(f"... and {_count(len(groups) - SHOWN_GROUPS, 'more group')} (--json lists all)")


def _show_rejected(rejected: list[dict[str, str]], console: Console) -> None:
    shown = rejected[:SHOWN_REJECTS]
    if not shown:
        return
    width = min(max(len(item["source"]) for item in shown), 48) + 3
    console.print(f"\n{_count(len(rejected), 'input')} {'was' if len(rejected) == 1 else 'were'} rejected:")
    for item in shown:
        console.print(f"  {escape(item['source']):<{width}}{escape(item['reason'])}")
    if len(rejected) > SHOWN_REJECTS:
        console.print(f"  ... and {len(rejected) - SHOWN_REJECTS:,} more (--json lists all)")
