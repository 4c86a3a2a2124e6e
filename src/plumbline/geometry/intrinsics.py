"""The intrinsics of a pinhole camera, and the files that people keep them in."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from plumbline.arrays import to_numbers
from plumbline.console.text import percent
from plumbline.errors import InputError
from plumbline.files import reading
from plumbline.geometry.headers import read_array
from plumbline.quantities import Intrinsics as Intrinsics  # what this file is about

_WANTED = "give JSON with fx, fy, cx, cy, or the camera matrix K, three rows of three numbers"
_NUMBERS = "fx,fy,cx,cy in pixels, such as 600,600,319.5,239.5"
_MATRICES = ("K", "k", "camera_matrix", "cameraMatrix", "intrinsic_matrix", "intrinsic", "cam_K")
"""Keys under which a JSON file may hold the matrix."""
_PROJECTIONS = ("P", "p", "projection_matrix")
"""Keys of the matrix ``[3, 4]`` of rectified images in files of ROS."""
_NESTED = ("intrinsic", "intrinsics", "depth", "depth_intrinsics")
"""Keys under which the whole camera may stand, as in Open3D's PinholeCameraParameters."""
_DISTORTION = ("D", "d", "coeffs", "distortion_coefficients")
"""Keys of the coefficients of a lens's distortion: ROS, RealSense, ROS and OpenCV."""
_SAME = 1e-6
"""Relative difference up to which two matrices are the same camera."""
_MOST_OBLONG = 4
"""Largest ratio of the two focal lengths."""
_SQUARE = 1.2
"""Largest ratio of the two focal lengths that is not doubted: the pixels of all usual depth cameras are
square to a hundredth; an image that was resized to another shape has oblong ones."""
_NARROWEST, _WIDEST = 15.0, 130.0
"""Degrees that a depth camera sees along the longer side of its image. Cameras see 22 (structured light, a
long lens) to 120 (Azure Kinect, wide), RealSense 64 to 91; half the width of a usual image shows 29."""
_OFF_MIDDLE = 0.2
"""Share of the width and height by which the principal point may be off the middle. Cameras are within 0.03,
images that were rectified for stereo within 0.17; intrinsics of images of twice or half the size are 0.25 or
more off."""
_OTHER_NAMES = {"cx": "ppx", "cy": "ppy"}
"""Names of the RealSense library for the principal point."""


@dataclass(frozen=True, slots=True)
class CameraFile:
    """What a file says of a camera.

    Attributes:
        intrinsics: of the camera.
        size: width and height of its images in pixels; None if the file does not tell.
        depth_scale: metres per unit of its depth images; None if the file does not tell.
        distorted: whether the file states a distortion of the lens.
        rectified: whether the intrinsics are those of rectified images, and raw ones have others.
    """

    intrinsics: Intrinsics
    size: tuple[int, int] | None = None
    depth_scale: float | None = None
    distorted: bool = False
    rectified: bool = False


def read_camera(path: Path, image: str = "") -> CameraFile:
    """Read the intrinsics of a camera, and what else its file says.

    Args:
        path: JSON with ``fx, fy, cx, cy`` (or ``ppx, ppy``, RealSense) or a matrix (Open3D, BOP); YAML with a
            matrix (``CameraInfo`` and calibrations of ROS, OpenCV); ``.npy``, ``.npz`` (array ``K``), or text
            with the matrix.
        image: name of the depth image without its suffix, which chooses among the cameras of a file with one
            for each image (BOP's ``scene_camera.json``).

    Raises:
        InputError: the file cannot be read, or holds no intrinsics.
    """
    where = f"--intrinsics {path}"
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"{where} {state}; give {_NUMBERS}, or the file of a camera")
    suffix = path.suffix.lower()
    try:
        with reading(path):
            if suffix in (".npy", ".npz"):
                return CameraFile(matrix_intrinsics(read_array(path, "K"), where))
            text = path.read_text(encoding="utf-8-sig")
            if suffix in (".json", ".yaml", ".yml"):
                content = json.loads(text) if suffix == ".json" else _yaml(text)
                return _camera(content, where, image)
            rows = [line.replace(",", " ").split() for line in text.splitlines()]
            return CameraFile(matrix_intrinsics(np.array([row for row in rows if row], float), where))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{where} cannot be read; {_WANTED}") from error


def camera_from_fields(fields: Mapping[str, Any], where: str) -> CameraFile:
    """Read a camera from the fields of a ``CameraInfo``, or others that a file may have.

    Raises:
        InputError: they hold no intrinsics; the message begins with ``where``.
    """
    return _camera(fields, where, "")


def _yaml(text: str) -> Any:
    """Read YAML of ROS or OpenCV; the latter has a first line and tags of its own.

    Of several documents, as ``ros2 topic echo`` prints them, the first one that is not empty counts.
    """
    import yaml

    plain = text.removeprefix("%YAML:1.0").replace("!!opencv-matrix", "")
    return next((one for one in yaml.safe_load_all(plain) if one is not None), None)


