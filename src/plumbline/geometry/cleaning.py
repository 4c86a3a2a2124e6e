"""Separate the points of an object from stray ones: mask bleed and flying pixels.

The mask of a real scan covers a few pixels of what lies behind the object, and a depth camera invents points
between the two. Few as they are, they lie far away, where the hull and the empty space are decided. They are
not connected to the object at the spacing of its own points, so the connected components tell them apart.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from plumbline.console.text import percent
from plumbline.geometry.carving import convex_hull
from plumbline.geometry.extents import box, mean_point
from plumbline.geometry.mask_bleed import without_bleed
from plumbline.geometry.sampling import take_points
from plumbline.records import Float, Int, Scan

NEAR = 4.0
"""Points nearer to each other than this many spacings are connected. 3 and 6 do nearly as well on real scans;
14 connects the object to what lies behind it."""
_SHARE = 10
"""A component is kept if it has one ``_SHARE``-th of the points of the largest one, or more. The far wall of
a vessel has; with a thirtieth, mask bleed comes back."""
_OUTSIDE = 0.5
"""A smaller component is kept as well if no point of it lies farther outside the hull of the large ones than
this many root mean square distances of their points from the mean. Mask bleed lies farther behind; without
this rule scans of furniture lose their legs."""
_NEIGHBOUR = 4
"""The spacing is the median distance to the Nth nearest point, for this N."""
_SAMPLE = 4096
"""Components are found among at most this many points of a view; each other point goes with the nearest."""
_HULL = 2048
"""The hull is that of every Nth point, so that it has at most this many; of more it takes long."""
_CUBES = 2.000001 * np.sqrt(3)
"""Cubes along a length of ``near``: two points of one cube are less than half of it apart."""
_MOST_CUBES = 2.0**52
_FEWEST = 16
"""A view with fewer points has no spacing to speak of, and is kept whole."""
_MUCH = 0.15
"""A larger share of stray points is worth a warning: the mask may be wrong."""
_ROUNDING = 1e-9
"""Relative slack of compared distances, so that rounding does not decide about steps of a regular grid."""


def clean_scan(scan: Scan, kept: NDArray[np.bool_] | None = None) -> Scan:
    """Leave out the points of a scan that are not connected to the object.

    Args:
        scan: a scan.
        kept: ``[N]`` which points belong to the object, if that is known; None: see :func:`object_points`.

    Returns:
        The scan with ``left_out``, the share of the points that it lost; all else is unchanged.

    Symmetry: E(3), and scale.
    """
    if kept is None:
        kept = object_points(scan.points, scan.sensor, scan.view)
    return replace(take_points(scan, kept), left_out=float(1 - kept.mean()))


def stray_reason(left_out: float) -> str | None:
    """Say why the mask of a scan may be wrong, if a large share of its points was left out; else None."""
    if left_out <= _MUCH:
        return None
    return (
        f"{percent(left_out, 0)} of the points are not connected to the object and were left out; check the "
        "mask, or keep them with --clean off"
    )


def object_points(points: Float, sensor: Float, view: Int) -> NDArray[np.bool_]:
    """Tell which points of a scan belong to the object.

    In each view, points nearer than four times the median distance to the fourth neighbour are connected, and
    :func:`object_components` are kept, without mask bleed (:func:`without_bleed`). A sample is drawn from a
    large view with a fixed seed.

    Args:
        points: ``[N, 3]``.
        sensor: ``[N, 3]`` position of the sensor of each point.
        view: ``[N]`` the view of each point.

    Returns:
        ``[N]`` bool.

    Symmetry: E(3), and scale. Renumbering the points changes nothing where no view has more than 2,048.
    """
    kept = np.ones(len(points), bool)
    order = np.argsort(view, kind="stable")
    for mine in np.split(order, np.flatnonzero(np.diff(view[order])) + 1):
        if len(mine) >= _FEWEST:
            kept[mine] = _connected(points[mine], sensor[mine])
    return kept


def large_components(component: Int) -> NDArray[np.bool_]:
    """Tell which components ``[C]`` have at least a tenth of the points of the largest one.

    Args:
        component: ``[N]`` number of the connected component of each point, N > 0.
    """
    count = np.bincount(component)
    large: NDArray[np.bool_] = _SHARE * count >= count.max()
    return large


def object_components(
    points: Float, component: Int, large: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Tell which points are in a component of the object.

    These are its large components, and those that lie within the convex hull of the former or a little
    outside, such as a leg that another one hides in part.

    Args:
        points: ``[N, 3]``, N > 0.
        component: ``[N]`` number of the connected component of each point.
        large: ``[C]`` the large components, at least one; None: see :func:`large_components`.

    Returns:
        ``[N]`` bool. Symmetry: E(3), and scale.
    """
    if large is None:
        large = large_components(component)
    kept: NDArray[np.bool_] = large[component]
    if kept.all():
        return kept
    body = points[kept]
    hull = convex_hull(body[:: -(-len(body) // _HULL)])
    if hull is None:
        return kept
    centred = body - mean_point(body)
    size = np.sqrt(np.einsum("ij,ij->", centred, centred) / len(body))
    limit = _OUTSIDE * size
    small = np.flatnonzero(~kept)
    # Most components have one point far outside. It is tried first, since each point meets every half-space.
    reach = np.linalg.norm(points[small] - hull.centre, axis=1)
    order = small[np.argsort(-reach, kind="stable")]
    first = order[np.unique(component[order], return_index=True)[1]]
    near = np.ones(component.max() + 1, bool)
    near[component[first]] = hull.outside(points[first]) <= limit
    rest = small[near[component[small]]]
    near[component[rest[hull.outside(points[rest]) > limit]]] = False
    return kept | near[component]


def _connected(points: Float, sensor: Float) -> NDArray[np.bool_]:
    """Tell which points of one view ``[N, 3]`` are in one of the components of the object."""
    mean = mean_point(points)
    points, sensor = points - mean, sensor - mean
    chosen: Int | slice = slice(None)
    if len(points) > _SAMPLE:
        chosen = np.random.default_rng(0).choice(len(points), _SAMPLE, replace=False)
    sample = points[chosen]
    tree = cKDTree(sample)
    distance, neighbour = tree.query(sample, k=_NEIGHBOUR + 1)
    spacing = float(np.median(distance[:, -1]))
    if spacing == 0:  # most points are there several times
        positions, first, place = np.unique(points, axis=0, return_index=True, return_inverse=True)
        if len(positions) < _FEWEST:
            return np.ones(len(points), bool)
        return _connected(positions, sensor[first])[place]
    near = NEAR * spacing * (1 + _ROUNDING)
    component = _components(tree, distance, neighbour, near)
    away = sample - sensor[chosen]
    pixel = float(np.median(distance[:, -1] / np.linalg.norm(away, axis=1)))
    large = without_bleed(away, component, large_components(component), pixel)
    kept = object_components(sample, component, large)
    return kept if len(sample) == len(points) else _as_nearest(points, tree, kept, near)


def _as_nearest(points: Float, tree: cKDTree, kept: NDArray[np.bool_], near: float) -> NDArray[np.bool_]:
    """Tell for points ``[N]`` what ``kept [n]`` says of the nearest point of a tree; False if none is near.

    Two points of the tree that are near each other are alike. So in a cube whose diagonal is half as long, a
    point is like any point of the tree, and only the points of the other cubes need a search.
    """
    low, high = box(points)
    width = np.floor((high - low) * (_CUBES / near)) + 1
    steps = np.array([width[1] * width[2], width[2], 1])
    known, found = np.zeros((2, len(points)), bool)
    if width.prod() < _MOST_CUBES:  # otherwise their numbers would be rounded
        cube, taken = (np.floor((some - low) * (_CUBES / near)) @ steps for some in (points, tree.data))
        order = np.argsort(taken, kind="stable")
        place = np.searchsorted(taken[order], cube).clip(max=len(order) - 1)
        known = taken[order][place] == cube
        found = kept[order][place]
    rest = np.flatnonzero(~known)
    _, nearest = tree.query(points[rest], distance_upper_bound=near)
    found[rest] = np.append(kept, False)[nearest]  # the last one: none is near
    return found


def _components(tree: cKDTree, distance: Float, neighbour: Int, near: float) -> Int:
    """Find the component ``[N]`` of each point of a tree, where points nearer than ``near`` are connected.

    The nearest neighbours ``[N, K]`` connect most of the points. Only the others are compared with all that
    are near them, which takes a fraction of the time that all pairs take.
    """
    num = len(distance)
    here, rank = np.nonzero(distance[:, 1:] <= near)
    there = neighbour[here, rank + 1]
    component = joined(here, there, num)
    apart = np.flatnonzero(component != np.bincount(component).argmax())
    if not len(apart):
        return component
    pairs = cKDTree(tree.data[apart]).sparse_distance_matrix(tree, near, output_type="ndarray")
    merged = joined(component[apart[pairs["i"]]], component[pairs["j"]], component.max() + 1)
    return merged[component]


def joined(one: Int, other: Int, num: int) -> Int:
    """Number the components ``[num]`` of a graph with edges ``one - other``."""
    graph = coo_array((np.ones(len(one)), (one, other)), (num, num))
    component: Int = connected_components(graph, directed=False)[1]
    return component
