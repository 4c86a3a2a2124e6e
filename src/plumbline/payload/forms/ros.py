"""Messages of ROS that say where a centre of mass is and what a payload is: their fields, and these as YAML.

``geometry_msgs/Inertia`` is about the centre of mass (its definition says so since 2026).
"""

import json
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from plumbline.payload.forms.numbers import spell, upper
from plumbline.payload.record import GAUSSIAN_90, Payload
from plumbline.records import Float

INERTIA = "geometry_msgs/msg/InertiaStamped"
POINT = "geometry_msgs/msg/PointStamped"
MARKER = "visualization_msgs/msg/Marker"
"""The types of the messages."""
_DOT = 0.005
"""Radius of the marker in metres, where no doubt is known that it could show."""
_SPHERE = 2
"""The type of a marker that is an ellipsoid."""

Fields = dict[str, Any]
"""The fields of a message by name: texts, numbers, and fields of fields. Others have their default."""


class Stamp(NamedTuple):
    """When a message was valid, as ROS counts it."""

    sec: int
    nanosec: int


def point_fields(com: Float, frame: str, stamp: Stamp | None = None) -> Fields:
    """The fields of a PointStamped: the centre of mass ``[3]`` in metres."""
    return {"header": _header(frame, stamp), "point": _xyz(com)}


def inertia_fields(payload: Payload, stamp: Stamp | None = None) -> Fields:
    """The fields of an InertiaStamped. Raises InputError: the inertia is not known."""
    held = {"m": float(payload.mass), "com": _xyz(payload.com), **upper(payload.known_inertia())}
    return {"header": _header(payload.frame, stamp), "inertia": held}


def marker_fields(
    com: Float,
    covariance: Float | None,
    frame: str,
    stamp: Stamp | None = None,
    *,
    radius: float | None = None,
    number: int = 0,
) -> Fields:
    """The fields of a Marker: the ellipsoid that holds nine in ten true centres.

    Args:
        com: ``[3]`` the centre of mass, metres.
        covariance: ``[3, 3]`` of its error; None: not known.
        frame: of the message.
        stamp: of the message; None: it has none.
        radius: of the ball that is drawn without a covariance; None: a dot.
        number: ``id`` of the marker; a viewer shows the last one of each.
    """
    radii, (qx, qy, qz, qw) = _ellipsoid(covariance, _DOT if radius is None else radius)
    return {
        "header": _header(frame, stamp),
        "ns": "centre_of_mass",
        "id": number,
        "type": _SPHERE,
        "action": 0,
        "pose": {"position": _xyz(com), "orientation": {"x": qx, "y": qy, "z": qz, "w": qw}},
        "scale": _xyz(2 * radii),
        "color": {"r": 0.85, "g": 0.2, "b": 0.1, "a": 0.6},
    }


def write(payload: Payload) -> str:
    """Write an InertiaStamped, a PointStamped and a Marker as YAML, as ``ros2 topic pub`` takes them.

    Raises:
        InputError: the inertia is not known.
    """
    messages = {
        INERTIA: inertia_fields(payload),
        POINT: point_fields(payload.com, payload.frame),
        MARKER: marker_fields(payload.com, payload.covariance, payload.frame),
    }
    return "\n---\n".join(f"# {kind}\n" + "\n".join(_lines(fields)) for kind, fields in messages.items())


def _header(frame: str, stamp: Stamp | None) -> Fields:
    return ({} if stamp is None else {"stamp": stamp._asdict()}) | {"frame_id": frame}


def _xyz(values: Float) -> Fields:
    return dict(zip("xyz", map(float, values), strict=True))


def _lines(fields: Fields) -> list[str]:
    """The fields as YAML, line by line; those that are numbers alone in one line."""
    lines = []
    for name, value in fields.items():
        if not isinstance(value, dict):
            lines.append(f"{name}: {_scalar(value)}")
        elif all(isinstance(one, int | float) for one in value.values()):
            held = ", ".join(f"{key}: {_scalar(one)}" for key, one in value.items())
            lines.append(f"{name}: {{{held}}}")
        else:
            lines += [f"{name}:", *(f"  {line}" for line in _lines(value))]
    return lines


def _scalar(value: str | int | float) -> str:
    if isinstance(value, float):
        return spell(value)
    return json.dumps(value, allow_nan=False)


def _ellipsoid(covariance: Float | None, radius: float) -> tuple[Float, list[float]]:
    """Radii ``[3]`` and orientation (x, y, z, w) of the ellipsoid that holds nine in ten true centres."""
    if covariance is None:
        return np.full(3, radius), [0.0, 0.0, 0.0, 1.0]
    variances, axes = np.linalg.eigh(covariance)
    if np.linalg.det(axes) < 0:
        axes[:, 0] *= -1
    radii: Float = np.sqrt(GAUSSIAN_90 * variances.clip(0))
    return radii, Rotation.from_matrix(axes).as_quat().tolist()
