"""The vocabulary of the package: shape letters, frames, units, and the records that its parts exchange.

Shape letters: N points (= graph nodes), E edges, G graphs, F node features, D edge features,
K neighbours, V/F mesh vertices/faces, R rays, C channels, S sensors (one per view),
W vectors of a whole scan.

Frames: *mesh* (as in the file, times ``scale``), *world* (after the object's random rotation; also the
frame of a real scan's file), *stored* (what a data set holds: ``stored = (world - origin) / scale``).
Units: metres in mesh and world frames, radians, seconds. The stored frame is in metres too, or in
units of the scan's own size (see ``--normalise``).

Edges run from source to target as in PyTorch Geometric: ``edge_index[0]`` is the source and
``edge_index[1]`` the target. They are kept sorted by target, so that the targets need not be stored:
``edge_index[1] == repeat(arange(N), in_degree)``.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plumbline.quantities import Range as Range  # one of the records

Float = NDArray[np.floating]
Int = NDArray[np.integer]

Target = Literal["solid", "shell"]
Sampling = Literal["farthest", "random"]
Pattern = Literal["grid", "lidar"]
SensorModel = Literal["none", "depth"]
Density = Literal["uniform", "parts"]
EdgeAttr = Literal["sh", "displacement", "none"]
Normalise = Literal["unit", "centre", "none"]

FEATURE_NAMES = (
    *("x", "y", "z", "sensor_x", "sensor_y", "sensor_z", "normal_x", "normal_y", "normal_z"),
    *("curvature", "spacing", "depth"),
)
"""Node features that ``plumbline prepare`` writes: position, unit direction to the sensor, normal, share of
the neighbourhood's variance off its plane, distance to the 4th nearest point, unseen depth behind it."""

USUAL_VECTORS = ("hull", "carve", "view")
"""Vectors that every scan has: centre of the convex hull and of the space that no sensor saw to be empty,
both relative to the mean of the points, and mean unit direction to the sensor."""
VECTOR_NAMES = (*USUAL_VECTORS, "table")
"""Vectors that a scan can have; ``table`` leads from the mean of the points straight down to the table that
the object stands on, and is zero if there is none or it is not known."""


def vector_names(sensor_model: str) -> tuple[str, ...]:
    """Names of the vectors that ``plumbline prepare`` writes: only a sensor model knows of tables."""
    return VECTOR_NAMES if sensor_model == "depth" else USUAL_VECTORS


@dataclass(frozen=True, slots=True)
class Solid:
    """A mesh with its true centre of mass. Mesh frame, metres.

    Attributes:
        name: object id, unique in a data set, POSIX path style, e.g. ``"mug/000012"`` or
            ``"basemesh/anvil"``; everything before the last slash is the object's *group*.
        vertices: ``[V, 3]`` float64.
        faces: ``[F, 3]`` int64, counter-clockwise seen from outside.
        com: ``[3]`` float64 centre of mass (of the solid, or of the shell for ``--target shell``); of uniform
            density, but for a built-in solid with ``--density parts`` and a mesh with ``--densities``.
        bounding_centre: ``[3]`` float64 centre of the minimum enclosing sphere.
        bounding_radius: radius of that sphere; the unit in which errors are reported.
        volume: cubic metres (0.0 for an open shell).
        notes: what was left out or assumed while the file was read, a phrase each.
        inertia: ``[3, 3]`` inertia tensor about the centre of mass per unit mass, square metres; None for a
            shell.
        mass: kilograms, if its bodies have densities; otherwise NaN.
    """

    name: str
    vertices: Float
    faces: Int
    com: Float
    bounding_centre: Float
    bounding_radius: float
    volume: float
    notes: tuple[str, ...] = ()
    inertia: Float | None = None
    mass: float = float("nan")


@dataclass(frozen=True, slots=True)
class Scan:
    """The points that sensors measured of one object. World frame, metres.

    Attributes:
        points: ``[N, 3]`` float64 measured points (noise and pose error included).
        sensor: ``[N, 3]`` float64 assumed position of the sensor that measured each point (without the pose
            error).
        view: ``[N]`` int64, the view of each point, ``0 .. S-1``.
        com: ``[3]`` float64 true centre of mass, or None for a real scan without a label.
        bounding_radius: radius of the whole object, or None if unknown.
        table: ``[4]`` plane that the object stands on: unit normal toward the object, and its product with
            the points of the plane; None if there is none or it is not known.
        volume: cubic metres of the whole object; NaN if unknown.
        inertia: ``[3, 3]`` inertia tensor of the whole object about its centre of mass, per unit mass, square
            metres; None if unknown.
        left_out: share of the measured points that were left out because they are not connected to the
            object, 0 to 1.
        dropped: number of rows of the file that were left out as missing returns.
        notes: what was assumed while the file of the scan, or of its mesh, was read, a phrase each.
    """

    points: Float
    sensor: Float
    view: Int
    com: Float | None
    bounding_radius: float | None
    table: Float | None = None
    volume: float = float("nan")
    inertia: Float | None = None
    left_out: float = 0.0
    dropped: int = 0
    notes: tuple[str, ...] = ()


