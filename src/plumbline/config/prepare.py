"""The flags of ``plumbline prepare``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import debug_option, option


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Make a data set of labelled graphs from meshes, built-in solids or real scans."""

    paths: list[Path] = option(
        [], "mesh files, or folders that are searched for them", positional=True, metavar="PATH"
    )
    out: Path | None = option(
        None, "folder of the data set (required)", metavar="DIR", group="input and output"
    )
    solids: int = option(
        0,
        "built-in solids to add, each with an exactly known centre of mass",
        at_least=0,
        group="input and output",
    )
    labels: Path | None = option(
        None,
        "real scans: a CSV with file, com_x, com_y, com_z and, if known, object_name, sensor_x, sensor_y, "
        "sensor_z, bounding_radius",
        metavar="CSV",
        group="input and output",
    )
    format: str = option(
        "packed",
        "packed: one memory-mapped store; pt: the documented folder of .pt files",
        choices=("packed", "pt"),
        group="input and output",
    )
    target: str = option(
        "solid",
        "centre of mass of the solid (closed meshes only) or of its surface",
        choices=("solid", "shell"),
        group="truth",
    )
    scale: float = option(1.0, "metres per unit of the mesh files", above=0, group="truth")
    samples: int = option(10, "scans per object", at_least=1, group="scan")
    solid_samples: int = option(
        0,
        "scans per built-in solid, where real meshes deserve another number; 0: as many as --samples",
        at_least=0,
        group="scan",
    )
    views: str = option(
        "1", "views merged in a scan: a number or a range such as 1-3", metavar="V", group="scan"
    )
    points: str = option(
        "256",
        "points per scan: a number or a range such as 128-512, drawn evenly on a logarithmic scale; "
        "real scans keep the most",
        metavar="N",
        group="scan",
    )
    sampling: str = option(
        "farthest",
        "how points are chosen from the hits; mixed: either way, evenly, scan by scan",
        choices=("farthest", "random", "mixed"),
        group="scan",
    )
    pattern: str = option(
        "grid", "rays of a camera or of a rotating LiDAR", choices=("grid", "lidar"), group="scan"
    )
    rays: int = option(
        1600, "rays per view over the field of view", at_least=64, at_most=4_000_000, group="scan"
    )
    distance: str = option(
        "2-3",
        "distance of the sensor, in radii of the object: a number or a range",
        metavar="D",
        group="scan",
    )
    noise: str = option(
        "0.01",
        "range noise (1 sigma), as a fraction of the object's radius: a number or a range such as 0-0.03",
        metavar="SIGMA",
        group="scan",
    )
    grazing: float = option(
        80.0,
        "angle of incidence in degrees beyond which returns get lost; 90 keeps all",
        above=0,
        at_most=90,
        group="scan",
    )
    pose_error: float = option(
        0.0,
        "error of each view's pose (1 sigma): degrees, and as many hundredths of the radius",
        at_least=0,
        at_most=45,
        group="scan",
    )
    rotate: bool = option(True, "turn every object at random before each scan", group="scan")
    k: int = option(16, "neighbours per point", at_least=1, at_most=1024, group="graph")
    edge_attr: str = option(
        "sh",
        "edge attributes: spherical harmonics, displacement vectors or none",
        choices=("sh", "displacement", "none"),
        group="graph",
    )
    sh_degree: int = option(
        2, "highest degree of the spherical harmonics", at_least=0, at_most=8, group="graph"
    )
    normalise: str = option(
        "unit",
        "stored frame: unit (mean of the points at 0, rms distance 1), centre (mean at 0), none (as scanned)",
        choices=("unit", "centre", "none"),
        group="graph",
    )
    seed: int = option(
        0, "seed of solids, poses, noise and sampling", at_least=0, at_most=2**32 - 1, group="run"
    )
    workers: int = option(0, "processes; 0 takes one per core", at_least=0, group="run")
    debug: bool = debug_option()
