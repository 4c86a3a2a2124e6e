"""Scans from numpy arrays: npy and npz files."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from plumbline.arrays import to_numbers
from plumbline.errors import InputError
from plumbline.geometry.column_names import find_axes
from plumbline.geometry.headers import array_names, check_npy, check_npz
from plumbline.geometry.missing_returns import LARGEST_SQUARED, without_missing
from plumbline.geometry.unnamed_columns import WIDEST, is_depth_image, is_matrix, sample_rows, why_not_xyz
from plumbline.records import Cloud, Float, Int

_NAMES = frozenset(
    {"arr_0", "cloud", "coord", "coords", "pc", "pcd", "pcl", "point", "point_cloud", "pointcloud"}
    | {"points", "points3d", "points_3d", "pos", "position", "positions", "pts", "vertices", "verts", "xyz"}
)
"""Names of arrays of points in files of other programs, in lower case."""
_NO_POINTS = re.compile(r"normal|colou?r|rgb|image|mask|label|intens|camera|pose|transform", re.IGNORECASE)
"""Part of the name of an array that is not of points."""
_SENSORS = frozenset({"sensor", "sensor_positions", "view"})
_NEAR = 0.5
"""Largest ratio of the median distances of neighbours and of random points in an image."""


def read_npy(path: Path) -> Cloud:
    """Read the points of an npy file; :func:`points_of` says which shapes.

    Raises:
        InputError: the file is damaged, or its array is not a scan; the message names the file.
    """
    _check_start(path, b"\x93NUMPY")
    check_npy(path)
    # Mapped, so that an array declared to be larger than the file is refused before allocation.
    array = np.load(path, allow_pickle=False, mmap_mode="r")
    points, organised, notes = points_of(path, "the array", array)
    return without_missing(Cloud(points, None, str(path), notes=notes), organised=organised)


def read_npz(path: Path) -> Cloud:
    """Read the points of an npz file, and the positions of the sensor if it has them.

    Raises:
        InputError: the file is damaged, or has no scan; the message names the file and the array.
    """
    _check_start(path, b"PK")
    name = _choose(path, array_names(path))
    check_npz(path, {name, *_SENSORS})
    with np.load(path, allow_pickle=False) as arrays:
        points, organised, notes = points_of(path, name, arrays[name])
        if name != "points":
            notes = (*notes, f"its points are read from the array {name!r}")
        sensor = None
        if "sensor" in arrays:
            sensor = _sensor(to_numbers(arrays["sensor"], f"{path}: sensor"), len(points))
        elif "sensor_positions" in arrays:
            sensor = _stations(path, arrays["sensor_positions"], arrays.get("view"), len(points))
    return without_missing(Cloud(points, sensor, str(path), notes=notes), organised=organised)


def _choose(path: Path, names: Collection[str]) -> str:
    """Choose the array of points."""
    if "points" in names:
        return "points"
    others = sorted(set(names) - _SENSORS)
    known = [name for name in others if name.lower() in _NAMES]
    if not known and (depth := [name for name in others if "depth" in name.lower()]):
        raise InputError(f"{path}: no array 'points', but {depth[0]!r}: {_DEPTH}")
    if len(known) == 1:
        return known[0]
    if len(others) == 1 and not _NO_POINTS.search(others[0]):
        return others[0]
    which = " and ".join(map(repr, known[:2])) + " may both be" if known else "no array"
    listed = ", ".join(map(repr, names)) or "no array"
    raise InputError(f"{path}: {which} 'points'; the file has {listed}: give the points that name")


def _sensor(given: Float, num: int) -> Float:
    """Reshape ``[1, 3]`` and ``[3, 1]`` to ``[3]``, and ``[H, W, 3]`` and ``[3, N]`` to ``[N, 3]``."""
    if given.size == 3:
        return given.reshape(3)
    if given.ndim == 3 and given.shape[2] == 3:
        return given.reshape(-1, 3)
    return given.T if given.shape == (3, num) and num != 3 else given


def _stations(path: Path, given: np.ndarray[Any, Any], view: np.ndarray[Any, Any] | None, num: int) -> Float:
    """Look up the position of each point's sensor."""
    stations = to_numbers(given, f"{path}: sensor_positions")
    if stations.ndim != 2 or stations.shape[1] != 3 or not len(stations):
        raise InputError(f"{path}: sensor_positions has shape {list(stations.shape)}; [S, 3] is needed")
    fits = view is not None and view.dtype.kind in "iu" and view.shape == (num,)
    if view is None or not fits or not ((view >= 0) & (view < len(stations))).all():
        raise InputError(
            f"{path}: sensor_positions needs an array 'view' with the row of each point's sensor in it, "
            f"whole numbers from 0 to {len(stations) - 1}"
        )
    result: Float = stations[view]
    return result


def _check_start(path: Path, mark: bytes) -> None:
    with path.open("rb") as file:
        if file.read(len(mark)) != mark:
            suffix = path.suffix[1:]
            raise InputError(
                f"{path} cannot be read as {suffix}: it does not start like an {suffix} file; export it again"
            )


