"""Turn a scan into a labelled graph."""

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.carving import carve, convex_hull
from plumbline.geometry.extents import extents
from plumbline.geometry.harmonics import spherical_harmonics
from plumbline.geometry.neighbours import nearest_neighbours
from plumbline.geometry.normals import estimate_surface
from plumbline.geometry.sampling import farthest_points
from plumbline.geometry.tables import way_down
from plumbline.records import EdgeAttr, Float, Int, Normalise, Sample, Scan

NORMAL_NEIGHBOURS = 16
"""Neighbours from which a normal is estimated."""
SPACING_NEIGHBOUR = 4
"""The local spacing is the distance to the Nth nearest point, for this N."""
LEADERS = 64
"""Number of leading nodes in farthest-point order: any first few of them are spread over the whole scan."""
_COARSEST = 1e-4
"""Largest accepted rounding of stored positions, as a fraction of the scan's size."""


def build_sample(
    scan: Scan,
    *,
    k: int,
    edge_attr: EdgeAttr,
    sh_degree: int,
    normalise: Normalise,
    object_name: str,
    dtype: type = np.float32,
) -> Sample:
    """Turn a scan into the graph that training, evaluation and prediction use.

    Nodes have a position, a unit direction to their sensor, an estimated normal and three scalars
    (``FEATURE_NAMES``); the graph has four vectors (``VECTOR_NAMES``). The first ``LEADERS`` nodes are in
    farthest-point order, the others follow in the order of the scan. An edge runs from j to i if j is one
    of the k nearest neighbours of i, nearest first, so every node has in-degree ``min(k, N - 1)``. Edge
    attributes describe ``pos[source] - pos[target]``, the vector from a node to its neighbour: as real
    spherical harmonics of its direction (``"sh"``), or as the vector in stored units (``"displacement"``).
    The graph is equivariant to rotations and reflections of the scan, and renumbering the points only
    renumbers the nodes (except for exact ties between distances, as on a regular grid without noise).

    Args:
        scan: world frame, N >= 2. Without ``com`` the target is NaN; without ``bounding_radius`` the bounding
            radius is NaN.
        k: neighbours per point.
        edge_attr: kind of edge attributes.
        sh_degree: highest degree for ``"sh"``.
        normalise: the stored frame. ``"unit"``: the origin is the mean of the points, the unit their root
            mean square distance from it; ``"centre"``: the same origin, in metres; ``"none"``: as scanned.
        object_name: id of the object.
        dtype: type of features and vectors; with float64 the symmetry holds to float64 rounding.

    Raises:
        InputError: there are fewer than two points; or points are not finite, lie at their sensor, all
            coincide, or lie too far from the origin to be stored as scanned.
    """
    origin, scale = _stored_frame(scan.points, normalise, object_name)
    pos = (scan.points - origin) / scale
    order = _leaders_first(pos)
    pos, sensor, view = pos[order], (scan.sensor[order] - origin) / scale, scan.view[order]
    towards = _directions(pos, sensor, object_name)
    nearest = nearest_neighbours(pos, max(k, NORMAL_NEIGHBOURS))
    vectors, depth = _whole_scan(pos, sensor, view, towards)
    vectors = np.concatenate([vectors, [way_down(scan, object_name) / scale]])
    features = [pos, towards, *_surface(pos, towards, nearest), depth[:, None]]
    source = np.ascontiguousarray(nearest[:, :k])
    attributes = _edge_attributes(pos, source, edge_attr, sh_degree)
    com = np.full(3, np.nan) if scan.com is None else (scan.com - origin) / scale
    return Sample(
        node_features=np.concatenate(features, axis=1).astype(dtype),
        in_degree=np.full(len(pos), source.shape[1], dtype=np.int32),
        edge_source=source.ravel().astype(np.int32),
        target=com,
        object_name=object_name,
        edge_attr=None if attributes is None else np.ascontiguousarray(attributes, dtype=dtype),
        bounding_radius=float("nan") if scan.bounding_radius is None else scan.bounding_radius / scale,
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        scale=scale,
        num_views=len(np.unique(scan.view)),
        volume=scan.volume / scale**3,
        inertia=None if scan.inertia is None else scan.inertia / scale**2,
        vectors=vectors.astype(dtype),
        left_out=scan.left_out,
        dropped=scan.dropped,
        notes=scan.notes,
    )