AS_IN_FILE = "as in the file"
"""Unit of a cloud whose file does not tell it."""
FROM_CAMERA = "the camera"
"""How the position of the sensor of a depth image is known: it is the optical centre."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """The points of a scan and the sensor's position from its file. Frame and unit of the file.

    Attributes:
        points: ``[N, 3]`` float64.
        sensor: ``[3]`` or ``[N, 3]`` position of the sensor, or None if the file does not give it.
        name: name of the file, for messages.
        dropped: number of rows of the file that were left out as missing returns.
        loss: these rows in a phrase; empty if there are none.
        notes: what was assumed while the file was read, a phrase each.
        sensor_doubt: why the sensor must not be assumed at the origin, although the file does not give its
            position; empty if it may be.
        on_object: ``[N]`` which points are connected to the object; None if the file does not tell, so that
            cleaning finds out.
        unit: of the points and of a prediction from them.
        place: how the position of the sensor is known, if it is.
        warnings: why a prediction may be worse than it says, one sentence each.
        table: ``[4]`` plane that the object was found to stand on, as in :class:`Scan`; for models that use
            one. None: not known.
        frame: name of the points' frame; empty if it has none.
    """

    points: Float
    sensor: Float | None = None
    name: str = ""
    dropped: int = 0
    loss: str = ""
    notes: tuple[str, ...] = ()
    sensor_doubt: str = ""
    on_object: NDArray[np.bool_] | None = None
    unit: str = AS_IN_FILE
    place: str = "from the file"
    warnings: tuple[str, ...] = ()
    table: Float | None = None
    frame: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled graph, as a data set stores it. Stored frame (see the module docstring).

    Attributes:
        node_features: ``[N, F]`` float32; the first three columns are the position unless
            ``point_cloud`` is given.
        in_degree: ``[N]`` int32, number of edges that end at each node.
        edge_source: ``[E]`` int32 source node of each edge, edges sorted by target (stable).
        target: ``[3]`` float64 centre of mass.
        object_name: id of the object; all samples of one object are on the same side of a split.
        edge_attr: ``[E, D]`` float32 in the order of ``edge_source``, or None.
        point_cloud: ``[N, 3]`` float32 positions, only if they differ from ``node_features[:, :3]``.
        bounding_radius: radius of the whole object, stored units; NaN if unknown.
        origin: ``[3]`` float64, world position of the stored frame's origin, metres.
        scale: metres per stored unit: ``world = origin + scale * stored``.
        num_views: number of views that were merged; 0 if unknown.
        volume: of the whole object, stored units cubed; NaN if unknown.
        inertia: ``[3, 3]`` float64 inertia tensor of the whole object about its centre of mass, per unit
            mass, stored units squared; None if unknown.
        vectors: ``[W, 3]`` float32 vectors of the whole scan (``VECTOR_NAMES``), stored units, or None.
        left_out, dropped, notes: those of the scan; for the report of ``prepare``, not stored.
    """

    node_features: Float
    in_degree: Int
    edge_source: Int
    target: Float
    object_name: str
    edge_attr: Float | None = None
    point_cloud: Float | None = None
    bounding_radius: float = float("nan")
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    num_views: int = 0
    volume: float = float("nan")
    inertia: Float | None = None
    vectors: Float | None = None
    left_out: float = 0.0
    dropped: int = 0
    notes: tuple[str, ...] = ()

    @property
    def pos(self) -> Float:
        """``[N, 3]`` float32 positions in the stored frame."""
        return self.node_features[:, :3] if self.point_cloud is None else self.point_cloud

    @property
    def edge_index(self) -> Int:
        """``[2, E]`` int64 source and target of every edge."""
        target = np.repeat(np.arange(len(self.in_degree)), self.in_degree)
        return np.stack([self.edge_source.astype(np.int64), target])


SMALLEST, LARGEST = 1e-13, 1e13
"""Range of the radii that a data set may have, and largest number in it, stored units. Errors are squared,
summed and divided by radii in float32, which holds numbers from 1e-38 to 3e38."""


def scan_radius(sample: Sample) -> float:
    """Largest distance of a point from the mean of the points, used if the bounding radius is unknown."""
    pos = sample.pos.astype(np.float64)
    away = pos - pos.mean(axis=0)
    return float(np.sqrt(np.add.reduce(away * away, axis=1).max()))


def known_radius(sample: Sample) -> float:
    """The radius of the object, or of the scan if that is unknown."""
    return sample.bounding_radius if np.isfinite(sample.bounding_radius) else scan_radius(sample)