# ------------------------------------------------------------------------------------------------- shapes


def points_of(path: Path, name: str, array: np.ndarray[Any, Any]) -> tuple[Float, bool, tuple[str, ...]]:
    """Take the points from an array.

    Args:
        path: the file, for messages.
        name: of the array, for messages.
        array: ``[N, 3 to 20]``, whose first columns are x, y and z; ``[H, W, 3 to 20]``, the pixels of an
            image; ``[3 or 4, N]``, a row for each coordinate, if N is above 4; or structured, with fields x,
            y and z, or one field of ``[3]``.

    Returns:
        ``[N, 3]`` float64, whether they are the pixels of an image, and notes on what was assumed.

    Raises:
        InputError: another shape, such as a depth image, or not numbers; the message names the file.
    """
    if array.dtype.names:
        array = _fields(path, name, array)
    shape, notes = array.shape, tuple[str, ...]()
    if len(shape) == 2 and shape[0] in (3, 4) and shape[1] > 4:
        array = array[:3].T
        notes = (f"{name} of shape {list(shape)} has a row for each of x, y and z",)
    elif len(shape) in (2, 3) and (shape[-1] > WIDEST or shape[2:] == (1,)):
        _refuse_wide(path, name, shape)
    if array.ndim not in (2, 3) or array.shape[-1] < 3:
        raise InputError(f"{path}: {name} has shape {list(shape)}; rows of x, y, z are needed")
    if array.ndim == 3 and array.dtype.itemsize == 1:
        raise InputError(f"{path}: {name} of shape {list(shape)} looks like a picture; points are needed")
    if array.ndim == 2:
        rows = sample_rows(len(array))
        _check_table(path, name, to_numbers(array[rows], f"{path}: {name}"), rows, shape)
    points = to_numbers(array[..., :3], f"{path}: {name}")
    organised = array.ndim == 3 and 1 not in shape[:2]
    if organised and not _is_image(points):
        if shape[0] == 3 and shape[2] > 4:
            raise InputError(f"{path}: {name} has shape {list(shape)}; [H, W, 3] is needed, so transpose it")
        raise InputError(
            f"{path}: {name} of shape {list(shape)} seems to have {shape[0]} scans; give one scan per file"
        )
    return points.reshape(-1, 3), organised, notes


_DEPTH = "a depth image is given with --depth and --intrinsics"


def _refuse_wide(path: Path, name: str, shape: tuple[int, ...]) -> NoReturn:
    sizes = [size for size in shape if size > 1]
    if len(sizes) == 2 and min(sizes) > WIDEST // 2:
        raise InputError(f"{path}: {name} of shape {list(shape)} looks like a depth image; {_DEPTH}")
    raise InputError(f"{path}: {name} has shape {list(shape)}; rows of x, y, z are needed, so transpose it")


def _fields(path: Path, name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Take x, y and z, or one field of three numbers, from a structured array."""
    names = array.dtype.names or ()
    axes = find_axes(names)
    if axes is not None:
        return np.stack([array[names[axis]] for axis in axes], axis=-1)
    whole = [field for field in names if field.lower() in _NAMES]
    if len(whole) == 1:
        inner: np.ndarray[Any, Any] = array[whole[0]]
        if inner.dtype.names:
            return _fields(path, name, inner)
        if inner.shape == (*array.shape, 3):
            return inner
    raise InputError(
        f"{path}: {name} has no fields x, y and z, but {', '.join(map(repr, names))}; rename them"
    )


def _check_table(path: Path, name: str, table: Float, rows: Int, shape: tuple[int, ...]) -> None:
    """Refuse an array that is an image or a matrix, or begins with other columns than x, y and z.

    Args:
        path: the file, for messages.
        name: of the array, for messages.
        table: ``[n, C]`` some of its rows.
        rows: ``[n]`` the numbers of these rows.
        shape: of the whole array.
    """
    if is_matrix(table, shape):
        raise InputError(f"{path}: {name} of shape {list(shape)} looks like a matrix; points are needed")
    if is_depth_image(table, shape):
        raise InputError(f"{path}: {name} of shape {list(shape)} looks like a depth image; {_DEPTH}")
    if (reason := why_not_xyz(table, rows)) is not None:
        raise InputError(f"{path}: in {name} {reason}; put x, y and z into its first three columns")


def _is_image(points: Float) -> bool:
    """Tell whether neighbours ``[H, W, 3]`` are near each other along rows and columns."""
    valid: np.ndarray[Any, Any] = (np.abs(points) < LARGEST_SQUARED).all(axis=2) & (points != 0).any(axis=2)
    flat = points[valid]
    if len(flat) < 2:
        return True
    pairs = flat[np.random.default_rng(0).integers(len(flat), size=(2, 10_000))]
    apart = np.median(np.linalg.norm(pairs[0] - pairs[1], axis=1))
    for ahead, behind in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        both = valid[ahead] & valid[behind]
        steps = np.linalg.norm(points[ahead][both] - points[behind][both], axis=1)
        if len(steps) and np.median(steps) > _NEAR * apart:
            return False
    return True
