"""Real messages of ROS 2, and bags of them, made with ``rosbags``."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from plumbline.geometry.intrinsics import Intrinsics

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
FORMS = {"db3": StoragePlugin.SQLITE3, "mcap": StoragePlugin.MCAP}
START = 1_700_000_000_123_456_789
"""The first stamp, in nanoseconds."""
Message = tuple[str, int, Any]
"""Topic, nanoseconds at which it was recorded, message."""
_DATATYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


def header(stamp: int = START, frame: str = "camera_depth_optical_frame") -> Any:
    time = TYPES["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
    return TYPES["std_msgs/msg/Header"](time, frame)


def packed(rows: np.ndarray, padding: int) -> np.ndarray:
    """The bytes of an array ``[H, ...]``, with some bytes between the rows."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
    return np.concatenate([flat, np.full((len(rows), padding), 0xAB, np.uint8)], axis=1).ravel()


def cloud_message(
    points: np.ndarray,
    *,
    stamp: int = START,
    frame: str = "camera_depth_optical_frame",
    types: str | dict[str, str] = "f4",
    order: str = "xyz",
    big: bool = False,
    gap: int = 0,
    tail: int = 0,
    row_padding: int = 0,
) -> Any:
    """Points ``[N, 3]`` or ``[H, W, 3]``; ``gap`` bytes before each field, ``tail`` after a point."""
    points = points[None] if points.ndim == 2 else points
    kinds = types if isinstance(types, dict) else dict.fromkeys(order, types)
    offsets, at = {}, 0
    for name in order:
        offsets[name] = at + gap
        at += gap + np.dtype(kinds[name]).itemsize
    layout = np.dtype(
        {
            "names": list(order),
            "formats": [f"{'>' if big else '<'}{kinds[name]}" for name in order],
            "offsets": [offsets[name] for name in order],
            "itemsize": at + tail,
        }
    )
    table = np.zeros(points.shape[:2], layout)
    for name in order:
        table[name] = points[..., "xyz".index(name)] if name in "xyz" else 7
    field = TYPES["sensor_msgs/msg/PointField"]
    fields = [field(name, offsets[name], _DATATYPES[kinds[name]], 1) for name in order]
    height, width = points.shape[:2]
    step = width * layout.itemsize + row_padding
    dense = bool(np.isfinite(points).all())
    return TYPES["sensor_msgs/msg/PointCloud2"](
        header(stamp, frame),
        height,
        width,
        fields,
        big,
        layout.itemsize,
        step,
        packed(table, row_padding),
        dense,
    )


def image_message(
    image: np.ndarray, encoding: str, *, stamp: int = START, big: bool = False, padding: int = 0
) -> Any:
    """An Image ``[H, W]`` of numbers that have the type of the encoding."""
    data = packed(image.astype(image.dtype.newbyteorder(">" if big else "<")), padding)
    height, width = image.shape
    step = width * image.itemsize + padding
    return TYPES["sensor_msgs/msg/Image"](header(stamp), height, width, encoding, int(big), step, data)


def compressed_message(content: bytes, how: str, *, stamp: int = START) -> Any:
    return TYPES["sensor_msgs/msg/CompressedImage"](header(stamp), how, np.frombuffer(content, np.uint8))


def camera_message(camera: Intrinsics, shape: tuple[int, int], *, stamp: int = START, d: float = 0.0) -> Any:
    """A CameraInfo without a turn of the image; ``d`` is the first coefficient of the distortion."""
    fx, fy, cx, cy = camera
    k = np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1])
    p = np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0])
    roi = TYPES["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    height, width = shape
    return TYPES["sensor_msgs/msg/CameraInfo"](
        header(stamp),
        height,
        width,
        "plumb_bob",
        np.array([d, 0, 0, 0, 0]),
        k,
        np.eye(3).ravel(),
        p,
        0,
        0,
        roi,
    )


def write_bag(path: Path, messages: Iterable[Message], form: str = "db3", empty: Iterable[str] = ()) -> Path:
    """A bag in a folder; ``empty`` are topics of clouds without a message."""
    with Writer(path, version=9, storage_plugin=FORMS[form]) as writer:
        connections = {}
        for topic in empty:
            writer.add_connection(topic, "sensor_msgs/msg/PointCloud2", typestore=STORE)
        for topic, recorded, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], recorded, STORE.serialize_cdr(message, kind))
    return path


def read_bag(path: Path) -> list[Message]:
    """All messages of a bag, in the order in which they were recorded."""
    with Reader(path) as reader:
        return [
            (connection.topic, recorded, STORE.deserialize_cdr(data, connection.msgtype))
            for connection, recorded, data in reader.messages()
        ]


def through_cdr(message: Any, little: bool = True) -> Any:
    """Serialise a message and read it back."""
    kind = message.__msgtype__
    return STORE.deserialize_cdr(STORE.serialize_cdr(message, kind, little_endian=little), kind)


def plain(message: Any) -> Any:
    """A message as nested dictionaries."""
    if hasattr(message, "__msgtype__"):
        return {name: plain(value) for name, value in vars(message).items() if name != "__msgtype__"}
    return message.tolist() if isinstance(message, np.ndarray) else message
