"""One of several scan files: an error in the place of a scan that cannot be read, and lengths in metres."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from plumbline.errors import InputError
from plumbline.geometry.clouds import SEARCHED_SUFFIXES, load_cloud
from plumbline.records import Cloud


def read_file(file: Path, *, needs_sensor: bool, scale: float | None = None) -> Cloud | InputError:
    """Read a scan; returns the error if it cannot be read.

    Args:
        file: of the scan.
        needs_sensor: a file of arrays must say where the sensor stood.
        scale: metres per unit of the file, to get the scan in metres; None: as in the file.
    """
    if file.is_dir():
        endings = ", ".join(sorted(SEARCHED_SUFFIXES))
        return InputError(
            f"{file}: no scans in this folder ({endings}; text files must be named individually)"
        )
    try:
        cloud = load_cloud(file)
    except InputError as error:
        return error
    if needs_sensor and cloud.sensor is None and file.suffix.lower() == ".npz":
        return InputError(
            f"{file}: no array 'sensor' next to points: add it, [3] or [N, 3], or give --sensor x,y,z"
        )
    return in_metres(cloud, scale)


def in_metres(cloud: Cloud | InputError, scale: float | None) -> Cloud | InputError:
    """Convert a cloud to metres, if ``scale``, metres per unit, is given; an error stays."""
    if scale is None or isinstance(cloud, InputError):
        return cloud
    sensor = None if cloud.sensor is None else scale * cloud.sensor
    return replace(cloud, points=scale * cloud.points, sensor=sensor, unit="metres")


def scaled(values: Sequence[float], lengths: int, scale: float | None) -> list[float]:
    """The last ``lengths`` of some numbers in metres, if ``scale`` is given; the others are directions."""
    first = len(values) - lengths
    return [*values[:first], *((1 if scale is None else scale) * value for value in values[first:])]
