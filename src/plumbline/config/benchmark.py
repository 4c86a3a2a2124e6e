"""The flags of ``plumbline benchmark``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import Flags, debug_option, option
from plumbline.config.parts import own_baselines_option, own_model_option
from plumbline.errors import InputError
from plumbline.kinds import file, folder, scheduler, switch, text, whole

_SAMPLES = 2


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Flags):
    """Measure models and untrained baselines under stated conditions (ScanCoM), or on real scans."""

    paths: list[Path] = option(
        [], "mesh files, or folders to search for them", file, positional=True, metavar="MESHES"
    )
    solids: int = option(0, "number of built-in solids to add", whole(at_least=0), group="objects")
    samples: int = option(_SAMPLES, "scans per object and condition", whole(at_least=1))
    real: Path | None = option(
        None,
        "measure on real scans instead (ScanCoM-Real): a folder whose manifest.csv lists scans with known "
        "centres of mass; leave MESHES, --solids and --samples out",
        folder,
        group="real scans",
    )
    without: list[str] = option(
        [], "groups of its manifest that an additional table leaves out", text, metavar="GROUP"
    )
    checkpoint: list[str] = option(
        [],
        "checkpoints to measure; folders, whose best checkpoint is used; or pretrained, the shipped model",
        text,
        metavar="CKPT",
        group="models",
    )
    model: str | None = own_model_option()
    baselines: list[str] = own_baselines_option()
    out: Path | None = option(
        None,
        "output folder for scancom.json, scancom.md and the scans, which later runs reuse; with --real, "
        "scancom-real.json and scancom-real.md (required)",
        folder,
        group="output",
    )
    json: bool = option(False, "print JSON instead of tables", switch)
    workers: int = option(0, "number of processes; 0: one per core", whole(at_least=0), group="run")
    scheduler: str | None = option(
        None,
        "address of the scheduler of a Dask cluster, whose workers make the scans; --out and MESHES must be "
        "on a file system that they share",
        scheduler,
    )
    debug: bool = debug_option()

    def check(self) -> None:
        """Refuse a missing output folder, an empty input, and two inputs. Raises InputError."""
        if self.out is None:
            raise InputError("--out is missing: name the folder for scans and results")
        if self.real is None:
            if self.without:
                raise InputError("--without names groups of real scans: give their folder with --real")
            if not self.paths and not self.solids:
                raise InputError(
                    "nothing to measure on: give mesh files or folders, --solids N, or real scans with --real"
                )
        elif self.paths or self.solids or self.samples != _SAMPLES:
            given = "MESHES" if self.paths else "--solids" if self.solids else "--samples"
            raise InputError(f"--real measures on the scans that exist: leave out {given} or --real")
