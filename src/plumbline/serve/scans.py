"""A request's scans, read from its files and looked at: what happens before the model.

The readers want files, so that they can map them and see what they claim. They get them in a temporary folder
of their own, under names that the client has no say in, and the folder is removed before the model is asked.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from plumbline.errors import InputError
from plumbline.geometry.depth_files import read_view
from plumbline.geometry.intrinsics import Intrinsics
from plumbline.geometry.masks import unnumbered
from plumbline.geometry.scan_files import in_metres, read_file, scaled
from plumbline.kinds import AUTO
from plumbline.predictors.looking import Seen, to_cloud, try_look
from plumbline.predictors.prediction_table import ScanName
from plumbline.predictors.predictor import Predictor
from plumbline.quantities import Plane
from plumbline.records import Cloud
from plumbline.serve.fields import Asked
from plumbline.serve.limits import Limits, TooLargeError
from plumbline.serve.sizes import check_image, check_number, check_scan, unpacked

_LARGEST_CAMERA = 1 << 20
"""Bytes of a file of intrinsics, at most."""
_MOST_USED = 1 << 14
"""Points that the model gets of one scan, all draws together: thirty times as many as by default."""


@dataclass(frozen=True)
class Looked:
    """The scans of a request; one of each for every object.

    Attributes:
        names: what answers call them.
        clouds: their points, or why there are none.
        seen: the same as graphs, for the model.
        sensor: position of the sensor that the request gives, in metres if it gives a scale; or None.
    """

    names: Sequence[ScanName]
    clouds: Sequence[Cloud | InputError]
    seen: Sequence[Seen | InputError]
    sensor: Sequence[float] | None


def look(asked: Asked, predictor: Predictor, limits: Limits) -> Looked:
    """Read the scans of a request and make their graphs.

    Raises:
        InputError: a flag or a file that is about the whole request cannot be used.
        TooLargeError: a file holds more than the limits allow.
    """
    config = asked.config
    sensor = None if config.sensor is None else scaled(config.sensor, 3, config.scale)
    how = predictor.how(
        sensor,
        scaled(config.table, 1, config.scale) if isinstance(config.table, Plane) else None,
        config.points,
        config.draws,
        config.clean,
        config.strict,
    )
    if how.max_points * how.draws > _MOST_USED:
        raise InputError(
            f"--points {how.max_points} times --draws {how.draws} are more than the {_MOST_USED:,} points "
            "that this server uses of a scan; ask for fewer"
        )
    if asked.points is not None:
        check_number("cloud", len(asked.points), limits.points, "points")
        objects: Mapping[int | None, Cloud | InputError] = {None: to_cloud(asked.points, "cloud")}
    else:
        objects = _read(asked, limits)
    names = [ScanName(Path(asked.name), number) for number in objects]
    clouds = [in_metres(cloud, config.scale) for cloud in objects.values()]
    for name, cloud in zip(names, clouds, strict=True):
        if isinstance(cloud, Cloud):
            check_number(str(name), len(cloud.points), limits.points, "points")
    return Looked(names, clouds, [try_look(cloud, "cloud", how, predictor.form) for cloud in clouds], sensor)


def _read(asked: Asked, limits: Limits) -> Mapping[int | None, Cloud | InputError]:
    """Read files from a folder that is gone afterwards; its path is in no message."""
    with TemporaryDirectory(prefix="plumbline-") as folder:
        places = _write(asked, Path(folder))
        shown = {str(path): asked.files[field].name for field, path in places.items()}
        try:
            if "depth" not in places:
                check_scan(places["cloud"], limits.points)
                cloud = read_file(places["cloud"], needs_sensor=asked.config.sensor is None)
                return {None: _renamed(cloud, shown)}
            for field in ("depth", "mask"):
                if field in places:
                    check_image(places[field], limits.points)
            found = _read_depth(asked, places)
        except InputError as error:
            raise type(error)(_shown(str(error), shown)) from None
        return {number: _renamed(cloud, shown) for number, cloud in unnumbered(found).items()}


def _read_depth(asked: Asked, places: Mapping[str, Path]) -> dict[int, Cloud | InputError]:
    config = asked.config
    camera: Path | Intrinsics
    if "intrinsics" in places:
        camera = places["intrinsics"]
        _check_camera(camera)
    else:
        assert isinstance(config.intrinsics, Intrinsics)
        camera = config.intrinsics
    view = read_view(places["depth"], camera, places.get("mask"), depth_scale=config.depth_scale)
    return view.clouds(config.table == AUTO)


def _check_camera(path: Path) -> None:
    """Refuse a file of intrinsics that takes long to read, or that is short and stands for a long one."""
    if max(path.stat().st_size, unpacked(path)) > _LARGEST_CAMERA:
        raise TooLargeError(f"--intrinsics {path} is larger than 1 MB; give the camera of this image alone")
    if path.suffix in (".yaml", ".yml") and b"*" in path.read_bytes():
        raise InputError(f"--intrinsics {path} has aliases (*), which are not read here; write them out")


def _write(asked: Asked, folder: Path) -> dict[str, Path]:
    """Write files as ``cloud.ply``, ``depth.png`` and so on."""
    places = {}
    for field, file in asked.files.items():
        stem = Path(file.name).stem
        # The number of a depth image chooses its camera among those of a file, see read_camera.
        name = f"{int(stem):06d}" if field == "depth" and stem.isdecimal() and len(stem) < 20 else field
        places[field] = folder / f"{name}{file.suffix}"
        with places[field].open("wb") as out:
            shutil.copyfileobj(file.content, out)
    return places


def _renamed(cloud: Cloud | InputError, shown: Mapping[str, str]) -> Cloud | InputError:
    """The same with the client's names in the place of paths."""
    if isinstance(cloud, InputError):
        return InputError(_shown(str(cloud), shown))
    return replace(
        cloud,
        name=_shown(cloud.name, shown),
        notes=tuple(_shown(note, shown) for note in cloud.notes),
        warnings=tuple(_shown(warning, shown) for warning in cloud.warnings),
    )


def _shown(text: str, shown: Mapping[str, str]) -> str:
    for path, name in shown.items():
        text = text.replace(path, name)
    return text
