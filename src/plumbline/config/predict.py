"""The flags of ``plumbline predict``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import Flags, debug_option, option
from plumbline.config.parts import untrained_or_own_part
from plumbline.kinds import file, position, switch, whole
from plumbline.quantities import Position


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Flags):
    """Find the centre of mass of scans."""

    paths: list[Path] = option(
        [],
        "scans: npz (points, sensor), ply, pcd, las, laz, npy, xyz, txt, csv; or folders, which are searched "
        "for all of these except txt and csv",
        file,
        positional=True,
    )
    checkpoint: Path | None = option(
        None,
        "a checkpoint, or a folder, whose best checkpoint is used; by default the folder checkpoints",
        file,
        metavar="CKPT",
        group="model",
    )
    model: str | None = option(
        None,
        "an untrained baseline to use instead of a checkpoint, path/to/file.py:function for your own; or, "
        "for a checkpoint, path/to/file.py:ClassName: your own network, if its file has moved or changed",
        untrained_or_own_part(),
    )
    batch_size: int = option(64, "scans per batch", whole(at_least=1))
    sensor: Position | None = option(
        None,
        "sensor position in the frame and unit of the files; by default the position stored in a file, or "
        "the origin of its frame if it stores none",
        position,
        group="scans",
    )
    points: int = option(512, "maximum number of points used per scan", whole(at_least=2))
    draws: int = option(
        1,
        "number of random choices of points for a larger scan; their predictions are averaged",
        whole(at_least=1, at_most=1000),
    )
    out: Path | None = option(
        None, "also write the predictions to this file, as with --json", file, group="output"
    )
    json: bool = option(False, "print one line of JSON per scan instead of a table", switch)
    debug: bool = debug_option()
