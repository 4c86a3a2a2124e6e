"""Tables of a benchmark result."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from plumbline.console.text import counted, percent
from plumbline.evaluation.conditions import CONDITIONS, MAIN, Condition
from plumbline.evaluation.grids import Grid, Page
from plumbline.evaluation.payload import MEANING, factor

Result = Mapping[str, Any]
"""The content of ``scancom.json``."""

_COLUMNS = {"mean": "mean", "median": "median", "p90": "90 %\nbelow"}
_PAYLOAD = (
    ("volume_factor", "mean", "volume"),
    ("volume_factor", "median", "median"),
    ("inertia_rel", "mean", "inertia"),
    ("inertia_rel", "median", "median"),
    ("inertia_rel", "p90", "90 % below"),
)
"""Columns of volume and inertia: kind of error, statistic, heading."""
_PAYLOAD_TITLE = "Volume and inertia, 256 points, 1 % noise"


def page(result: Result) -> Page:
    """All that is shown of a result."""
    return Page(result["benchmark"], grids(result), notes(result), warnings(result))


def grids(result: Result) -> list[Grid]:
    """The tables of a result: ranking, volume and inertia if a model predicts them, robustness, sources."""
    compared = [one["name"] for one in result["checkpoints"]] + [result["best_baseline"]]
    sources = _sources(result, compared)
    return [
        _ranking(result),
        *_payload(result),
        _robustness(result, compared),
        *([sources] if sources.rows else []),
    ]


def _ranking(result: Result) -> Grid:
    """One row per method, the smallest mean miss first; the smallest value of each column is best."""
    conditions = [result["conditions"][condition.name]["methods"] for condition in MAIN]
    heads = [
        f"{counted(condition.views, 'view')}\n{text}" if not i else text
        for condition in MAIN
        for i, text in enumerate(_COLUMNS.values())
    ]
    names = sorted(conditions[0], key=lambda name: conditions[0][name]["mean"])
    values = np.array([[row[name][key] for row in conditions for key in _COLUMNS] for name in names])
    best = {(int(row), column + 1) for column, row in enumerate(values.argmin(axis=0))}
    rows = [[name, *map(percent, row)] for name, row in zip(names, values.tolist(), strict=True)]
    return Grid("Miss / radius, 256 points, 1 % noise", ["method", *heads], rows, best)


def _payload(result: Result) -> list[Grid]:
    """One row per method that answers with volume and inertia, models first; nothing if no model does."""
    if not all(_payload_of(result, condition) for condition in MAIN):
        return []
    conditions = [_payload_of(result, condition) for condition in MAIN]
    names = list(conditions[0])
    values = np.array(
        [[row[name][kind][key] for row in conditions for kind, key, _ in _PAYLOAD] for name in names]
    )
    best = {(int(row), column + 1) for column, row in enumerate(values.argmin(axis=0))}
    shown = [factor if kind == "volume_factor" else percent for _ in MAIN for kind, _, _ in _PAYLOAD]
    rows = [
        [name, *(text(value) for text, value in zip(shown, row, strict=True))]
        for name, row in zip(names, values.tolist(), strict=True)
    ]
    heads = [f"{counted(condition.views, 'view')},\n{head}" for condition in MAIN for _, _, head in _PAYLOAD]
    return [Grid(_PAYLOAD_TITLE, ["method", *heads], rows, best)]


def _payload_of(result: Result, condition: Condition) -> Mapping[str, Any]:
    found: Mapping[str, Any] = result["conditions"][condition.name].get("payload", {}).get("methods", {})
    return found


def _robustness(result: Result, compared: Sequence[str]) -> Grid:
    """One row per condition with the means of the compared methods; the smallest of each row is best."""
    values = np.array(
        [
            [result["conditions"][condition.name]["methods"][name]["mean"] for name in compared]
            for condition in CONDITIONS
        ]
    )
    rows = [
        [condition.title, *map(percent, row)]
        for condition, row in zip(CONDITIONS, values.tolist(), strict=True)
    ]
    best = {(row, int(column) + 1) for row, column in enumerate(values.argmin(axis=1))}
    return Grid("Mean miss / radius by condition", ["condition", *compared], rows, best)


def _sources(result: Result, compared: Sequence[str]) -> Grid:
    """One row per source with the means of the compared methods under each main condition.

    The smallest mean under each condition is best.
    """
    conditions = [result["conditions"][condition.name]["methods"] for condition in MAIN]
    sources = conditions[0][compared[0]]["sources"]
    heads = [f"{name},\n{counted(condition.views, 'view')}" for condition in MAIN for name in compared]
    rows, best = [], set()
    for number, source in enumerate(sources):
        cells = [source, f"{sources[source]['objects']:,}"]
        for row in conditions:
            means = [row[name]["sources"].get(source, {}).get("mean", float("nan")) for name in compared]
            if not np.isnan(means).all():
                best.add((number, len(cells) + int(np.nanargmin(means))))
            cells += map(percent, means)
        rows.append(cells)
    return Grid(
        "Mean miss / radius by source, 256 points, 1 % noise", ["source", "objects", *heads], rows, best
    )


def notes(result: Result) -> list[str]:
    """Notes that a reader needs to understand the numbers."""
    main = result["conditions"][MAIN[0].name]
    lines = [
        f"{result['benchmark']}, seed {result['seed']}: {result['objects']:,} objects, "
        f"{main['scans']:,} scans of them under each condition. The miss is the distance from the prediction "
        "to the true centre of mass; the radius is that of the object's smallest enclosing sphere."
    ]
    if _payload(result):
        lines.append(MEANING)
    if result["rejected"]:
        number = len(result["rejected"])
        verb = "was" if number == 1 else "were"
        lines.append(f"{counted(number, 'input')} {verb} rejected (see the JSON file).")
    return lines


def warnings(result: Result) -> list[str]:
    """Warnings about checkpoints that were, or may have been, trained on objects of the benchmark."""
    lines = []
    for one in result["checkpoints"]:
        seen = one["objects_seen"]
        if seen is None:
            lines.append(
                f"{one['name']}: its checkpoint does not say which objects it was trained on; "
                "it may have been trained on some of these"
            )
        elif seen:
            lines.append(
                f"{one['name']} was trained on {seen:,} of these {result['objects']:,} objects: its results "
                "here do not show how well it does on unseen objects"
            )
    return lines
