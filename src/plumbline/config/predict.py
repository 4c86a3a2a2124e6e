"""The flags of ``plumbline predict``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import debug_option, option


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Find the centre of mass of scans."""

    paths: list[Path] = option(
        [],
        "scans: npz (points, sensor), ply, pcd, las, laz, npy, xyz, txt, csv; or folders, which are searched "
        "for all of these but txt and csv",
        positional=True,
        metavar="FILE",
    )
    checkpoint: Path | None = option(
        None,
        "a trained model, or a folder whose best one is taken; by default that of checkpoints",
        metavar="CKPT",
        group="model",
    )
    model: str | None = option(
        None,
        "instead of a checkpoint: a guess that needs no training",
        choices=(
            *("point_mean", "bounding_box", "oriented_box", "convex_hull", "alpha_shape"),
            *("mean_pushed", "hull_pushed", "carve", "carve_pushed"),
        ),
        group="model",
    )
    batch_size: int = option(64, "scans at once", at_least=1, group="model")
    sensor: str | None = option(
        None,
        "where the sensor stood, in the frame and unit of the files; by default what a file says, else its "
        "origin",
        metavar="X,Y,Z",
        group="scans",
    )
    points: int = option(512, "points of a scan that are used, at most", at_least=2, group="scans")
    draws: int = option(
        1,
        "choose the points of a larger scan so many times, and answer with the mean",
        at_least=1,
        at_most=1000,
        group="scans",
    )
    out: Path | None = option(
        None, "also write the answers to a file, as with --json", metavar="FILE", group="output"
    )
    json: bool = option(False, "print one line of JSON per scan instead of a table", group="output")
    debug: bool = debug_option()
