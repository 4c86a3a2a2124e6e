"""Real scans: point clouds from files, and their labels.

Points are in metres, in the frame of the file. A file that is damaged, or contains numbers that are not
finite, is refused. Missing returns are left out, see ``missing_returns.py``.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from plumbline.arrays import to_numbers
from plumbline.errors import InputError
from plumbline.files import reading
from plumbline.geometry.array_clouds import read_npy, read_npz
from plumbline.geometry.csv_tables import read_rows
from plumbline.geometry.extents import extents
from plumbline.geometry.headers import check_las, check_whole
from plumbline.geometry.missing_returns import are_missing_returns, without_missing, zero_rows
from plumbline.geometry.pcd import read_pcd
from plumbline.geometry.ply import read_ply
from plumbline.geometry.ply_writing import LAST_MEASURED, MADE_BY, PART, STATION
from plumbline.geometry.ptx import read_ptx
from plumbline.geometry.stand_ins import check_is_scan, is_packed
from plumbline.geometry.standpoint import why_not_the_origin
from plumbline.geometry.text_clouds import read_text
from plumbline.records import FROM_CAMERA, Float, Scan
from plumbline.records import Cloud as Cloud

_LARGEST = 1e15
"""Largest plausible coordinate in any unit; larger ones come from damaged bytes."""
_TINIEST = 1e-30
"""Smallest extent of a scan in any unit; powers of smaller ones, such as volumes squared, would be 0."""
_GIVE = "give its position: --sensor x,y,z"
_LABEL = "give its position in the columns sensor_x, sensor_y, sensor_z of the labels"
"""What helps if the position of a sensor is not known: in ``predict``, and in ``prepare --labels``."""
_PIECE = 1 << 26
"""Bytes of points of a las file that are read at once."""
_SMALLEST = 1e-9
"""A scan with an extent up to this fraction of the distance to its sensor counts as a single position."""


@dataclass(frozen=True, slots=True)
class Label:
    """The label of one scan. World frame (that of the scan's file), metres.

    Attributes:
        path: the scan's file.
        object_name: id of the object. All scans of one object must have the same, otherwise the split leaks.
        com: ``[3]`` true centre of mass.
        sensor: ``[3]`` position of the sensor, or None if the labels do not give it.
        bounding_radius: of the whole object, or None if the labels do not give it.
    """

    path: Path
    object_name: str
    com: Float
    sensor: Float | None
    bounding_radius: float | None


def read_cloud(path: Path | str) -> Float:
    """Read the points of a scan.

    Formats: ply (vertices, and the position of one ``camera`` or of each vertex; faces are ignored), pcd,
    las, laz, ptx, npy, npz (``points``, or one array with another usual name, and, if known, the position of
    the sensor:
    ``sensor`` ``[3]`` or ``[N, 3]``, or ``sensor_positions [S, 3]`` and ``view [N]``), and text: xyz, xyzi,
    xyzn, xyzrgb, pts, asc, txt and csv (columns named x, y, z by a header or a comment above the numbers,
    otherwise the first three; separated by whitespace, commas or semicolons). Arrays: see
    :func:`plumbline.geometry.array_clouds.points_of`.

    Missing returns are left out: rows of 0 0 0 if there are several, and in organised clouds also rows that
    are not finite. :func:`load_cloud` tells how many.

    Returns:
        ``[N, 3]`` float64, metres, frame of the file.

    Raises:
        InputError: unknown format, missing package, unreadable, empty, or not finite; it names the file.
    """
    return load_cloud(path).points


def scan_of(cloud: Cloud, sensor: Float | None, *, give: str = _GIVE) -> Scan:
    """Turn the content of a file into a scan without a label.

    Args:
        cloud: the points.
        sensor: ``[3]`` or ``[N, 3]`` position of the sensor. By default the position in the file (``sensor``
            in npz, VIEWPOINT in pcd, ``camera`` in ply), otherwise the origin, which is right if the sensor
            reports in its own frame.
        give: how to give the position, for messages.

    Returns:
        All points of the file, with one view per sensor position; ``com`` and ``bounding_radius`` are None.

    Raises:
        InputError: the sensor's position has the wrong shape or is not finite, it is not given and cannot be
            the origin, all points are at the same position or nearly so, a point is at its sensor's position,
            or several are at 0,0,0; the message names the cloud.
    """
    points, path = cloud.points, cloud.name
    given = sensor is not None
    if sensor is None:
        if cloud.sensor is None and cloud.sensor_doubt:
            raise InputError(f"{path}: {cloud.sensor_doubt}; {give}")
        sensor = np.zeros(3) if cloud.sensor is None else cloud.sensor
    sensor = to_numbers(sensor, f"{path}: the sensor's position")
    if sensor.shape not in ((3,), points.shape) or not np.isfinite(sensor).all():
        left = f" of the {len(points):,} that are not missing returns" if cloud.dropped else ""
        raise InputError(f"{path}: the sensor's position must be 3 finite numbers, or 3 for each point{left}")
    size = extents(points).max()
    if size <= _SMALLEST * np.abs(points - sensor).max():
        which = "there is 1 point" if len(points) == 1 else f"all {len(points):,} points are at one position"
        raise InputError(f"{path}: {which}; the scan of an object has points at several positions")
    if size < _TINIEST:
        raise InputError(f"{path}: the scan is only {size:.3g} long, too small in any unit; check the unit")
    lost = int(zero_rows(points - sensor).sum())
    if lost:
        which = "1 point lies" if lost == 1 else f"{lost:,} points lie"
        if not given and cloud.sensor is None:
            raise InputError(
                f"{path}: {which} at 0,0,0, where the sensor is assumed; remove missing returns, or {give}"
            )
        raise InputError(f"{path}: {which} at the sensor, where nothing is measured; remove missing returns")
    zeros = int(np.count_nonzero(zero_rows(points)))
    if are_missing_returns(zeros):
        raise InputError(
            f"{path}: {zeros:,} points are exactly 0,0,0; remove them if they are missing returns"
        )
    if not given and sensor.ndim == 1 and not sensor.any():
        doubt = why_not_the_origin(points)
        if doubt is not None:
            where = "the sensor would be assumed" if cloud.sensor is None else "the file places the sensor"
            if cloud.place == FROM_CAMERA:
                where, give = "the camera stands", "check its intrinsics (--intrinsics)"
            raise InputError(f"{path}: {where} at 0,0,0, but {doubt}; {give}")
    if sensor.ndim == 1:
        view = np.zeros(len(points), dtype=np.int64)
    else:
        view = np.unique(sensor, axis=0, return_inverse=True)[1].astype(np.int64)
    sensors = np.array(np.broadcast_to(sensor, points.shape))
    return Scan(points, sensors, view, None, None, dropped=cloud.dropped, notes=cloud.notes)


def read_labels(csv_path: Path | str) -> list[Label]:
    """Read the labels of real scans.

    Columns: ``file`` (relative to the CSV), ``com_x, com_y, com_z``, and optionally ``object_name`` (by
    default the file's path without its suffix), ``sensor_x, sensor_y, sensor_z``, ``bounding_radius``.
    Optional cells may be empty, other columns are ignored. Positions and radii are in metres.

    Raises:
        InputError: the message names the file, the line, and what is wrong there.
    """
    csv_path = Path(csv_path)
    needed = ("file", *_COM)
    optional = [column for column in LABEL_COLUMNS if column not in needed]
    rows = read_rows(csv_path, needed, optional, "scan")
    return [_label(row, csv_path, where) for where, row in rows]


def load_scan(label: Label) -> Scan:
    """Read one labelled scan, with all points of its file; see :func:`scan_of` for the sensor."""
    cloud = load_cloud(label.path)
    scan = scan_of(cloud, label.sensor, give=_LABEL)
    notes = scan.notes
    if label.sensor is None and cloud.sensor is None:
        notes = (*notes, "the file does not give the position of its sensor, which is assumed at 0,0,0")
    return replace(scan, com=label.com, bounding_radius=label.bounding_radius, notes=notes)


# --------------------------------------------------------------------------------------------- labels

_COM = ("com_x", "com_y", "com_z")
_SENSOR = ("sensor_x", "sensor_y", "sensor_z")
LABEL_COLUMNS = ("file", *_COM, "object_name", *_SENSOR, "bounding_radius")
"""Columns of a CSV of labels."""


def _label(row: dict[str, str], csv_path: Path, where: str) -> Label:
    name = row["file"].strip()
    path = csv_path.parent / name
    if not name or not path.is_file():
        raise InputError(f"{where}: no file {path}; paths are relative to the CSV")
    com = np.array([_number(row, column, where) for column in _COM])
    cells = [row.get(column, "").strip() for column in _SENSOR]
    sensor = np.array([_number(row, column, where) for column in _SENSOR]) if any(cells) else None
    radius = _number(row, "bounding_radius", where) if row.get("bounding_radius", "").strip() else None
    if radius is not None and radius <= 0:
        raise InputError(f"{where}: bounding_radius {radius:g}; give metres above 0, or leave the cell empty")
    given = row.get("object_name", "").strip()
    stem = Path(path.name) if Path(name).is_absolute() else Path(name)
    return Label(path, given or stem.with_suffix("").as_posix(), com, sensor, radius)


def _number(row: dict[str, str], column: str, where: str) -> float:
    text = row.get(column, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {column} is {text!r}; give a finite number in metres")
    return value


# -------------------------------------------------------------------------------------------- formats


def load_cloud(path: Path | str) -> Cloud:
    """Read the points of a file, and the sensor's position if the file has it; see :func:`read_cloud`."""
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}; give a scan file")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        if is_packed(path):
            raise InputError(f"{path} is compressed or an archive; unpack it and give the scan in it")
        raise InputError(f"{path}: unknown format; scans end in {', '.join(sorted(CLOUD_SUFFIXES))}")
    try:
        with reading(path):
            check_is_scan(path)
            cloud = replace(reader(path), name=str(path))
    except InputError:
        raise
    except ImportError as error:
        package = (error.name or str(error)).split(".")[0]
        raise InputError(
            f"{path}: reading {path.suffix} files needs {package}: pip install {package}"
        ) from error
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory; give a part of the scan") from error
    except Exception as error:  # parsers raise exceptions of any type for broken files
        suffix = path.suffix[1:]
        raise InputError(
            f"{path} cannot be read as {suffix}: it is damaged, or not a file of this format; export it again"
        ) from error
    cloud = without_missing(cloud, organised=False)
    check_points(cloud.points, path)
    return cloud


def check_points(points: Float, path: Path | str) -> None:
    """Refuse points that are not ``[N, 3]``, not finite, or too far away for any unit.

    Raises:
        InputError: the points are refused; the message names the file.
    """
    if points.ndim == 2 and not len(points):
        raise InputError(f"{path} has no points; give a scan with points of one object")
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"{path}: points of shape {list(points.shape)}; rows of x, y, z are needed")
    largest = float(max(points.max(), -points.min()))  # not finite if any coordinate is not
    if not math.isfinite(largest):
        broken = np.flatnonzero(~np.isfinite(points).all(axis=1))
        which = "1 point is" if len(broken) == 1 else f"{len(broken):,} points are"
        raise InputError(
            f"{path}: {which} not finite, the first is number {broken[0] + 1:,}; remove such points"
        )
    if largest > _LARGEST:
        raise InputError(f"{path} is damaged: it has coordinates up to {largest:.3g}; export it again")


