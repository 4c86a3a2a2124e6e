"""The flags of ``plumbline benchmark``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import debug_option, option


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Measure models and untrained baselines under stated conditions (ScanCoM)."""

    paths: list[Path] = option(
        [], "mesh files, or folders that are searched for them", positional=True, metavar="MESHES"
    )
    solids: int = option(0, "built-in solids to add", at_least=0, group="objects")
    samples: int = option(2, "scans per object and condition", at_least=1, group="objects")
    checkpoint: list[str] = option(
        [], "trained models to measure; of a folder its best one", metavar="CKPT", group="models"
    )
    out: Path | None = option(
        None,
        "folder of scancom.json, scancom.md and the scans, which later runs use again (required)",
        metavar="DIR",
        group="output",
    )
    json: bool = option(False, "print JSON instead of tables", group="output")
    workers: int = option(0, "processes; 0 takes one per core", at_least=0, group="run")
    debug: bool = debug_option()
