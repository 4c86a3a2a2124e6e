"""The flags of ``plumbline label``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import Flags, debug_option, option
from plumbline.errors import InputError
from plumbline.kinds import file, number, on_off, position, text
from plumbline.quantities import Position


@dataclass(frozen=True, kw_only=True)
class LabelConfig(Flags):
    """Label scans with the true centre of mass, by registering a CAD model of their object."""

    paths: list[Path] = option(
        [],
        "scans of one object, in the formats of predict, or folders of them, as in predict",
        file,
        positional=True,
    )
    cad: Path | None = option(
        None,
        "closed mesh of the object: obj, ply, stl, off, glb, gltf, 3mf, dae (required)",
        file,
        metavar="MESH",
    )
    cad_scale: float = option(1.0, "metres per unit of the mesh, such as 0.001", number(above=0))
    densities: Path | None = option(
        None,
        "CSV file (body, density, optional file): kilograms per cubic metre of each named body of the mesh; "
        "by default its density is uniform",
        file,
    )
    object_name: str | None = option(
        None, "name of the object in the labels; by default that of the mesh file", text, metavar="NAME"
    )
    sensor: Position | None = option(
        None,
        "sensor position in the frame and unit of the scans; by default the position stored in a file, or "
        "the origin of its frame if it stores none",
        position,
        group="scans",
    )
    scale: float | None = option(
        None, "metres per unit of the scans; by default they are in metres", number(above=0)
    )
    clean: bool = option(
        True,
        "leave out points that are not connected to the object, such as those of the wall behind it; off "
        "keeps all points",
        on_off,
    )
    out: Path | None = option(
        None,
        "CSV with the labels of accepted scans, for prepare --labels; rows of an existing one are kept, but "
        "for those of the scans that are given",
        file,
        metavar="CSV",
        group="output",
    )
    poses: Path | None = option(
        None,
        "JSON lines with the pose [4, 4] of the CAD model in each accepted scan, metres; lines of an "
        "existing file are kept in the same way",
        file,
        metavar="JSONL",
    )
    debug: bool = debug_option()

    def check(self) -> None:
        """Refuse a missing mesh. Raises InputError."""
        if self.cad is None:
            raise InputError("--cad is missing: give a closed mesh of the object")