def _read_ply(path: Path) -> Cloud:
    ply = read_ply(path)
    points = ply.vertices()
    part = ply.elements.get("vertex", {}).get(PART)
    if isinstance(part, np.ndarray) and any(line.startswith(MADE_BY) for line in ply.comments):
        drawn = part > LAST_MEASURED
        note = f"{drawn.sum():,} points of the answer that predict --ply drew are left out"
        return Cloud(points[~drawn], notes=(note,))
    if {*STATION} <= {*ply.elements.get("vertex", {})}:
        return Cloud(points, ply.positions("vertex", STATION))
    if not {*STATION} <= {*ply.elements.get("camera", {})}:
        return Cloud(points)
    stations = np.unique(ply.positions("camera", STATION), axis=0)
    stations = stations[np.isfinite(stations).all(axis=1)]
    if len(stations) > 1:
        return Cloud(
            points, sensor_doubt=f"it lists {len(stations)} cameras, but not which one saw each point"
        )
    return Cloud(points, stations[0] if len(stations) else None)


def _read_pcd(path: Path) -> Cloud:
    pcd = read_pcd(path)
    return without_missing(Cloud(pcd.points, pcd.viewpoint, str(path)), organised=pcd.organised)


def _read_las(path: Path) -> Cloud:
    import laspy

    if path.suffix.lower() == ".laz" and not laspy.LazBackend.detect_available():
        raise ImportError("no reader of compressed las files", name="lazrs")
    check_las(path)
    # The parallel reader aborts the process if a damaged file declares more points than fit into memory.
    readers = [item for item in laspy.LazBackend.detect_available() if item.name != "LazrsParallel"]
    try:
        with laspy.open(path, read_evlrs=False, laz_backend=readers) as file:
            # In pieces: only at the end of a compressed file is it known whether all points are there.
            pieces = file.chunk_iterator(max(_PIECE // file.header.point_format.size, 1))
            points = [np.stack([piece.x, piece.y, piece.z], axis=1).astype(np.float64) for piece in pieces]
            promised = file.header.point_count
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # a Rust panic is not a subclass of Exception
            raise
        raise ValueError(str(error)) from error
    check_whole(path, sum(map(len, points)), promised)
    return Cloud(np.concatenate([np.zeros((0, 3)), *points]))


_READERS = {
    ".asc": read_text,
    ".csv": read_text,
    ".las": _read_las,
    ".laz": _read_las,
    ".npy": read_npy,
    ".npz": read_npz,
    ".pcd": _read_pcd,
    ".ply": _read_ply,
    ".pts": read_text,
    ".ptx": read_ptx,
    ".txt": read_text,
    ".xyz": read_text,
    ".xyzi": read_text,
    ".xyzn": read_text,
    ".xyzrgb": read_text,
}
CLOUD_SUFFIXES = frozenset(_READERS)
"""Suffixes of files that are read as scans."""
TEXT_SUFFIXES = frozenset({".asc", ".csv", ".txt"})
"""Suffixes of files that may contain anything, so that in folders they are not taken for scans."""
SEARCHED_SUFFIXES = CLOUD_SUFFIXES - TEXT_SUFFIXES
