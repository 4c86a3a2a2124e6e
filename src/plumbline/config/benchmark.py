"""The flags of ``plumbline benchmark``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import Flags, debug_option, option
from plumbline.config.parts import own_baselines_option, own_model_option
from plumbline.errors import InputError
from plumbline.kinds import file, folder, switch, text, whole


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Flags):
    """Measure models and untrained baselines under stated conditions (ScanCoM)."""

    paths: list[Path] = option(
        [], "mesh files, or folders to search for them", file, positional=True, metavar="MESHES"
    )
    solids: int = option(0, "number of built-in solids to add", whole(at_least=0), group="objects")
    samples: int = option(2, "scans per object and condition", whole(at_least=1))
    checkpoint: list[str] = option(
        [],
        "checkpoints to measure, or folders, whose best checkpoint is used",
        text,
        metavar="CKPT",
        group="models",
    )
    model: str | None = own_model_option()
    baselines: list[str] = own_baselines_option()
    out: Path | None = option(
        None,
        "output folder for scancom.json, scancom.md and the scans; later runs reuse the scans (required)",
        folder,
        group="output",
    )
    json: bool = option(False, "print JSON instead of tables", switch)
    workers: int = option(0, "number of processes; 0: one per core", whole(at_least=0), group="run")
    debug: bool = debug_option()

    def check(self) -> None:
        """Refuse a missing output folder and an empty input. Raises InputError."""
        if self.out is None:
            raise InputError("--out is missing: name the folder for scans and results")
        if not self.paths and not self.solids:
            raise InputError("nothing to measure on: give mesh files or folders, or --solids N")