def _camera(content: Any, where: str, image: str) -> CameraFile:
    if not isinstance(content, Mapping):
        return CameraFile(_intrinsics(content, where))
    cameras = {key: value for key, value in content.items() if str(key).isdecimal()}
    if cameras:
        number = str(int(image)) if image.isdecimal() else ""
        if number not in cameras and len(cameras) > 1:
            raise InputError(
                f"{where} holds the cameras of {len(cameras)} images; call the depth image by its number, "
                f"such as {int(next(iter(cameras))):06d}.png, or give the camera of one"
            )
        content = cameras[number] if number in cameras else next(iter(cameras.values()))
        return replace(_camera(content, where, ""), depth_scale=_millimetres(content))
    inner = next((content[key] for key in _NESTED if isinstance(content.get(key), Mapping)), None)
    if inner is not None and not _names_camera(content):
        nested = _camera(inner, where, "")
        return nested if nested.depth_scale is not None else replace(nested, depth_scale=_scale(content))
    width, height = (content.get(key, content.get(f"image_{key}")) for key in ("width", "height"))
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    projection = _value(content, _PROJECTIONS)
    if np.size(projection) == 12 and (matrix := _value(content, _MATRICES)) is not None:
        coefficients = _value(content, _DISTORTION)
        return camera_info(matrix, projection, coefficients, *(size or (0, 0)), where=where)
    return CameraFile(_intrinsics(content, where), size, _scale(content), _is_distorted(content))


def camera_info(k: Any, p: Any, d: Any, width: int, height: int, *, where: str) -> CameraFile:
    """Choose the intrinsics of a depth image from the fields of ``sensor_msgs/CameraInfo``.

    The message goes with raw and with rectified images: K and the distortion D are those of raw images, P of
    rectified ones. A depth image must be rectified to be seen by a pinhole camera, and all nodes of
    ``depth_image_proc`` that take one read P, so P is used, unless it is 0, as some drivers leave it. Without
    distortion both are mostly equal. The translation in P, of the second camera of a stereo pair, is left
    out: the frame is that of the image's own camera.

    Args:
        k: ``[9]``, row by row; 0 if it is not known.
        p: ``[12]``, row by row; 0 if it is not known.
        d: ``[n]`` coefficients; or None.
        width, height: of the images; 0 if they are not known.
        where: what error messages call the message.

    Raises:
        InputError: the camera is not calibrated, or a matrix is not that of a camera.
    """
    raw, whole = np.asarray(k, np.float64).ravel(), np.asarray(p, np.float64).ravel()
    if not raw.any() and not whole.any():
        raise InputError(
            f"{where}: K and P are 0, so the camera is not calibrated; give --intrinsics with {_NUMBERS}, or "
            "with the file of a calibrated camera"
        )
    own = whole.reshape(3, 4)[:, :3].ravel() if whole.any() else raw
    return CameraFile(
        matrix_intrinsics(own, where),
        (width, height) if width > 0 and height > 0 else None,
        distorted=d is not None and bool(np.any(np.asarray(d, np.float64))),
        rectified=bool(raw.any()) and not np.allclose(own, raw, rtol=_SAME, atol=0),
    )


def lens_notes(camera: CameraFile, where: str) -> Iterator[str]:
    """Say what is assumed of the lens of a camera; ``where`` names its file or message."""
    if camera.rectified:
        yield (
            f"the depth image is taken for rectified: the intrinsics are those of P in {where}, and K, of "
            "raw images, differs; rectify a raw image first"
        )
    elif camera.distorted:
        yield f"{where} states lens distortion, which is left out: give a rectified image"


def _value(content: Mapping[Any, Any], names: tuple[str, ...]) -> Any:
    """The numbers under the first of some keys, or None; calibrations of ROS and OpenCV hold them as data."""
    found = next((content[name] for name in names if name in content), None)
    return found.get("data") if isinstance(found, Mapping) else found


def _names_camera(content: Mapping[Any, Any]) -> bool:
    """Tell whether a mapping holds a camera itself, not one in a mapping of its own."""
    return "fx" in content or any(isinstance(content.get(key), list) for key in _MATRICES)


def _scale(content: Mapping[Any, Any]) -> float | None:
    """Metres per unit of depth images, as a file states it: Open3D the inverse, BOP in millimetres."""
    if "cam_K" in content:
        return _millimetres(content)
    scale = content.get("depth_scale")
    if not isinstance(scale, int | float) or not (math.isfinite(scale) and scale > 0):
        return None
    return 1 / scale if "intrinsic_matrix" in content or "intrinsic" in content else float(scale)


def _is_distorted(content: Mapping[Any, Any]) -> bool:
    """Tell whether a file states coefficients of distortion that are not 0."""
    numbers = _value(content, _DISTORTION)
    return isinstance(numbers, list) and any(isinstance(one, int | float) and one != 0 for one in numbers)


def _millimetres(content: Any) -> float | None:
    """The scale that BOP states, in millimetres per unit, in metres per unit."""
    scale = content.get("depth_scale") if isinstance(content, Mapping) else None
    return 1e-3 * scale if isinstance(scale, int | float) and scale > 0 else None


