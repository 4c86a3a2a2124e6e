"""The flags of ``plumbline inertia``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import Flags, debug_option, option
from plumbline.config.payload import format_option, frame_option
from plumbline.errors import InputError
from plumbline.kinds import file, number, switch


@dataclass(frozen=True, kw_only=True)
class InertiaConfig(Flags):
    """Find mass, centre of mass and inertia of meshes: exact if closed, predicted if open."""

    paths: list[Path] = option(
        [], "meshes: obj, ply, stl, off, glb, gltf, 3mf, dae", file, positional=True, metavar="MESH"
    )
    mass: float | None = option(None, "mass in kilograms", number(above=0), group="body")
    density: float | None = option(None, "kilograms per cubic metre, instead of --mass", number(above=0))
    densities: Path | None = option(
        None,
        "CSV file (body, density, optional file): kilograms per cubic metre of each named body of a mesh, "
        "instead of one density",
        file,
    )
    scale: float = option(1.0, "metres per unit of the mesh files", number(above=0))
    frame: Path | None = frame_option("mesh")
    format: str | None = format_option()
    json: bool = option(False, "print one line of JSON per mesh instead of a table", switch, group="output")
    debug: bool = debug_option()

    def check(self) -> None:
        """Refuse flags that contradict each other. Raises InputError."""
        given = [f"--{name}" for name in ("mass", "density", "densities") if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} exclude each other: keep one")
        if not given:
            raise InputError("a mesh has no mass of its own: give --mass, --density or --densities")
        if self.format is not None and self.json:
            raise InputError("--format and --json exclude each other: remove one")
