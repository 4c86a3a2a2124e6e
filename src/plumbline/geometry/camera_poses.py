"""Several views of an object, merged in one frame by the poses of their cameras."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from plumbline.arrays import to_numbers
from plumbline.errors import InputError
from plumbline.files import reading
from plumbline.geometry.cleaning import object_points
from plumbline.geometry.extents import extents
from plumbline.geometry.tables import CAMERA, POSES, found_table, move_plane
from plumbline.records import Cloud, Float
from plumbline.rigid import not_rigid

FROM_POSES = "from the poses"
"""How the positions of sensors are known."""
_WANTED = "give a JSON list with a 4x4 matrix for each depth image, from the camera to the world, in metres"
_FARTHEST = 100.0
"""Metres between two cameras that see one object, at most: poses beyond it are in millimetres."""
_APART = 2.0
"""Views whose middles are farther apart than this many of their sizes do not show one object."""


def read_poses(path: Path, count: int) -> Float:
    """Read the poses of some cameras from a file.

    Args:
        path: a JSON list of matrices ``[4, 4]``, camera to world, metres.
        count: number of the cameras.

    Returns:
        ``[count, 4, 4]``.

    Raises:
        InputError: the file cannot be read, or has another number of poses, or one that is not rigid.
    """
    where = f"--poses {path}"
    if not path.is_file():
        raise InputError(f"{where} {'is a folder' if path.is_dir() else 'does not exist'}; {_WANTED}")
    try:
        with reading(path):
            given = json.loads(path.read_text(encoding="utf-8-sig"))
        poses = np.array(given, dtype=np.float64)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{where} cannot be read; {_WANTED}") from error
    if poses.ndim != 3 or poses.shape[1:] != (4, 4):
        raise InputError(f"{where}: its numbers have shape {list(poses.shape)}; {_WANTED}")
    if len(poses) != count:
        raise InputError(
            f"{where}: the number of poses is {len(poses)}, that of depth images {count}; {_WANTED}"
        )
    return check_poses(poses, where)


def check_poses(poses: Float, where: str) -> Float:
    """Refuse poses ``[S, 4, 4]`` that move no camera, or not in metres. Raises InputError."""
    for number, pose in enumerate(poses, 1):
        if (reason := not_rigid(pose)) is not None:
            raise InputError(f"{where}: pose {number} is no rigid motion: {reason}; {_WANTED}")
    apart = np.linalg.norm(poses[:, None, :3, 3] - poses[None, :, :3, 3], axis=-1).max()
    if apart > _FARTHEST:
        raise InputError(f"{where}: two cameras are {apart:,.0f} m apart; the poses must be in metres")
    return poses


def merge_views(clouds: Sequence[Cloud], poses: Sequence[Float] | Float, name: str = "") -> Cloud:
    """Merge the views of one object in the world, each with the position of its own sensor.

    Args:
        clouds: one for each view, seen from the origin, as :func:`plumbline.depth_to_cloud` gives.
        poses: a matrix ``[4, 4]`` for each, from its frame to the world, in the unit of the points.
        name: what messages call the result; by default the name of the first view.

    Returns:
        The points of all views, view by view. What is connected to the object is known for each view by
        itself. The table is that of the view with the most points that has one; a note names it in the world.

    Raises:
        InputError: there is no view, another number of poses, or a pose is not a rigid motion in numbers.

    Symmetry: SE(3): poses that are moved by a rigid motion of the world move the result.
    """
    if not isinstance(clouds, Sequence) or not all(isinstance(cloud, Cloud) for cloud in clouds):
        raise InputError("the views must be a list of clouds, as plumbline.depth_to_cloud gives them")
    places = to_numbers(poses, name or "poses")
    if not clouds or places.shape != (len(clouds), 4, 4):
        raise InputError(f"{len(clouds)} views and poses of shape {list(places.shape)}; {_WANTED}")
    check_poses(places, name or "poses")
    points, sensors, kept, tables = [], [], [], []
    for cloud, pose in zip(clouds, places, strict=True):
        turn, shift = pose[:3, :3], pose[:3, 3]
        points.append(cloud.points @ turn.T + shift)
        start = np.zeros(3) if cloud.sensor is None else cloud.sensor
        sensors.append(np.broadcast_to(start @ turn.T + shift, cloud.points.shape))
        on_object = cloud.on_object
        if on_object is None:
            sensor = np.broadcast_to(start, cloud.points.shape)
            on_object = object_points(cloud.points, sensor, np.zeros(len(cloud.points), np.int64))
        kept.append(on_object)
        tables.append((len(cloud.points), move_plane(cloud.table, turn, shift)))
    found = [table for _, table in sorted(tables, key=lambda one: -one[0]) if table is not None]
    warnings = [*chain.from_iterable(cloud.warnings for cloud in clouds)]
    apart = _apart([one[mine] for one, mine in zip(points, kept, strict=True)])
    if apart is not None:
        warnings.append(
            f"the views show places up to {apart:.2g} m apart, so they may not fit together: each pose must "
            "lead from the camera to the world, not from the world to the camera"
        )
    return Cloud(
        np.concatenate(points),
        np.concatenate(sensors),
        name or clouds[0].name,
        on_object=np.concatenate(kept),
        unit=clouds[0].unit,
        place=FROM_POSES,
        notes=tuple(dict.fromkeys(chain.from_iterable(_notes(cloud, found) for cloud in clouds))),
        warnings=tuple(dict.fromkeys(warnings)),
        table=found[0] if found else None,
    )


def _notes(cloud: Cloud, tables: Sequence[Float]) -> Iterator[str]:
    """The notes of a view. A table that was found is named in the world, and for all views the same one."""
    mine = None if cloud.table is None else found_table(cloud.table, CAMERA)
    for note in cloud.notes:
        yield found_table(tables[0], POSES) if note == mine else note


def _apart(views: Sequence[Float]) -> float | None:
    """The largest distance of two views, if it is too large for views of one object."""
    middles = np.array([points.mean(axis=0) for points in views])
    size = max(float(np.linalg.norm(extents(points))) for points in views)
    apart = float(np.linalg.norm(middles[:, None] - middles, axis=-1).max())
    return apart if apart > _APART * size else None
