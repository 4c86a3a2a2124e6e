"""The flags of ``plumbline predict``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import Flags, debug_option, option
from plumbline.kinds import file, one_of, position, switch, whole
from plumbline.quantities import Position


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Flags):
    """Find the centre of mass of scans."""

    paths: list[Path] = option(
        [],
        "scans: npz (points, sensor), ply, pcd, las, laz, npy, xyz, txt, csv; or folders, which are searched "
        "for all of these but txt and csv",
        file,
        positional=True,
    )
    checkpoint: Path | None = option(
        None,
        "a trained model, or a folder whose best one is taken; by default that of checkpoints",
        file,
        metavar="CKPT",
        group="model",
    )
    model: str | None = option(
        None,
        "instead of a checkpoint: a guess that needs no training",
        one_of(
            *("point_mean", "bounding_box", "oriented_box", "convex_hull", "alpha_shape"),
            *("mean_pushed", "hull_pushed", "carve", "carve_pushed"),
        ),
    )
    batch_size: int = option(64, "scans at once", whole(at_least=1))
    sensor: Position | None = option(
        None,
        "where the sensor stood, in the frame and unit of the files; by default what a file says, else its "
        "origin",
        position,
        group="scans",
    )
    points: int = option(512, "points of a scan that are used, at most", whole(at_least=2))
    draws: int = option(
        1,
        "choose the points of a larger scan so many times, and answer with the mean",
        whole(at_least=1, at_most=1000),
    )
    out: Path | None = option(None, "also write the answers to a file, as with --json", file, group="output")
    json: bool = option(False, "print one line of JSON per scan instead of a table", switch)
    debug: bool = debug_option()
