"""The flags of ``plumbline predict``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from plumbline.config.options import Flags, debug_option, option
from plumbline.config.parts import checkpoint_option, predictor_option
from plumbline.config.payload import format_option, frame_option
from plumbline.console.text import counted
from plumbline.errors import InputError
from plumbline.kinds import (
    AUTO,
    camera,
    file,
    file_ending,
    folder,
    number,
    on_off,
    position,
    switch,
    table,
    text,
    whole,
)
from plumbline.quantities import Intrinsics, Plane, Position

_T = TypeVar("_T")


def each(given: _T | list[_T] | None) -> list[_T]:
    """The values of a flag that takes several."""
    return given if isinstance(given, list) else [] if given is None else [given]


def _listed(given: object | list[object] | None) -> str:
    return ", ".join(map(str, each(given)))


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
    checkpoint: Path | None = checkpoint_option()
    model: str | None = predictor_option()
    batch_size: int = option(64, "scans per batch", whole(at_least=1))
    sensor: Position | None = option(
        None,
        "sensor position in the frame and unit of the files; by default the position stored in a file, or "
        "the origin of its frame if it stores none",
        position,
        group="scans",
    )
    table: Plane | str | None = option(
        None,
        "plane that the object stands on, in the frame and unit of the files: its normal toward the object, "
        "and its distance from the origin along the normal; for models trained with --sensor_model depth. "
        "auto finds the table in a depth image and, without --mask, the objects that stand on it",
        table,
    )
    depth: Path | list[Path] | None = option(
        None,
        "a depth image instead of scans: 16-bit PNG, TIFF, npy, or npz with an array depth; the answer is in "
        "metres, in the frame of the camera's optical centre (x right, y down, z forward). Several with "
        "--poses: views of one scene",
        file,
        group="depth image",
        several=True,
    )
    intrinsics: Path | Intrinsics | list[Path | Intrinsics] | None = option(
        None,
        "its camera: fx,fy,cx,cy in pixels; JSON of Open3D, RealSense or BOP, or with fx, fy, cx, cy; YAML "
        "of ROS or OpenCV; npy, npz or txt with the matrix. One for each of several depth images, or one for "
        "all",
        camera,
        several=True,
    )
    mask: Path | list[Path] | None = option(
        None,
        "the object in it: an image, npy, or npz with an array mask; not 0 on the object, a different number "
        "or colour on each of several; one mask for each depth image",
        file,
        several=True,
    )
    poses: Path | None = option(
        None,
        "JSON list with a 4x4 matrix for each depth image, from its camera to the world, in metres; the "
        "answer is in that frame",
        file,
    )
    depth_scale: float | None = option(
        None,
        "metres per unit of the depth image; by default as the file of the intrinsics says, otherwise 0.001 "
        "for whole numbers and 1 for others",
        number(above=0),
    )
    bag: Path | None = option(
        None,
        "a bag of ROS 2 instead of scans, its folder or its db3 or mcap file: PointCloud2, or depth images "
        "with CameraInfo; an answer for each message, in metres, in the frame of the message",
        file,
        metavar="BAG",
        group="bag of ROS",
    )
    topic: str | None = option(
        None,
        "topic of its clouds or depth images; by default the only one that there is",
        text,
        metavar="TOPIC",
    )
    intrinsics_topic: str | None = option(
        None,
        "topic of CameraInfo for its depth images; by default the one next to them, or the only one; "
        "--intrinsics gives a camera that the bag does not have",
        text,
        metavar="TOPIC",
    )
    mask_topic: str | None = option(
        None,
        "topic of masks for its depth images: not 0 on the object, a different number on each of several; an "
        "answer for each object",
        text,
        metavar="TOPIC",
    )
    bag_out: Path | None = option(
        None,
        "write the answers to this new bag: PointStamped, Marker and, with --mass or --density, "
        "InertiaStamped, with the stamps of the messages that are answered",
        folder,
        metavar="BAG",
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
        2,
        "number of random choices of points for a larger scan; their predictions are averaged",
        whole(at_least=1, at_most=1000),
    )
    strict: bool = option(
        False,
        "refuse scans whose answer would have a warning: unlike those of the training, one flat face or "
        "line, too few points, many stray points, a sensor position that cannot be, intrinsics that no depth "
        "camera has, a payload of a size that none has",
        switch,
    )
    scale: float | None = option(
        None,
        "metres per unit of the files, such as 0.001 for millimetres; the answers are then in metres",
        number(above=0),
        group="payload",
    )
    mass: float | None = option(
        None,
        "mass of the object in kilograms: adds its inertia tensor, as an arm's controller takes it",
        number(above=0),
    )
    density: float | None = option(
        None, "kilograms per cubic metre, instead of --mass: times the predicted volume", number(above=0)
    )
    frame: Path | None = frame_option("scan")
    format: str | None = format_option()
    out: Path | None = option(
        None,
        "also write the predictions to this file, as with --json: .jsonl or .json",
        file_ending(".jsonl", ".json"),
        group="output",
    )
    write_cleaned: Path | None = option(
        None,
        "also write the points of each object of a depth image, after cleaning, to this folder, as ply",
        folder,
    )
    html: Path | None = option(
        None,
        "draw the answers on this page, to turn and zoom in a browser: points, stray points, the centre of "
        "mass and its ellipsoid; it loads nothing from the network",
        file_ending(".html", ".htm"),
        metavar="PAGE",
    )
    ply: Path | None = option(
        None,
        "write the points of one scan to this file, coloured by whether they were left out, with the centre "
        "of mass and its ellipsoid, for viewers such as MeshLab and CloudCompare",
        file_ending(".ply"),
        metavar="PLY",
    )
    json: bool = option(False, "print one line of JSON per scan instead of a table", switch)
    debug: bool = debug_option()

    def check(self) -> None:
        """Refuse flags that contradict each other, and an incomplete depth image. Raises InputError."""
        self._check_swallowed()
        self._check_payload()
        self._check_bag()
        if self.depth is None:
            if self.write_cleaned is not None:
                raise InputError("--write_cleaned writes objects of a depth image: give one with --depth")
            if self.table == AUTO and self.bag is None:
                raise InputError("--table auto looks for the table in a depth image: give one with --depth")
            of_images = () if self.bag is not None else ("intrinsics", "depth_scale")
            for name in ("mask", "poses", *of_images):
                if getattr(self, name) is not None:
                    raise InputError(f"--{name} describes a depth image: give one with --depth")
            return
        if self.paths:
            raise InputError("--depth is a scan by itself: leave out the files or --depth")
        if self.sensor is not None:
            raise InputError("--sensor: in a depth image the sensor stands at 0,0,0; leave --sensor out")
        if self.intrinsics is None:
            raise InputError("--intrinsics is missing: a depth image needs the intrinsics of its camera")
        self._check_views()

    def _check_swallowed(self) -> None:
        """Refuse a scan among the files of a flag, which takes all that follow it. Raises InputError."""
        from plumbline.geometry.clouds import SEARCHED_SUFFIXES

        for name in ("depth", "intrinsics", "mask"):
            for path in each(getattr(self, name)):
                if isinstance(path, Path) and path.suffix.lower() in SEARCHED_SUFFIXES - {".npy", ".npz"}:
                    raise InputError(
                        f"--{name} {path}: this is a scan, and --{name} takes all files that follow it; name "
                        "scans before the flags"
                    )

    def _check_views(self) -> None:
        """Refuse numbers of files that do not fit those of the depth images. Raises InputError."""
        count, cameras, masks = (len(each(one)) for one in (self.depth, self.intrinsics, self.mask))
        images = counted(count, "depth image")
        if count > 1 and self.poses is None:
            raise InputError(
                f"{count} depth images ({_listed(self.depth)}) are views of one scene and need the poses of "
                "their cameras: give --poses"
            )
        if cameras not in (1, count):
            raise InputError(
                f"--intrinsics: {cameras} ({_listed(self.intrinsics)}) for {images}; give one, or one for "
                "each"
            )
        if masks not in (0, count):
            raise InputError(
                f"--mask: {masks} ({_listed(self.mask)}) for {images}; give one for each, in their order"
            )
        if count > 1 and not masks and self.table == AUTO:
            raise InputError("--table auto finds the objects of one image: give a --mask for each of several")

    def _check_bag(self) -> None:
        """Refuse flags that belong to a bag without one, and two kinds of input. Raises InputError."""
        if self.bag is None:
            for name in ("topic", "intrinsics_topic", "mask_topic", "bag_out"):
                if getattr(self, name) is not None:
                    raise InputError(f"--{name} belongs to a bag of ROS: give one with --bag")
            return
        if self.paths or self.depth is not None:
            raise InputError("--bag holds the scans: leave out the files and --depth, or --bag")
        if self.mask is not None:
            raise InputError("--mask is a file; name the topic of the masks in the bag with --mask_topic")
        if len(each(self.intrinsics)) > 1:
            raise InputError("--intrinsics: a bag has depth images of one camera; give one")
        if self.intrinsics is not None and self.intrinsics_topic is not None:
            raise InputError("--intrinsics and --intrinsics_topic exclude each other: remove one")

    def _check_payload(self) -> None:
        if self.mass is not None and self.density is not None:
            raise InputError("--mass and --density exclude each other: remove one")
        if self.format is not None and self.mass is None and self.density is None:
            raise InputError(f"--format {self.format} needs the mass of the object: give --mass or --density")
        if self.format is not None and self.json:
            raise InputError("--format and --json exclude each other: remove one")
        if self.scale is not None and self.depth is not None:
            raise InputError("--scale is for scans; a depth image has --depth_scale")
