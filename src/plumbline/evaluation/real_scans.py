"""A set of real scans with known centres of mass: a manifest, scans as npz files, reference meshes.

Layout: ``manifest.csv`` with at least the columns ``scan, object, kind, group, in_training_pool,
hollow_vessel`` (others are for readers); each scan an npz file with ``points [N, 3]``, ``sensor [3]`` or
``[N, 3]``, ``com [3]``, ``bounding_radius``, ``mesh`` (path of the reference mesh) and ``pose [4, 4]``
(from the mesh to the points); for vessels ``com_shell [3]``; for the camera ``K [3, 3]``, or the mask of the
points' pixels, ``organised_mask`` or ``mask [H, W]``. Paths are relative to the manifest. Metres.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from plumbline.errors import InputError
from plumbline.files import reading, reading_csv
from plumbline.geometry.cameras import find_cameras
from plumbline.geometry.headers import array_names, read_array
from plumbline.geometry.meshes import load_mesh
from plumbline.geometry.placed_mesh import PlacedMesh
from plumbline.records import Cloud, Float, Solid
from plumbline.rigid import not_rigid

MANIFEST = "manifest.csv"
WITHIN = 0.012
"""Points farther than this from the reference mesh, in metres, are not the object's. A length, not a share
of the radius: it is above the errors of depth cameras and of registered meshes, which do not grow with the
object, and below the step from an object to what lies behind it."""
_COLUMNS = ("scan", "object", "kind", "group", "in_training_pool", "hollow_vessel")
_MASKS = ("organised_mask", "mask")


@dataclass(frozen=True, slots=True)
class RealScan:
    """A row of the manifest.

    Attributes:
        where: manifest and line, for messages.
        path: the npz file.
        name: its path in the manifest.
        object: name of the object that it shows.
        kind: kind of object, such as ``box``.
        group: where the scan comes from.
        in_pool: whether the object is one of those that trainings usually use.
        vessel: whether the object is hollow and open, so that its solid is badly defined.
    """

    where: str
    path: Path
    name: str
    object: str
    kind: str
    group: str
    in_pool: bool
    vessel: bool


@dataclass(frozen=True, slots=True, eq=False)
class KnownScan:
    """A real scan with its truth, in the frame of its points, metres.

    Attributes:
        cloud: all points, and the sensor.
        com: ``[3]`` centre of mass of the uniform solid.
        com_shell: ``[3]`` that of the surface; NaN unless the object is a vessel.
        radius: of the object's smallest enclosing sphere.
        mesh: the reference mesh, where the object stands.
        camera_matrix: ``[3, 3]``, or None.
        mask: ``[H, W]``, not 0 at the pixels of the points, or None.
    """

    cloud: Cloud
    com: Float
    com_shell: Float
    radius: float
    mesh: PlacedMesh
    camera_matrix: np.ndarray | None
    mask: np.ndarray | None

    @property
    def inliers(self) -> Cloud:
        """The points at most ``WITHIN`` from the mesh. Raises InputError if fewer than two are."""
        near = self.mesh.near(self.cloud.points, WITHIN)
        if near.sum() < 2:
            raise InputError(
                f"{self.cloud.name}: fewer than two points lie within {1000 * WITHIN:g} mm of the mesh, "
                "placed by pose; pose must map the mesh to the frame of the points"
            )
        sensor = self.cloud.sensor
        assert sensor is not None
        return replace(
            self.cloud, points=self.cloud.points[near], sensor=sensor if sensor.ndim == 1 else sensor[near]
        )

    @property
    def twin(self) -> Cloud:
        """What the same cameras see of the mesh. Raises InputError if they do not see it."""
        assert self.cloud.sensor is not None
        cameras = find_cameras(
            self.cloud.points,
            self.cloud.sensor,
            matrix=self.camera_matrix,
            mask=self.mask,
            name=self.cloud.name,
        )
        points, sensor = self.mesh.seen_by(cameras)
        return replace(self.cloud, points=points, sensor=sensor)


class RealSet:
    """The real scans of a folder.

    Args:
        folder: holds ``manifest.csv``.

    Attributes:
        scans: the rows of the manifest, in order.

    Raises:
        InputError: there is no manifest, or it cannot be read; the message names file and line.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._meshes: dict[Path, Solid] = {}
        path = folder / MANIFEST
        if not path.is_file():
            what = f"has no {MANIFEST}" if folder.is_dir() else "is not a folder"
            raise InputError(f"--real {folder} {what}; give the folder of a set like that of benchmarks/real")
        with reading_csv(path), path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if missing := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
                raise InputError(f"{path}, line 1: no column {', '.join(missing)}; add it to the header")
            self.scans = [_row(row, folder, f"{path}, line {rows.line_num}") for row in rows]
        if not self.scans:
            raise InputError(f"{path} has no rows below its header; add one row per scan")

    def load(self, scan: RealScan) -> KnownScan:
        """Read a scan and its mesh.

        Raises:
            InputError: a file is missing or damaged, an array is missing or of the wrong shape, or pose does
                not bring the mesh to the truth; the message names manifest, line and file.
        """
        try:
            return self._load(scan)
        except InputError as error:
            raise InputError(f"{scan.where}: {error}") from error

    def _load(self, scan: RealScan) -> KnownScan:
        if not scan.path.is_file():
            raise InputError(f"no file {scan.path}; paths are relative to the manifest")
        try:
            with reading(scan.path):
                arrays = _Arrays(scan.path)
                points, sensor = arrays.numbers("points", ("N", 3)), arrays.numbers("sensor", (3,), ("N", 3))
                com, radius = arrays.numbers("com", (3,)), float(arrays.numbers("bounding_radius", ()))
                com_shell = arrays.numbers("com_shell", (3,)) if scan.vessel else np.full(3, np.nan)
                pose, mesh = arrays.numbers("pose", (4, 4)), self._folder / str(arrays.any("mesh"))
                matrix = arrays.numbers("K", (3, 3)) if "K" in arrays.names else None
                masks = [name for name in _MASKS if name in arrays.names]
                mask = arrays.any(masks[0]) if masks and matrix is None else None
        except InputError:
            raise
        except (BadZipFile, ValueError, EOFError) as error:
            raise InputError(f"{scan.path} cannot be read: it is damaged, or not an npz file") from error
        if sensor.ndim == 2 and len(sensor) != len(points):
            raise InputError(
                f"{scan.path}: {len(points):,} points, but {len(sensor):,} positions of the sensor"
            )
        if radius <= 0:
            raise InputError(f"{scan.path}: bounding_radius {radius:g}; give metres above 0")
        placed = self._placed(scan, mesh, pose)
        gap = float(np.linalg.norm((placed.vertices.min(axis=0) + placed.vertices.max(axis=0)) / 2 - com))
        if gap > 2 * radius:
            raise InputError(
                f"{scan.path}: the mesh, placed by pose, lies {gap / radius:.1f} radii from com; pose must "
                "map the mesh to the frame of the points"
            )
        cloud = Cloud(points, sensor, str(scan.path))
        return KnownScan(cloud, com, com_shell, radius, placed, matrix, mask)

    def _placed(self, scan: RealScan, path: Path, pose: Float) -> PlacedMesh:
        if (reason := not_rigid(pose)) is not None:
            raise InputError(f"{scan.path}: pose is no rigid motion [[R, t], [0, 0, 0, 1]]: {reason}")
        if not path.is_file():
            raise InputError(
                f"{scan.path}: its reference mesh {path} does not exist; put it there: the path in the "
                f"array mesh is relative to the folder of {MANIFEST}"
            )
        if path not in self._meshes:
            # Only its surface is looked at, and reference meshes of vessels may be open.
            self._meshes[path] = load_mesh(path, name=scan.object, target="shell")
        mesh = self._meshes[path]
        return PlacedMesh(mesh.vertices, mesh.faces, pose, str(scan.path))