def unusable(sample: Sample) -> str | None:
    """Say why a sample cannot be trained on or measured with; None if it can."""
    for name in ("node_features", "edge_attr", "point_cloud", "vectors", "target"):
        values = getattr(sample, name)
        if values is None or not values.size:
            continue
        largest = np.abs(values).max()
        if not np.isfinite(largest):
            return f"{name} holds NaN or infinite values"
        if largest > LARGEST:
            return f"{name} holds numbers as large as {largest:.3g}, and at most {LARGEST:g} can be used"
    if np.isfinite(sample.bounding_radius):
        return unusable_radius(sample.bounding_radius)
    radius, num = scan_radius(sample), len(sample.in_degree)
    if radius == 0:
        which = "it has one point and" if num == 1 else f"its {num} points coincide, and it has"
        return f"{which} no bounding_radius: there is no size to measure errors by"
    return unusable_radius(radius, "the radius of its scan")


def unusable_radius(radius: float, what: str = "its bounding radius") -> str | None:
    """Say why errors cannot be measured in units of a radius; None if they can."""
    if SMALLEST <= radius <= LARGEST:
        return None
    shown = f"{radius:.3g}" if np.isfinite(radius) else "not finite"
    return f"{what} is {shown}, and {SMALLEST:g} to {LARGEST:g} can be used"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A rejected input: where it is, and the reason in one sentence."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSettings:
    """How objects are scanned. Each field is the flag of ``plumbline prepare`` of that name.

    Attributes:
        target: centre of mass of the solid (closed meshes only) or of its surface.
        scale: metres per unit of the mesh files.
        density: of built-in solids: ``"uniform"``, or ``"parts"``: each part (handle, head, ...) has the
            density of a material that it may be made of. It does not apply to meshes.
        samples: scans per object; a real scan counts as one.
        solid_samples: scans per built-in solid; 0 for the same number as ``samples``.
        views: number of sensors per scan, drawn uniformly.
        points: number of points kept of all views together, drawn uniformly on a logarithmic scale. A real
            scan keeps the upper end of the range, or all its points if it has fewer.
        sampling: ``"farthest"`` (each point is the farthest from all previous ones), ``"random"``, or
            ``"mixed"`` (one or the other, chosen per scan).
        pattern: rays of a camera (``"grid"``) or of a rotating LiDAR (``"lidar"``).
        rays: rays per view, over the field of view that the bounding sphere fills.
        distance: distance of a sensor from the centre of the bounding sphere, in bounding radii, above 1.
        noise: range noise along the ray, 1 sigma, as a fraction of the bounding radius, drawn uniformly per
            scan.
        grazing: angle of incidence, degrees, beyond which returns get lost: a return at angle a is kept with
            probability ``cos(a) / cos(grazing)``; 90 keeps all.
        pose_error: pose error of each view, 1 sigma per axis: a rotation about the sensor in degrees, and a
            shift of the same number of hundredths of the bounding radius. It moves the points, but not the
            assumed position of the sensor.
        sensor_model: ``"none"``: noise and losses are those of the settings above. ``"depth"``: a depth
            camera with ranges, losses and errors of real ones, which replaces pattern, rays, distance, noise,
            grazing and pose error (``geometry/depth_camera.py``).
        sensor_share: share of the scans that the sensor model is used for; the others are taken without.
        clean: leave out points of a real scan that are not connected to the object.
        rotate: rotate every object by a uniformly random rotation before each scan.
        seed: seed of solids, poses, noise and sampling.
    """

    target: Target = "solid"
    scale: float = 1.0
    density: Density = "uniform"
    samples: int = 10
    solid_samples: int = 0
    views: Range = Range(1)
    points: Range = Range(256)
    sampling: Sampling | Literal["mixed"] = "farthest"
    pattern: Pattern = "grid"
    rays: int = 1600
    distance: Range = Range(2, 3)
    noise: Range = Range(0.01)
    grazing: float = 80.0
    pose_error: float = 0.0
    sensor_model: SensorModel = "none"
    sensor_share: float = 0.5
    clean: bool = True
    rotate: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSettings:
    """How scans become graphs. Each field is the flag of ``plumbline prepare`` of that name.

    Attributes:
        k: neighbours per point.
        edge_attr: attributes of the edge from a node to its neighbour: real spherical harmonics of its
            direction (``"sh"``), the displacement in stored units, or none.
        sh_degree: highest degree for ``"sh"``.
        normalise: the stored frame. ``"unit"``: origin at the mean of the points, unit length their root
            mean square distance from it; ``"centre"``: the same origin, metres; ``"none"``: as scanned.
    """

    k: int = 16
    edge_attr: EdgeAttr = "sh"
    sh_degree: int = 2
    normalise: Normalise = "unit"
