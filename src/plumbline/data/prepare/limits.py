"""What the settings of a data set may be: for the flags of ``prepare`` and for the Python interface alike."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from plumbline.errors import InputError
from plumbline.kinds import number, on_off, one_of, scheduler, span, switch, whole

if TYPE_CHECKING:
    from plumbline.records import GraphSettings, ScanSettings

KINDS = {
    "solids": whole(at_least=0),
    "format": one_of("packed", "pt"),
    "target": one_of("solid", "shell"),
    "scale": number(above=0),
    "density": one_of("uniform", "parts"),
    "samples": whole(at_least=1),
    "solid_samples": whole(at_least=0),
    "views": span(whole(at_least=1), "1-3", "V"),
    "points": span(whole(at_least=16, at_most=65536), "128-512", "N"),
    "sampling": one_of("farthest", "random", "mixed"),
    "pattern": one_of("grid", "lidar"),
    "rays": whole(at_least=64, at_most=4_000_000),
    "distance": span(number(above=1), "2-3", "D"),
    "noise": span(number(at_least=0, at_most=1), "0-0.03", "SIGMA"),
    "grazing": number(above=0, at_most=90),
    "pose_error": number(at_least=0, at_most=45),
    "sensor_model": one_of("none", "depth"),
    "sensor_share": number(above=0, at_most=1),
    "clean": on_off,
    "rotate": switch,
    "k": whole(at_least=1, at_most=1024),
    "edge_attr": one_of("sh", "displacement", "none"),
    "sh_degree": whole(at_least=0, at_most=8),
    "normalise": one_of("unit", "centre", "none"),
    "seed": whole(at_least=0, at_most=2**32 - 1),
    "workers": whole(at_least=0),
    "scheduler": scheduler,
}


def without_effect(scan: "ScanSettings") -> list[str]:
    """One sentence for each setting that is set and changes nothing."""
    if scan.sensor_model == "none" and scan.sensor_share != type(scan)().sensor_share:
        return ["--sensor_share has no effect without --sensor_model depth"]
    return []


def check_settings(scan: "ScanSettings", graph: "GraphSettings", **others: Any) -> None:
    """Refuse invalid settings and combinations of settings. Raises InputError, naming the setting."""
    given = {item.name: getattr(record, item.name) for record in (scan, graph) for item in fields(record)}
    for name, value in (given | others).items():
        try:
            meant = KINDS[name].read(str(value))
        except ValueError as error:
            raise InputError(f"{name} {value}: {error}") from None
        if meant != value:
            raise InputError(f"{name} {value}: must be of type {type(meant).__name__}, such as {meant!r}")
    if graph.k >= scan.points.low:
        raise InputError(
            f"k {graph.k}: a point has only {scan.points.low - 1:.0f} other points (points {scan.points})"
        )
