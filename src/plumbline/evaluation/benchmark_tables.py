"""Tables of a benchmark result."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from plumbline.console.text import counted, percent
from plumbline.evaluation.conditions import CONDITIONS, MAIN
from plumbline.evaluation.grids import Grid, Page

Result = Mapping[str, Any]
"""The content of ``scancom.json``."""

_COLUMNS = {"mean": "mean", "median": "median", "p90": "90 %\nbelow"}


def page(result: Result) -> Page:
    """All that is shown of a result."""
    return Page(result["benchmark"], grids(result), notes(result), warnings(result))


def grids(result: Result) -> list[Grid]:
    """The tables of a result: ranking, robustness and sources."""
    compared = [one["name"] for one in result["checkpoints"]] + [result["best_baseline"]]
    sources = _sources(result, compared)
    return [_ranking(result), _robustness(result, compared), *([sources] if sources.rows else [])]


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