def _intrinsics(content: Any, where: str) -> Intrinsics:
    if isinstance(content, list):
        return matrix_intrinsics(np.array(content, float), where)
    if isinstance(content, Mapping):
        for key in _MATRICES:
            if key in content:
                value = content[key]
                if isinstance(value, Mapping):
                    return _intrinsics(value.get("data", value), where)
                return matrix_intrinsics(np.array(value, float), where)
        values = {name: content.get(name, content.get(_OTHER_NAMES.get(name))) for name in Intrinsics._fields}
        missing = [name for name, value in values.items() if value is None]
        if not missing:
            return check_intrinsics(Intrinsics(*(_number(*item, where) for item in values.items())), where)
        if len(missing) < len(values):
            raise InputError(f"{where}: it has no {', '.join(missing)}; {_WANTED}")
    raise InputError(f"{where}: no fx, fy, cx, cy and no matrix K in it; {_WANTED}")


def _number(name: str, value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {name} is {value!r}, not a number; {_WANTED}") from None


def check_size(
    camera: Intrinsics, shape: tuple[int, ...], where: str, size: tuple[int, int] | None = None
) -> None:
    """Refuse intrinsics that cannot be those of an image.

    Args:
        camera: the intrinsics.
        shape: height and width of the image.
        where: what error messages call the intrinsics.
        size: width and height that the intrinsics are said to be for.

    Raises:
        InputError: the principal point lies outside of the image, or the intrinsics are for another size.
    """
    height, width = shape
    if size is not None and size != (width, height):
        raise InputError(
            f"{where} is for images of {size[0]} x {size[1]} pixels, and the depth image has {width} x "
            f"{height}; give the intrinsics of the depth camera at this size"
        )
    if not (0 <= camera.cx < width and 0 <= camera.cy < height):
        raise InputError(
            f"{where}: the principal point {camera.cx:g}, {camera.cy:g} lies outside of the depth image of "
            f"{width} x {height} pixels; give the intrinsics of the depth camera at this size"
        )


def doubts(camera: Intrinsics, shape: tuple[int, ...]) -> Iterator[str]:
    """Say why intrinsics are probably not those of the camera that took an image, a sentence each.

    Args:
        camera: the intrinsics.
        shape: height and width of the image.
    """
    fx, fy, cx, cy = camera
    height, width = shape
    if max(fx, fy) > _SQUARE * min(fx, fy):
        yield (
            f"the focal lengths {fx:g} and {fy:g} differ by more than {percent(_SQUARE - 1, 0)}, and depth "
            "cameras have square pixels; check both (--intrinsics)"
        )
    seen = max(_seen(fx, cx, width), _seen(fy, cy, height))
    if not _NARROWEST <= seen <= _WIDEST:
        yield (
            f"with focal lengths of {fx:g} and {fy:g} pixels the image of {width} x {height} would show "
            f"{seen:.0f} degrees, and depth cameras see {_NARROWEST:.0f} to {_WIDEST:.0f}; give the "
            "intrinsics of the depth camera at this size (--intrinsics)"
        )
    if max(abs((cx + 0.5) / width - 0.5), abs((cy + 0.5) / height - 0.5)) > _OFF_MIDDLE:
        yield (
            f"the principal point {cx:g}, {cy:g} is far from the middle of the image of {width} x {height} "
            "pixels; unless the image is a crop, give the intrinsics of the depth camera at this size "
            "(--intrinsics)"
        )


def _seen(focal: float, middle: float, pixels: int) -> float:
    """Degrees that an image shows along one side."""
    return math.degrees(math.atan((middle + 0.5) / focal) + math.atan((pixels - 0.5 - middle) / focal))


def matrix_intrinsics(matrix: np.ndarray, where: str) -> Intrinsics:
    """The intrinsics in a camera matrix ``[3, 3]``, or in its nine numbers in either order.

    Raises:
        InputError: it is not a camera matrix; the message begins with ``where``.
    """
    matrix = to_numbers(matrix, f"{where}: the camera matrix")
    if matrix.size == 9:
        matrix = matrix.reshape(3, 3)
    if matrix.shape == (3, 3) and matrix[2, 2] == 1 and not matrix[0, 2] and not matrix[1, 2]:
        matrix = matrix.T  # column by column, as Open3D writes it
    if matrix.shape != (3, 3) or tuple(matrix[2]) != (0, 0, 1):
        raise InputError(f"{where}: a camera matrix is [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]; {_WANTED}")
    return check_intrinsics(
        Intrinsics(*(float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))), where
    )


def check_intrinsics(camera: Intrinsics, where: str) -> Intrinsics:
    """Refuse intrinsics that no camera has. Raises InputError; the message begins with ``where``."""
    if not all(map(math.isfinite, camera)) or min(camera.fx, camera.fy) <= 1:
        raise InputError(
            f"{where}: focal lengths of {camera.fx:g} and {camera.fy:g}; they are in pixels, above 1"
        )
    if max(camera.fx, camera.fy) > _MOST_OBLONG * min(camera.fx, camera.fy):
        raise InputError(
            f"{where}: focal lengths of {camera.fx:g} and {camera.fy:g} pixels differ too much for any "
            "camera; check both"
        )
    return camera
