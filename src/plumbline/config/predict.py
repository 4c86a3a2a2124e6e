"""The flags of ``plumbline predict``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import Flags, debug_option, option
from plumbline.config.parts import untrained_or_own_part
from plumbline.errors import InputError
from plumbline.kinds import file, number, on_off, plane, position, switch, whole
from plumbline.quantities import Plane, Position


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Flags):
    """Find the centre of mass of scans, for uniform density unless trained otherwise."""

    paths: list[Path] = option(
        [],
        "scans: npz (points, sensor), ply, pcd, las, laz, ptx, pts, npy, xyz, txt, csv and others; or "
        "folders, which are searched for all of these except txt, csv and asc",
        file,
        positional=True,
    )
    checkpoint: Path | None = option(
        None,
        "a checkpoint; a folder, whose best checkpoint is used; or pretrained, the shipped model; by default "
        "the folder checkpoints, or the shipped model if there is no such folder",
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
    table: Plane | None = option(
        None,
        "plane that the object stands on, in the frame and unit of the files: its normal toward the object, "
        "and its distance from the origin along the normal; for models trained with --sensor_model depth",
        plane,
    )
    depth: Path | None = option(
        None,
        "a depth image instead of scans: 16-bit PNG, npy, or npz with an array depth; the answer is in "
        "metres, in the frame of the camera's optical centre (x right, y down, z forward)",
        file,
        group="depth image",
    )
    intrinsics: Path | None = option(
        None,
        "its camera: JSON with fx, fy, cx, cy or the matrix K; npy, npz or txt with the matrix",
        file,
    )
    mask: Path | None = option(
        None, "the object in it: an image, npy, or npz with an array mask; not 0 on the object", file
    )
    depth_scale: float | None = option(
        None,
        "metres per unit of the depth image; by default 0.001 for whole numbers and 1 for others",
        number(above=0),
    )
    clean: bool = option(
        True,
        "leave out points that are not connected to the object, such as those of the wall behind it; off "
        "keeps all points",
        on_off,
        group="points",
    )
    points: int | None = option(
        None,
        "maximum number of points used per scan; by default the fewest that the scans of the training had, "
        "or 512 for an untrained baseline",
        whole(at_least=2),
    )
    draws: int = option(
        4,
        "number of random choices of points for a larger scan; their predictions are averaged",
        whole(at_least=1, at_most=1000),
    )
    strict: bool = option(
        False,
        "refuse scans whose answer would have a warning: unlike those of the training, one flat face or "
        "line, too few points, many stray points, a sensor position that cannot be",
        switch,
    )
    out: Path | None = option(
        None, "also write the predictions to this file, as with --json", file, group="output"
    )
    html: Path | None = option(
        None,
        "draw the answers on this page, to turn and zoom in a browser: points, stray points, the centre of "
        "mass and its ellipsoid; it loads nothing from the network",
        file,
        metavar="PAGE",
    )
    ply: Path | None = option(
        None,
        "write the points of one scan to this file, coloured by whether they were left out, with the centre "
        "of mass and its ellipsoid, for viewers such as MeshLab and CloudCompare",
        file,
        metavar="PLY",
    )
    json: bool = option(False, "print one line of JSON per scan instead of a table", switch)
    debug: bool = debug_option()

    def check(self) -> None:
        """Refuse an incomplete depth image, and one next to scans. Raises InputError."""
        if self.depth is None:
            for name in ("intrinsics", "mask", "depth_scale"):
                if getattr(self, name) is not None:
                    raise InputError(f"--{name} describes a depth image: give one with --depth")
            return
        if self.paths:
            raise InputError("--depth is a scan by itself: leave out the files or --depth")
        if self.sensor is not None:
            raise InputError("--sensor: in a depth image the sensor stands at 0,0,0; leave --sensor out")
        if self.intrinsics is None:
            raise InputError("--intrinsics is missing: a depth image needs the intrinsics of its camera")
