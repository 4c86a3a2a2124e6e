"""Ray patterns of range sensors, in the sensor's frame: the sensor looks along +z, x is right, y is up."""

import math

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.products import cross
from plumbline.records import Float, Pattern

_WIDEST = math.radians(85)
"""Largest half angle, in radians, of the flat image plane of a camera."""


def ray_directions(pattern: Pattern, *, half_angle: float, rays: int, rng: np.random.Generator) -> Float:
    """Compute the ray directions of one exposure, which covers a cone about +z.

    Args:
        pattern: ``"grid"``, a depth camera: the pixel centres of a square pinhole image whose inscribed
            circle is the cone; ``"lidar"``, a rotating scanner with its spin axis along y: rings of
            constant elevation, twice as dense along a ring as across, each ring starting at a random phase.
        half_angle: half angle of the cone in radians, above 0 and below pi/2.
        rays: approximate number of rays; the nearest full grid is used.
        rng: draws the phases of the rings; a grid draws nothing.

    Returns:
        ``[R, 3]`` unit vectors.

    Raises:
        InputError: ``half_angle`` is out of range, or the pattern is unknown.
    """
    if not 0 < half_angle < math.pi / 2:
        raise InputError(
            f"a field of view of {half_angle:g} radians about the axis: it must be between 0 and pi/2"
        )
    if pattern == "grid":
        return _grid(min(half_angle, _WIDEST), max(2, round(math.sqrt(rays))))
    if pattern == "lidar":
        rings = max(2, round(math.sqrt(rays / 2)))
        return _lidar(half_angle, rings, max(2, round(rays / rings)), rng)
    raise InputError(f"unknown ray pattern {pattern!r}: choose grid or lidar")


def look_at(axis: Float, roll: float) -> Float:
    """Compute the right-handed x, y, z axes of a sensor as columns of ``[3, 3]``, with z along ``axis``."""
    z = axis / np.linalg.norm(axis)
    helper = np.zeros(3)
    helper[np.abs(z).argmin()] = 1.0
    x = cross(helper, z)
    x /= np.linalg.norm(x)
    y = cross(z, x)
    cosine, sine = math.cos(roll), math.sin(roll)
    return np.stack([cosine * x + sine * y, cosine * y - sine * x, z], axis=1)


def _centres(num: int) -> Float:
    """Compute the centres of ``num`` equal parts of [-1, 1]."""
    return (2 * np.arange(num) + 1) / num - 1


def _grid(half_angle: float, side: int) -> Float:
    offsets = math.tan(half_angle) * _centres(side)
    rays = np.empty((side, side, 3))
    rays[..., 0], rays[..., 1], rays[..., 2] = offsets, offsets[:, None], 1.0
    squares = offsets * offsets
    rays /= np.sqrt(squares + squares[:, None] + 1.0)[..., None]
    result: Float = rays.reshape(-1, 3)
    return result


def _lidar(half_angle: float, rings: int, steps: int, rng: np.random.Generator) -> Float:
    elevation = np.repeat(half_angle * _centres(rings), steps)
    phase = rng.uniform(-1, 1, size=(rings, 1)) / steps
    azimuth = (half_angle * (_centres(steps) + phase)).ravel()
    level = np.cos(elevation)
    return np.stack([level * np.sin(azimuth), np.sin(elevation), level * np.cos(azimuth)], axis=1)
