"""Limits of the settings of a data set; a value outside them is refused with the name of the setting."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from math import inf
from typing import Any, get_args

from plumbline.errors import InputError
from plumbline.records import (
    EdgeAttr,
    GraphSettings,
    Normalise,
    Pattern,
    Range,
    Sampling,
    ScanSettings,
    Target,
)

WHOLE = {
    "solids": (0, inf),
    "workers": (0, inf),
    "samples": (1, inf),
    "solid_samples": (0, inf),
    "views": (1, inf),
    "points": (16, 65536),
    "rays": (64, 4_000_000),
    "seed": (0, 2**32 - 1),
    "k": (1, 1024),
    "sh_degree": (0, 8),
}
"""Whole numbers: (minimum, maximum)."""
AT_LEAST = {"noise": (0, 1), "pose_error": (0, 45)}
"""Other numbers: (minimum, maximum)."""
ABOVE = {"scale": (0, inf), "distance": (1, inf), "grazing": (0, 90)}
"""Other numbers: (exclusive lower bound, maximum)."""
CHOICES = {
    "format": ("packed", "pt"),
    "target": get_args(Target),
    "sampling": (*get_args(Sampling), "mixed"),
    "pattern": get_args(Pattern),
    "edge_attr": get_args(EdgeAttr),
    "normalise": get_args(Normalise),
}
_RANGES = {item.name for item in fields(ScanSettings) if item.type is Range}


def check_settings(scan: ScanSettings, graph: GraphSettings, **others: Any) -> None:
    """Refuse invalid settings and combinations of settings. Raises InputError, naming the setting."""
    values = {item.name: getattr(scan, item.name) for item in fields(scan)} | asdict(graph) | others
    for name, allowed in CHOICES.items():
        if name in values and values[name] not in allowed:
            raise InputError(f"{name} {values[name]}: choose one of {', '.join(allowed)}")
    for name in _RANGES:
        if not isinstance(values[name], Range):
            raise InputError(f"{name} {values[name]}: give a Range, such as Range(2) or Range(1, 3)")
    _check_numbers(values, WHOLE, "at least", whole=True)
    _check_numbers(values, AT_LEAST, "at least")
    _check_numbers(values, ABOVE, "above")
    if graph.k >= scan.points.low:
        raise InputError(
            f"k {graph.k}: a point has only {scan.points.low - 1:.0f} other points (points {scan.points})"
        )


def _check_numbers(
    values: Mapping[str, Any], limits: Mapping[str, tuple[float, float]], word: str, *, whole: bool = False
) -> None:
    for name, (lowest, highest) in limits.items():
        if name not in values:
            continue
        value = values[name]
        low, high = (value.low, value.high) if isinstance(value, Range) else (value, value)
        above = lowest <= low if word == "at least" else lowest < low
        integral = not whole or (float(low).is_integer() and float(high).is_integer())
        if not (integral and above and low <= high <= highest and high < inf):
            kind = "a whole number" if whole else "a number"
            most = "" if highest == inf else f" and at most {highest:,.10g}"
            raise InputError(f"{name} {value}: give {kind} {word} {lowest}{most}")
