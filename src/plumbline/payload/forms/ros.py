"""Messages of ROS as YAML, as ``ros2 topic pub`` takes them: inertia, centre of mass, marker.

``geometry_msgs/Inertia`` is about the centre of mass (its definition says so since 2026).
"""

import json

import numpy as np
from scipy.spatial.transform import Rotation

from plumbline.payload.forms.numbers import spell, upper
from plumbline.payload.record import GAUSSIAN_90, Payload

_DOT = 0.01
"""Diameter of the marker in metres, where there is no covariance to draw."""


def write(payload: Payload) -> str:
    """Write an InertiaStamped, a PointStamped and a Marker: the ellipsoid that holds 90 % of true centres.

    Raises:
        InputError: the inertia is not known.
    """
    header = f"header:\n  frame_id: {json.dumps(payload.frame, allow_nan=False)}\n"
    x, y, z = map(spell, payload.com)
    moments = "".join(f"  {name}: {spell(value)}\n" for name, value in upper(payload.known_inertia()).items())
    size, (qx, qy, qz, qw) = _ellipsoid(payload)
    return f"""# geometry_msgs/msg/InertiaStamped
{header}inertia:
  m: {spell(payload.mass)}
  com: {{x: {x}, y: {y}, z: {z}}}
{moments}---
# geometry_msgs/msg/PointStamped
{header}point: {{x: {x}, y: {y}, z: {z}}}
---
# visualization_msgs/msg/Marker
{header}ns: centre_of_mass
id: 0
type: 2
action: 0
pose:
  position: {{x: {x}, y: {y}, z: {z}}}
  orientation: {{x: {spell(qx)}, y: {spell(qy)}, z: {spell(qz)}, w: {spell(qw)}}}
scale: {{x: {spell(size[0])}, y: {spell(size[1])}, z: {spell(size[2])}}}
color: {{r: 0.85, g: 0.2, b: 0.1, a: 0.6}}"""


def _ellipsoid(payload: Payload) -> tuple[list[float], list[float]]:
    """Diameters and orientation (x, y, z, w) of the ellipsoid that holds nine in ten true centres."""
    if payload.covariance is None:
        return [_DOT] * 3, [0.0, 0.0, 0.0, 1.0]
    variances, axes = np.linalg.eigh(payload.covariance)
    if np.linalg.det(axes) < 0:
        axes[:, 0] *= -1
    diameters = 2 * np.sqrt(GAUSSIAN_90 * variances.clip(0))
    return diameters.tolist(), Rotation.from_matrix(axes).as_quat().tolist()
