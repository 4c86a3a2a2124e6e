"""The flags of ``plumbline prepare``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import Flags, debug_option, option
from plumbline.data.prepare.limits import KINDS
from plumbline.errors import InputError
from plumbline.kinds import file, folder
from plumbline.quantities import Range


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(Flags):
    """Make a data set of labelled graphs from meshes, built-in solids or real scans."""

    paths: list[Path] = option(
        [], "mesh files, or folders to search for them", file, positional=True, metavar="PATH"
    )
    out: Path | None = option(
        None, "output folder for the data set (required)", folder, group="input and output"
    )
    solids: int = option(
        0, "number of built-in solids to add, each with an exactly known centre of mass", KINDS["solids"]
    )
    labels: Path | None = option(
        None,
        "CSV that lists real scans, with columns file, com_x, com_y, com_z and, if known, object_name, "
        "sensor_x, sensor_y, sensor_z, bounding_radius",
        file,
        metavar="CSV",
    )
    format: str = option(
        "packed", "packed: one memory-mapped store; pt: the documented folder of .pt files", KINDS["format"]
    )
    target: str = option(
        "solid",
        "label: centre of mass of the solid (closed meshes only) or of its surface",
        KINDS["target"],
        group="truth",
    )
    scale: float = option(1.0, "metres per unit of the mesh files", KINDS["scale"])
    density: str = option(
        "uniform",
        "density of built-in solids; parts: handle and head, bottle and content, ... get densities of usual "
        "materials, and the label is the centre of mass with these; meshes stay uniform",
        KINDS["density"],
    )
    densities: Path | None = option(
        None,
        "CSV with densities (kg/m3) of named bodies of mesh files, with columns body, density and, if it is "
        "not about every mesh, file; the label is the centre of mass with these; other meshes stay uniform",
        file,
        metavar="CSV",
    )
    samples: int = option(10, "scans per object", KINDS["samples"], group="scan")
    solid_samples: int = option(
        0,
        "scans per built-in solid, if it should differ from --samples; 0: the same as --samples",
        KINDS["solid_samples"],
    )
    views: Range = option(
        Range(1, 1), "views merged into one scan: a number or a range such as 1-3", KINDS["views"]
    )
    points: Range = option(
        Range(256, 256),
        "points per scan: a number, or a range such as 128-512, sampled log-uniformly; real scans keep at "
        "most the upper end",
        KINDS["points"],
    )
    sampling: str = option(
        "farthest",
        "how points are chosen from the hits; mixed: farthest or random with equal probability, per scan",
        KINDS["sampling"],
    )
    pattern: str = option("grid", "ray pattern: a camera's grid or a rotating LiDAR", KINDS["pattern"])
    rays: int = option(1600, "rays per view over the field of view", KINDS["rays"])
    distance: Range = option(
        Range(2.0, 3.0),
        "sensor distance in radii of the object, above 1: a number or a range such as 2-3",
        KINDS["distance"],
    )
    noise: Range = option(
        Range(0.01, 0.01),
        "range noise (1 sigma) as a fraction of the object's radius: a number or a range such as 0-0.03",
        KINDS["noise"],
    )
    grazing: float = option(
        80.0, "angle of incidence in degrees above which returns are lost; 90 keeps all", KINDS["grazing"]
    )
    pose_error: float = option(
        0.0,
        "pose error per view (1 sigma): X degrees of rotation and X hundredths of the radius of translation",
        KINDS["pose_error"],
    )
    sensor_model: str = option(
        "none",
        "depth: take scans with a virtual depth camera that loses pixels and errs as real ones do; it has "
        "ranges of its own for distance, noise and losses",
        KINDS["sensor_model"],
    )
    sensor_share: float = option(
        0.5, "share of the scans that the sensor model is used for", KINDS["sensor_share"]
    )
    clean: bool = option(
        True, "leave out points of real scans that are not connected to the object", KINDS["clean"]
    )
    rotate: bool = option(True, "rotate every object randomly before each scan", KINDS["rotate"])
    k: int = option(16, "neighbours per point", KINDS["k"], group="graph")
    edge_attr: str = option(
        "sh", "edge attributes: spherical harmonics, displacement vectors or none", KINDS["edge_attr"]
    )
    sh_degree: int = option(2, "highest degree of the spherical harmonics", KINDS["sh_degree"])
    normalise: str = option(
        "unit",
        "stored frame: unit (mean of the points at 0, rms distance 1), centre (mean at 0), none (as scanned)",
        KINDS["normalise"],
    )
    seed: int = option(0, "random seed of solids, poses, noise and sampling", KINDS["seed"], group="run")
    workers: int = option(0, "number of processes; 0: one per core", KINDS["workers"])
    scheduler: str | None = option(
        None,
        "address of the scheduler of a Dask cluster, whose workers do the work; --out and the inputs must be "
        "on a file system that they share",
        KINDS["scheduler"],
    )
    debug: bool = debug_option()

    def check(self) -> None:
        """Refuse a missing ``--out`` and an empty input. Raises InputError."""
        if self.out is None:
            raise InputError("--out is missing: name the folder for the data set")
        if not self.paths and not self.solids and self.labels is None:
            raise InputError("nothing to prepare: give mesh files or folders, --solids N, or --labels CSV")