class _Arrays:
    """The arrays of an npz file, checked."""

    def __init__(self, path: Path) -> None:
        self.path, self.names = path, array_names(path)

    def any(self, name: str) -> np.ndarray:
        return read_array(self.path, name)

    def numbers(self, name: str, *shapes: tuple[Any, ...]) -> Float:
        """Read finite numbers of one of some shapes; N stands for any length."""
        array = self.any(name)
        fits = any(
            len(shape) == array.ndim
            and all(size == want or want == "N" for size, want in zip(array.shape, shape, strict=True))
            for shape in shapes
        )
        if array.dtype.kind not in "fiu" or not fits:
            wanted = " or ".join("[" + ", ".join(map(str, shape)) + "]" for shape in shapes)
            raise InputError(
                f"{self.path}: {name} is {array.dtype} of shape {list(array.shape)}; give numbers {wanted}"
            )
        if not np.isfinite(array).all():
            raise InputError(f"{self.path}: {name} holds values that are not finite; leave such points out")
        return array.astype(np.float64)


def _row(row: Mapping[Any, Any], folder: Path, where: str) -> RealScan:
    # csv stores surplus cells under the key None, and gives missing cells the value None.
    if None in row or None in row.values():
        raise InputError(f"{where}: more or fewer cells than the header; quote cells that contain commas")
    cells = {name: row[name].strip() for name in _COLUMNS}
    if empty := [name for name, cell in cells.items() if not cell]:
        raise InputError(f"{where}: {empty[0]} is empty; fill the cell")
    for name in ("in_training_pool", "hollow_vessel"):
        if cells[name] not in ("yes", "no"):
            raise InputError(f"{where}: {name} is {cells[name]!r}; give yes or no")
    return RealScan(
        where=where,
        path=folder / cells["scan"],
        name=cells["scan"],
        object=cells["object"],
        kind=cells["kind"],
        group=cells["group"],
        in_pool=cells["in_training_pool"] == "yes",
        vessel=cells["hollow_vessel"] == "yes",
    )
