"""Tables of a result of ScanCoM-Real."""

from collections.abc import Mapping
from typing import Any

from plumbline.console.text import counted
from plumbline.evaluation.grids import Grid, Page

Result = Mapping[str, Any]
"""The content of ``scancom-real.json``."""

COLUMNS = ("raw", "cleaned", "oracle", "twin")
"""What a method is given of a scan, as in the numbers; tables have the whole names."""
ALL = "all"
"""The part of a set that is all of it."""
BUT = "all but "
"""How the name of the part that some groups are left out of begins."""
MEAN = "{} (mean of {})"
"""The name of several trainings of a network, taken together."""
ANSWERED = 0.8
"""Share of the scans that is answered in the table of refusals."""
_ORDERS = (
    "Scans are refused in the order of their novelty, or of their expected error as a share of the extent of "
    "their points; best possible: in the order of the misses. The area is the mean over all shares that may "
    "be answered."
)
_HEADS = ["raw", "cleaned", "oracle\ninliers", "simulated\ntwin"]
"""Names of ``COLUMNS`` in all tables."""


def page(result: Result) -> Page:
    """All that is shown of a result: tables over all scans, then by part of the set."""
    methods = result["methods"]
    overall = [ALL, *(part for part in methods[result["best_baseline"]] if part.startswith(BUT))]
    grids = []
    for part in overall:
        grids += _overall(methods, part) + _refusals(result, part)
    grids += [_by_part(methods, name, result["best_baseline"]) for name in _compared(result)]
    return Page(result["benchmark"], grids, _notes(result), _warnings(result))


def _compared(result: Result) -> list[str]:
    """The means over seeds, and the checkpoints without one; without checkpoints the best baseline."""
    in_means = {name for names in result["seeds"].values() for name in names}
    alone = [one["name"] for one in result["checkpoints"] if one["name"] not in in_means]
    return [*result["seeds"], *alone] or [result["best_baseline"]]


def _overall(methods: Mapping[str, Any], part: str) -> list[Grid]:
    """Miss, its 90th percentile and the stated radius on one part of the set, the best mean miss first."""
    names = sorted(methods, key=lambda name: methods[name][part]["cleaned"]["mean"])
    found = {name: [methods[name][part][column] for column in COLUMNS] for name in names}
    some = methods[names[0]][part]
    which = f"{part}: {counted(some['scans'], 'scan')} of {counted(some['objects'], 'object')}"
    means = [[one["mean"] for one in found[name]] for name in names]
    least = {(column.index(min(column)), i) for i, column in enumerate(zip(*means, strict=True), 1)}
    miss, p90, stated, ellipsoid = [], [], [], []
    for name in names:
        both = [f"{_share(one['mean'])} / {_share(one['median'])}" for one in found[name]]
        miss.append([name, *both, _interval(methods[name][part]["cleaned"])])
        p90.append([name, *(_share(one["p90"]) for one in found[name])])
        if found[name][0]["holds"] is not None:
            both = [f"{_share(one['holds'])} / {_share(one['radius'])}" for one in found[name]]
            stated.append([name, *both])
        if found[name][0]["ellipsoid_volume"] is not None:
            both = [
                f"{_share(one['ellipsoid_holds'])} / {_share(one['ellipsoid_volume'])}" for one in found[name]
            ]
            ellipsoid.append([name, *both])
    heads = ["method", *_HEADS, "cleaned,\n95 %\ninterval"]
    grids = [
        Grid(f"Mean / median miss, % of the radius; {which}", heads, miss, least),
        Grid(f"90 % of the misses are below, % of the radius; {which}", ["method", *_HEADS], p90, set()),
    ]
    if stated:
        title = f"Stated 90 % radius: truths that it holds, % / median size, % of the radius; {which}"
        grids.append(Grid(title, ["method", *_HEADS], stated, set()))
    if ellipsoid:
        title = f"90 % ellipsoid: truths that it holds, % / volume, % of the ball's (geometric mean); {which}"
        grids.append(Grid(title, ["method", *_HEADS], ellipsoid, set()))
    return grids


