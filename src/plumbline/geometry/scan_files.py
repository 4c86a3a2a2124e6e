"""Scan files: which there are, an error in the place of one that cannot be read, and lengths in metres."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from plumbline.console.text import counted
from plumbline.errors import InputError
from plumbline.files import visible_files
from plumbline.geometry.clouds import SEARCHED_SUFFIXES, TEXT_SUFFIXES, load_cloud
from plumbline.records import Cloud


def list_scans(paths: Sequence[Path]) -> list[Path]:
    """The scan files in the order given, those of a folder sorted. Raises InputError if no path is given."""
    if not paths:
        raise InputError("no scans given: name files, or folders of them")
    files: list[Path] = []
    for path in paths:
        found = [path / name for name in visible_files(path, SEARCHED_SUFFIXES)] if path.is_dir() else []
        files += found or [path]
    return files


def skipped_texts(paths: Sequence[Path]) -> list[str]:
    """A note for each folder whose text files were skipped: they may be scans, or anything else."""
    notes = []
    for path in paths:
        if texts := visible_files(path, TEXT_SUFFIXES) if path.is_dir() else []:
            were = "was" if len(texts) == 1 else "were"
            notes.append(
                f"{path}: {counted(len(texts), 'text file')} {were} skipped (.asc, .csv, .txt); to include "
                f"a scan among them, name the file, such as {path / texts[0]}"
            )
    return notes


def assumed_note(assumed: int, noun: str = "scan") -> str | None:
    """A note on scans whose sensor is assumed at the origin, by their number; None if there are none."""
    if not assumed:
        return None
    whose = f"{counted(assumed, noun)} {'does' if assumed == 1 else 'do'}"
    frame = "its frame" if assumed == 1 else "the frame of each"
    return (
        f"{whose} not say where the sensor stood: it is assumed at 0,0,0, the origin of {frame} "
        "(give --sensor x,y,z if it stood elsewhere)"
    )


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