def _leaders_first(pos: Float) -> Int:
    """Order the nodes: the leaders in farthest-point order, then the rest in scan order; ``[N]`` indices."""
    leaders = farthest_points(pos, min(LEADERS, len(pos)))
    return np.concatenate([leaders, np.delete(np.arange(len(pos)), leaders)])


def _directions(pos: Float, sensor: Float, object_name: str) -> Float:
    """Compute unit vectors ``[N, 3]`` from the points to their sensors."""
    towards = sensor - pos
    reach = np.linalg.norm(towards, axis=1, keepdims=True)
    if not (reach > 0).all():
        raise InputError(f"{object_name}: {int((reach == 0).sum()):,} points lie at the sensor; remove them")
    result: Float = towards / reach
    return result


def _surface(pos: Float, towards: Float, nearest: Int) -> tuple[Float, Float, Float]:
    """Estimate normal ``[N, 3]``, curvature ``[N, 1]`` and spacing ``[N, 1]`` from ``nearest [N, >=K]``."""
    surface = estimate_surface(pos, towards, NORMAL_NEIGHBOURS, neighbours=nearest)
    near = pos[nearest[:, min(SPACING_NEIGHBOUR, nearest.shape[1]) - 1]]
    return surface.normal, surface.curvature[:, None], np.linalg.norm(near - pos, axis=1, keepdims=True)


def _edge_attributes(pos: Float, source: Int, edge_attr: EdgeAttr, sh_degree: int) -> Float | None:
    """Compute the attributes ``[E, D]`` of the edges from ``source [N, K]``; None for ``"none"``."""
    if edge_attr == "none":
        return None
    offsets = (pos[source] - pos[:, None]).reshape(-1, 3)
    return offsets if edge_attr == "displacement" else spherical_harmonics(offsets, sh_degree)


def _whole_scan(pos: Float, sensor: Float, view: Int, towards: Float) -> tuple[Float, Float]:
    """Compute hull, carve and view ``[3, 3]`` of the scan and the depths ``[N]``.

    If the points span no volume, the depths and the vectors of hull and carving are zero.
    """
    hull = convex_hull(pos)
    if hull is None:
        flat = np.zeros(3)
        return np.stack([flat, flat, towards.mean(axis=0)]), np.zeros(len(pos))
    carved = carve(pos, sensor, view, hull)
    mean = pos.mean(axis=0)
    return np.stack([hull.centre - mean, carved.centre - mean, towards.mean(axis=0)]), carved.depth


def _stored_frame(points: Float, normalise: Normalise, object_name: str) -> tuple[Float, float]:
    if len(points) < 2:
        raise InputError(f"{object_name}: {len(points)} points; a graph needs at least two points")
    if not np.isfinite(points).all():
        raise InputError(f"{object_name}: the scan has points that are not finite; remove them")
    if normalise == "none":
        farthest = np.abs(points).max()
        if np.spacing(np.float32(farthest)) > _COARSEST * extents(points).max() > 0:
            raise InputError(
                f"{object_name}: the scan lies {farthest:.3g} m from the origin, where float32 positions are "
                "too coarse to resolve its shape; use --normalise centre or unit"
            )
        return np.zeros(3), 1.0
    origin = points.mean(axis=0)
    if normalise == "centre":
        return origin, 1.0
    scale = float(np.sqrt(((points - origin) ** 2).sum(axis=1).mean()))
    if scale == 0 or not extents(points).any():  # rounding may move the mean of equal points off them
        raise InputError(f"{object_name}: all points of the scan coincide; a graph needs distinct points")
    return origin, scale