def _refusals(result: Result, part: str) -> list[Grid]:
    """How usual the scans are to each model, and its misses if it refuses some; none if no model says so."""
    found = {name: parts[part] for name, parts in result["refusals"].items() if part in parts}
    if not found:
        return []
    orders = ("random", "novelty", "expected error", "best possible")
    unusual, rows = [], []
    for name, curves in found.items():
        columns = [result["methods"][name][part][column]["unusual"] for column in COLUMNS]
        if columns[0] is not None:
            unusual.append([name, *map(_share, columns)])
        at = curves["answered"].index(ANSWERED)
        rows.append([name] + [
            f"{_share(curves['miss'][order][at])} / {_share(curves['area'][order])}"
            if order in curves["area"] else "–"
            for order in orders
        ])  # fmt: skip
    heads = ["method", *(order.replace(" ", "\n") for order in orders)]
    title = (
        f"A fifth refused: mean miss / area under the risk-coverage curve, % of the radius; cleaned, {part}"
    )
    grids = [Grid(title, heads, rows, set())]
    if unusual:
        title = f"Scans unlike those of the training (novelty above 1), %; {part}"
        grids.insert(0, Grid(title, ["method", *_HEADS], unusual, set()))
    return grids


def _by_part(methods: Mapping[str, Any], name: str, baseline: str) -> Grid:
    """One row for each part of the set, with the means of a method, and of the best baseline."""
    rows = []
    for part, found in methods[name].items():
        other = methods[baseline].get(part)
        # What was in the training differs between methods.
        same = other is not None and other["scans"] == found["scans"]
        rows.append(
            [part, f"{found['scans']:,}", f"{found['objects']:,}"]
            + [_share(found[column]["mean"]) for column in COLUMNS]
            + ([_share(other["cleaned"]["mean"]) if same else "–"] if name != baseline else [])
        )
    heads = ["part", "scans", "objects", *_HEADS]
    heads += [f"{baseline},\ncleaned"] if name != baseline else []
    return Grid(f"{name}: mean miss by part of the set, % of the radius", heads, rows, set())


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _interval(found: Mapping[str, Any]) -> str:
    return "–" if found["low"] is None else f"{_share(found['low'])}–{_share(found['high'])}"


def _notes(result: Result) -> list[str]:
    settings = result["settings"]
    return [
        "raw: all points of a scan. cleaned: as predict does by default. oracle inliers: only the points "
        f"within {1000 * settings['within']:g} mm of the registered reference mesh. simulated twin: what the "
        "same camera would see of that mesh. In the JSON file these two are oracle and twin. Each time "
        f"{settings['draws']} draws of the points that the method usually takes. The miss is the distance "
        "from the true centre of mass; the radius is that of the object's smallest enclosing sphere. "
        "Intervals are over objects, of which they need two; parts of the set have none.",
        "vessels: hollow, open objects, against the centre of mass of the filled body (solid truth) and of "
        "its surface alone (shell truth). in training, not in training: whether the checkpoint was trained "
        "on the object, for an untrained baseline whether the manifest says so; – where the scans differ.",
        *([_ORDERS] if result["refusals"] else []),
    ]


def _warnings(result: Result) -> list[str]:
    """Warnings about checkpoints that were, or may have been, trained on objects of the set."""
    lines = []
    objects = result["methods"][result["best_baseline"]][ALL]["objects"]
    for one in result["checkpoints"]:
        if one["objects_seen"] is None:
            lines.append(
                f"{one['name']}: its checkpoint does not say which objects it was trained on; the rows "
                '"in training" go by the manifest'
            )
        elif one["objects_seen"]:
            lines.append(
                f"{one['name']} was trained on {one['objects_seen']:,} of these {objects:,} objects: see its "
                'rows "in training" and "not in training"'
            )
    return lines
