"""Messages of ROS 2 as clouds, images and cameras, and answers as messages.

Anything with the fields of a message will do: a message of rclpy, or one that was read from a bag. ROS need
not be installed.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.clouds import check_points
from plumbline.geometry.image_files import read_picture
from plumbline.geometry.intrinsics import CameraFile, camera_from_fields
from plumbline.geometry.missing_returns import without_missing
from plumbline.payload.forms.ros import (
    INERTIA,
    MARKER,
    POINT,
    Fields,
    Stamp,
    inertia_fields,
    marker_fields,
    point_fields,
)
from plumbline.payload.record import Payload
from plumbline.predictors.prediction import Prediction
from plumbline.records import Cloud, Float

CLOUD = "sensor_msgs/msg/PointCloud2"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA = "sensor_msgs/msg/CameraInfo"
"""The types of the messages that are read."""

_DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
"""Numbers of ``sensor_msgs/PointField``, as numpy calls them."""
_ENCODINGS = {"mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2", "32SC1": "i4", "32FC1": "f4"}
_MEANT = {
    "depth": ("16UC1", "mono16", "32FC1"),
    "mask": ("mono8", "8UC1", "mono16", "16UC1", "32SC1"),
}
_PNG = b"\x89PNG"
_PREFIX = 12
"""Bytes before the picture in images of the transport ``compressedDepth``."""


def cloud_of(message: Any, name: str = "the message") -> Cloud:
    """Convert a ``sensor_msgs/PointCloud2`` to a cloud.

    The fields ``x``, ``y`` and ``z`` may be of any type, in any order, and with other bytes between them.
    Points that are not finite, or 0 0 0, are missing returns and left out; ``loss`` says how many. A message
    does not say where the sensor stood: by default it is assumed at the origin of the frame, as for files.

    Args:
        message: with the fields of a PointCloud2; coordinates in metres.
        name: what messages call the cloud.

    Returns:
        Points ``[N, 3]`` float64, metres, in the frame ``header.frame_id``.

    Raises:
        InputError: a field is missing, the data are shorter than the message says, or no point is left; the
            message begins with ``name``.
    """
    held = {field.name: field for field in message.fields}
    if missing := [axis for axis in "xyz" if axis not in held]:
        there = ", ".join(sorted(held)) or "none"
        raise InputError(f"{name}: the point cloud has no field {', '.join(missing)} (its fields: {there})")
    order = ">" if message.is_bigendian else "<"
    types = [_DATATYPES.get(held[axis].datatype) for axis in "xyz"]
    offsets = [int(held[axis].offset) for axis in "xyz"]
    step = int(message.point_step)
    ends = [at + np.dtype(kind).itemsize for at, kind in zip(offsets, types, strict=True) if kind]
    if len(ends) < 3 or max(ends) > step:
        raise InputError(f"{name}: the fields of the point cloud are damaged: x, y or z lies in no point")
    rows = _rows(message, int(message.row_step), int(message.width) * step, name)
    if not rows.size:
        raise InputError(f"{name}: the point cloud has no points")
    layout = np.dtype(
        {
            "names": ["x", "y", "z"],
            "formats": [f"{order}{kind}" for kind in types],
            "offsets": offsets,
            "itemsize": step,
        }
    )
    table = np.ascontiguousarray(rows).view(layout).ravel()
    points: Float = np.stack([table[axis].astype(np.float64) for axis in "xyz"], axis=1)
    cloud = Cloud(points, name=name, unit="metres", frame=str(message.header.frame_id))
    cloud = without_missing(cloud, organised=True)
    check_points(cloud.points, name)
    return cloud


def image_of(message: Any, what: str, name: str = "the message") -> np.ndarray:
    """Convert a ``sensor_msgs/Image``, or a ``CompressedImage`` with a PNG, to an array.

    Args:
        message: with the fields of one of both.
        what: ``"depth"`` (16UC1 or mono16 in millimetres, 32FC1 in metres) or ``"mask"`` (mono8, 8UC1,
            mono16, 16UC1 or 32SC1: numbers of objects).
        name: what error messages call the image.

    Returns:
        ``[H, W]``, the numbers of the message.

    Raises:
        InputError: another encoding, or fewer data than the message says.
    """
    if hasattr(message, "format"):
        return _decompress(message, what, name)
    encoding = str(message.encoding)
    if encoding not in _MEANT[what]:
        usable = ", ".join(_MEANT[what])
        raise InputError(f"{name}: the encoding {encoding!r} cannot be used for a {what} image; use {usable}")
    kind = np.dtype(_ENCODINGS[encoding]).newbyteorder(">" if message.is_bigendian else "<")
    rows = _rows(message, int(message.step), int(message.width) * kind.itemsize, name)
    image: np.ndarray = np.ascontiguousarray(rows).view(kind)
    return image.astype(kind.newbyteorder("="))


def camera_of(message: Any, where: str = "the CameraInfo") -> CameraFile:
    """Read the intrinsics of a ``sensor_msgs/CameraInfo``, as from a YAML file of it.

    Raises:
        InputError: no camera has such intrinsics; the message begins with ``where``.
    """
    held = {name: [*map(float, getattr(message, name))] for name in "dkrp"}
    size = {name: int(getattr(message, name)) for name in ("width", "height")}
    return camera_from_fields({**size, **held, "distortion_model": str(message.distortion_model)}, where)


def answer_fields(
    prediction: Prediction, stamp: Any = None, payload: Payload | None = None, *, number: int = 0
) -> dict[str, Fields]:
    """What an answer says as messages, ready for :func:`fill`.

    Args:
        prediction: in metres; its ``frame`` is that of the messages.
        stamp: with ``sec`` and ``nanosec``, such as that of the message that is answered.
        payload: of :meth:`Prediction.payload`, or None.
        number: of the object, the ``id`` of the marker.

    Returns:
        The fields by the type of the message: PointStamped (the centre of mass), Marker (the ellipsoid that
        holds nine in ten true centres, or a ball), and InertiaStamped if there is a payload with an inertia.
    """
    com, frame = prediction.com, prediction.frame
    at = None if stamp is None else Stamp(int(stamp.sec), int(stamp.nanosec))
    messages = {
        POINT: point_fields(com, frame, at),
        MARKER: marker_fields(
            com, prediction.covariance, frame, at, radius=prediction.radius_90, number=number
        ),
    }
    if payload is not None and payload.inertia is not None:
        messages[INERTIA] = inertia_fields(payload, at)
    return messages


def fill(message: Any, fields: Mapping[str, Any]) -> Any:
    """Set fields of a message, and fields of its fields; all others stay. Returns the message."""
    for name, value in fields.items():
        inner = getattr(message, name)
        if isinstance(value, Mapping):
            fill(inner, value)
        else:
            setattr(message, name, value)
    return message


def _rows(message: Any, step: int, width: int, name: str) -> np.ndarray:
    """The bytes of each row of an image or a cloud ``[H, width]``, without the padding at its end."""
    data = np.frombuffer(memoryview(message.data), np.uint8)
    height = int(message.height)
    if step < width or len(data) < height * step:
        raise InputError(
            f"{name}: the data are damaged: {len(data):,} bytes for {height:,} rows of {max(step, width):,}"
        )
    return data[: height * step].reshape(height, step)[:, :width]


def _decompress(message: Any, what: str, name: str) -> np.ndarray:
    how, data = str(message.format), bytes(memoryview(message.data))
    at = next((at for at in (0, _PREFIX) if data[at : at + len(_PNG)] == _PNG), None)
    if at is None:
        raise InputError(f"{name}: the compression {how!r} cannot be read; of a {what} it must be PNG")
    if at and "32FC1" in how:
        raise InputError(f"{name}: the compression {how!r} cannot be read; record the image itself")
    try:
        return read_picture(BytesIO(data[at:]), what, name)
    except InputError:
        raise
    except Exception as error:  # readers raise exceptions of any type for broken pictures
        raise InputError(f"{name}: the compressed image is damaged") from error
