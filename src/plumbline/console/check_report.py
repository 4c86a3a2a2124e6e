"""Output of ``plumbline check`` on a data set and on a model's symmetry."""

from typing import Any

from rich.console import Console
from rich.markup import escape

from plumbline.console.tables import Column, print_fitting
from plumbline.console.text import counted, folded, percent

SHOWN_GROUPS = 30
SHOWN_REJECTS = 20


def print_data_set(console: Console, report: dict[str, Any]) -> None:
    """Print the content of a data set or its damage; ``report``: from ``data.describe.check_data``."""
    if not report["ok"]:
        console.print(f"{escape(report['path'])} is damaged:")
        for text in report["problems"]:
            console.print(f"  {escape(text)}")
        advice = "Restore the files from a backup, or delete the folder and run `plumbline prepare` again."
        if "cache" in report:
            advice = (
                "The .pt files are intact, but their packed copy is damaged and in use by another program: "
                f"end that program and check again, or delete {escape(report['cache'])}."
            )
        console.print(advice)
        return
    for text in report.get("made_again", []):
        console.print(f"made again: {escape(text)}")
    _show_facts(report, console)
    _show_groups(report["groups"], console)
    _show_rejected(report["rejected"], console)


def print_equivariance(console: Console, report: dict[str, Any], meaning: str) -> None:
    """Print how far a model's predictions deviate from its symmetry; ``meaning``: the symmetry in words."""
    limits, declares = report["limits"], report["declares"]
    console.print(f"{report['model']} ({report['checkpoint']})", markup=False)
    console.print(f"declares {declares}: {meaning}\n", markup=False)
    moves = report["moves"]
    columns = [Column("scans moved by", list(moves))]
    for name in limits:
        for part, head in (("mean", f"{name}, mean"), ("largest", "largest")):
            columns.append(Column(head, [f"{found[name][part]:.1e}" for found in moves.values()]))
    columns.append(Column("", [_verdict(found, limits) for found in moves.values()], words=True))
    print_fitting(console, columns)
    rounding = " and ".join(f"{limit:.0e} in {name}" for name, limit in limits.items())
    console.print(
        f"\n|f(R x) - R f(x)| as a fraction of the object's radius, over {report['scans']} scans of built-in "
        f"solids; up to {rounding} counts as rounding."
    )
    if declares == "none":
        console.print("The model declares no symmetry, so there is nothing to test.")
    elif report["ok"]:
        console.print("The model keeps the symmetry that it declares.")
    else:
        console.print("The model breaks the symmetry that it declares.")


def _verdict(found: dict[str, Any], limits: dict[str, float]) -> str:
    if not found["declared"]:
        return "not declared"
    return "kept" if all(found[name]["largest"] <= limit for name, limit in limits.items()) else "BROKEN"


def _show_facts(report: dict[str, Any], console: Console) -> None:
    facts = _facts(report)
    width = max(len(name) for name, _ in facts) + 3
    for name, value in facts:
        first, *more = folded(value, console.width - width) if console.is_terminal else [value]
        console.print(f"[dim]{name:<{width}}[/dim]{escape(first)}", soft_wrap=True, emoji=False)
        for line in more:
            console.print(" " * width + escape(line), soft_wrap=True, emoji=False)
    for text in report["warnings"]:
        console.print(f"warning: {escape(text)}")


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
        "mixed": "of the object if known, else of the scan",
    }
    if "reason" in split:
        preview = split["reason"]
    else:
        sides = [
            f"{counted(split[s]['graphs'], 'graph')} of {counted(split[s]['objects'], 'object')}"
            for s in ("train", "val")
        ]
        preview = f"{sides[0]} train, {sides[1]} validate (--val_split {split['val_split']})"
    offset, size = report["target_from_point_mean_in_radii"], report["size_in_metres"]
    checked = "every checksum and number is correct" if report["deep"] else "sizes and index are correct"
    return [
        ("data set", f"{report['path']} ({report['layout']})"),
        ("condition", f"intact: {checked}" + ("" if report["deep"] else "; --deep checks everything")),
        ("graphs", f"{report['num_graphs']:,} of {counted(report['num_objects'], 'object')}"),
        ("rejected", counted(len(report["rejected"]), "input")),
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
            f"{percent(offset['mean'])} of the radius on average, at most {percent(offset['max'])}",
        ),
        ("split", preview),
        ("fingerprint", report["fingerprint"][:16]),
    ]


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
    shown = list(groups)[:SHOWN_GROUPS]
    columns = [Column("group", shown)]
    for what in ("objects", "graphs"):
        columns.append(Column(what, [f"{groups[name][what]:,}" for name in shown]))
    console.print()
    print_fitting(console, columns)
    if len(groups) > SHOWN_GROUPS:
        console.print(f"... and {counted(len(groups) - SHOWN_GROUPS, 'more group')} (--json lists all)")


def _show_rejected(rejected: list[dict[str, str]], console: Console) -> None:
    shown = rejected[:SHOWN_REJECTS]
    if not shown:
        return
    width = min(max(len(item["source"]) for item in shown), 48) + 3
    console.print(f"\n{counted(len(rejected), 'input')} {'was' if len(rejected) == 1 else 'were'} rejected:")
    for item in shown:
        console.print(f"  {escape(item['source']):<{width}}{escape(item['reason'])}")
    if len(rejected) > SHOWN_REJECTS:
        console.print(f"  ... and {len(rejected) - SHOWN_REJECTS:,} more (--json lists all)")
