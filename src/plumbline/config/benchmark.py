"""The flags of ``plumbline benchmark``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import Flags, debug_option, option
from plumbline.errors import InputError
from plumbline.kinds import file, folder, switch, text, whole


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Flags):
    """Measure models and untrained baselines under stated conditions (ScanCoM)."""

    paths: list[Path] = option(
        [], "mesh files, or folders that are searched for them", file, positional=True, metavar="MESHES"
    )
    solids: int = option(0, "built-in solids to add", whole(at_least=0), group="objects")
    samples: int = option(2, "scans per object and condition", whole(at_least=1))
    checkpoint: list[str] = option(
        [], "trained models to measure; of a folder its best one", text, metavar="CKPT", group="models"
    )
    out: Path | None = option(
        None,
        "folder of scancom.json, scancom.md and the scans, which later runs use again (required)",
        folder,
        group="output",
    )
    json: bool = option(False, "print JSON instead of tables", switch)
    workers: int = option(0, "processes; 0 takes one per core", whole(at_least=0), group="run")
    debug: bool = debug_option()

    def check(self) -> None:
        """Refuse to start without somewhere to write and something to measure on."""
        if self.out is None:
            raise InputError("--out is missing: name the folder that scans and results go to")
        if not self.paths and not self.solids:
            raise InputError("nothing to measure on: give mesh files or folders, or --solids N")
