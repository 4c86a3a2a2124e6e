"""Truth by construction: a box or a can that stands on a table, from one labelled depth image.

The table's plane, found by RANSAC and least squares, gives the axis of the object; its top face gives the
height. A box: vertical planes through the one or two side faces that the camera sees; the other edges are
where the top face ends. A can: the circle of its side. Neither a start pose nor a mesh is given.

Labels, as those of the Object Segmentation Database: 1 to 9 the table, 20 to 29 the parts of an object, 30
to 39 those of the next, and so on.
"""

from typing import Any, NamedTuple

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.optimize import least_squares

from benchmarks.real.registration import Found, View
from plumbline.geometry.meshes import make_solid_record
from plumbline.records import Float, Solid

NEAR = 0.006
"""Largest distance in metres of a point from a surface that it belongs to."""
TRIALS = 300
"""Planes that RANSAC tries."""
FOOT, RIM = 0.015, 0.01
"""What is lower than this above the table, or less than this below the top face, is no point of the side."""
NARROW = 0.004
"""Width in metres of the strips whose ends are the edge of the top face."""
FEW = 0.04
"""Share of the side's points that a face must have."""
BESIDE, BEHIND = 4, 0.015
"""Another object within these pixels of a point hides what lies beyond, unless it is farther than the point
by more than this, in metres."""
MOST_HIDDEN = 0.85
"""Share of an edge above which it cannot be told where the top face ends."""
FAR, MOST_FAR = 0.012, 0.1
"""Share of the points that may be farther than this, in metres, from the surface of a box or a can."""
HALVES = 4
"""Further fits, each to half of the points, whose spread is reported."""


class NoTruth(Exception):
    """A scan does not show enough of an object to say where its centre of mass is."""


class Body(NamedTuple):
    """A box, or a can, whose ``size`` is diameter, diameter, height, in the frame of the table.

    Attributes:
        round: whether it is a can.
        size: ``[3]``.
        middle: ``[2]`` middle of its base.
        turn: of the box about z, in radians.
    """

    round: bool
    size: Float
    middle: Float
    turn: float

    @property
    def pose(self) -> Float:
        """``[4, 4]`` from the frame in which the centre is 0 to that of the table."""
        pose = np.eye(4)
        pose[:2, :2] = _axes(self.turn).T
        pose[:3, 3] = *self.middle, self.size[2] / 2
        return pose

    @property
    def mesh(self) -> Any:
        if self.round:
            return trimesh.creation.cylinder(self.size[0] / 2, self.size[2], sections=96)
        return trimesh.creation.box(self.size)

    def distance(self, points: Float) -> Float:
        """Distance ``[N]`` of points from the surface."""
        pose = self.pose
        place = np.abs((points - pose[:3, 3]) @ pose[:3, :3])
        if self.round:
            place = np.stack([np.hypot(place[:, 0], place[:, 1]), place[:, 2]], axis=1)
        out = place - self.size[-place.shape[1] :] / 2
        return np.abs(np.linalg.norm(np.maximum(out, 0), axis=1) + np.minimum(out.max(axis=1), 0))


def stand(view: View, labels: NDArray[Any], label: int, kind: str, name: str) -> tuple[Solid, Found]:
    """Construct the object with a label; the view's mask becomes its pixels.

    Args:
        kind: ``box`` or ``can``.
        name: of the solid.

    Raises:
        NoTruth: the object has several parts, another object hides its edges, or it is no box and no can.
    """
    if parts := np.unique(labels[(labels // 10 == label // 10) & (labels != label)]).tolist():
        raise NoTruth(f"the object has further parts, with the labels {parts}")
    view.mask = labels == label
    seen, table = view.mask & view.known, view.points[(labels > 0) & (labels < 10) & view.known]
    points, hidden = view.points[seen], _hidden(view, labels, label)[seen]
    pixel = float(np.median(points[:, 2])) / view.camera.fx
    place, body = _fit(points, hidden, table, pixel, kind)
    pose, rng, others = place @ body.pose, np.random.default_rng(1), []
    for _ in range(HALVES):
        some = rng.random(len(points)) < 0.5
        frame, other = _fit(points[some], hidden[some], table[rng.random(len(table)) < 0.5], pixel, kind)
        others.append((frame @ other.pose)[:3, 3] - pose[:3, 3])
    off = body.distance((points - place[:3, 3]) @ place[:3, :3])
    if (off > FAR).mean() > MOST_FAR:
        raise NoTruth(f"{100 * (off > FAR).mean():.0f} % of the points are not those of a {kind}")
    residual = float(np.sqrt(np.square(off[off <= NEAR]).mean()))
    solid = make_solid_record(name, np.asarray(body.mesh.vertices), np.asarray(body.mesh.faces))
    return solid, Found(pose, residual, float(np.sqrt(np.square(others).sum(axis=1).mean())))


def _hidden(view: View, labels: NDArray[Any], label: int) -> NDArray[np.bool_]:
    """Whether ``[H, W]`` another object may hide what lies beyond a pixel."""
    other = (labels >= 20) & (labels != label) & view.known
    away, (row, column) = distance_transform_edt(~other, return_indices=True)
    return other.any() & (away <= BESIDE) & (view.depth[row, column] < view.depth + BEHIND)


def _fit(
    points: Float, hidden: NDArray[np.bool_], table: Float, pixel: float, kind: str
) -> tuple[Float, Body]:
    """The pose ``[4, 4]`` of the table's frame, and the body in it."""
    frame = fit_table(table)
    camera, points = -frame[:3, 3] @ frame[:3, :3], (points - frame[:3, 3]) @ frame[:3, :3]
    top = _top(points[:, 2])
    lid = np.abs(points[:, 2] - top) <= NEAR
    side = points[(points[:, 2] > FOOT) & (points[:, 2] < top - RIM), :2]
    if kind == "can":
        return frame, _fit_can(side, points[lid, :2], top)
    return frame, _fit_box(side, points[lid, :2], hidden[lid], camera[:2], top, pixel)


def fit_table(points: Float) -> Float:
    """The frame ``[4, 4]`` of the plane through most points: z is 0 on it and grows towards the camera."""
    rng = np.random.default_rng(0)
    some = points[rng.integers(len(points), size=5_000)]
    best = np.zeros(len(some), dtype=bool)
    for _ in range(TRIALS):
        one, other, third = some[rng.integers(len(some), size=3)]
        normal = np.cross(other - one, third - one)
        inside = np.abs((some - one) @ normal) < NEAR * np.linalg.norm(normal)
        best = max(best, inside, key=np.sum)
    kept, frame = some[best], np.eye(4)
    for _ in range(3):
        frame[:3, 3] = kept.mean(axis=0)
        axes = np.linalg.svd(kept - frame[:3, 3], full_matrices=False)[2]
        kept = points[np.abs((points - frame[:3, 3]) @ axes[2]) <= NEAR]
    up = -axes[2] * np.sign(axes[2] @ frame[:3, 3])
    frame[:3, :3] = np.stack([axes[0], np.cross(up, axes[0]), up], axis=1)
    return frame


def _top(height: Float) -> float:
    """Height of the top face, where most of the upper points lie."""
    upper = height[height > 0.6 * np.quantile(height, 0.99)]
    return _densest(upper, upper.min(), upper.max())


def _densest(places: Float, least: float, most: float) -> float:
    """Where most of some places between two limits lie."""
    counts, edges = np.histogram(places, np.arange(least, most + 0.002, 0.002))
    found = float(edges[counts.argmax()]) + 0.001
    for _ in range(5):
        found = float(np.median(places[np.abs(places - found) <= NEAR / 2]))
    return found


def _fit_can(side: Float, lid: Float, top: float) -> Body:
    def off(circle: Float) -> Float:
        return np.linalg.norm(side - circle[:2], axis=1) - circle[2]

    start = np.append(np.median(lid, axis=0), np.ptp(lid, axis=0).min() / 2)
    x, y, radius = least_squares(off, start, loss="soft_l1", f_scale=0.002).x
    return Body(True, np.array([2 * radius, 2 * radius, top]), np.array([x, y]), 0.0)


def _fit_box(
    side: Float, lid: Float, hidden: NDArray[np.bool_], camera: Float, top: float, pixel: float
) -> Body:
    turn = max(np.radians(np.arange(0, 90, 0.5)), key=lambda turn: _sharpness(side @ _axes(turn).T))
    for _ in range(6):
        axes = _axes(turn)
        along = side @ axes.T
        sign = np.sign(np.median(lid @ axes.T, axis=0) - axes @ camera)
        depth = sign * along
        first = np.quantile(depth, 0.01, axis=0) - 0.003
        near = np.array([_densest(depth[:, i], first[i], first[i] + 0.015) for i in range(2)])
        on = np.abs(depth - near) <= NEAR
        stronger = int(on[:, 1].sum() > on[:, 0].sum())
        on[:, 1 - stronger] &= ~on[:, stronger]
        seen = on.sum(axis=0) > FEW * len(side)
        one, other = (on & seen).T
        table = np.zeros((one.sum() + other.sum(), 3))
        table[:, 0] = np.concatenate([-along[one, 1], along[other, 0]])
        table[: one.sum(), 1] = table[one.sum() :, 2] = 1
        found = np.linalg.lstsq(table, np.concatenate([along[one, 0], along[other, 1]]), rcond=None)[0]
        turn += found[0]
    places, ends = lid @ _axes(turn).T, np.empty((2, 2))
    for i, face in enumerate((sign < 0).astype(int)):
        for end in range(2):
            outward = 2 * end - 1
            if seen[i] and end == face:
                ends[i, end] = found[1 + i]
            else:
                edge = _edge(outward * places[:, i], places[:, 1 - i], hidden)
                ends[i, end] = outward * (edge + pixel / 2)
    return Body(False, np.append(ends[:, 1] - ends[:, 0], top), _axes(turn).T @ ends.mean(axis=1), turn)


def _axes(turn: float) -> Float:
    """Rows: the axes of a box in the plane of the table."""
    return np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def _sharpness(places: Float) -> float:
    """How closely points crowd along two axes; the more, the nearer these are to the normals of faces."""
    counts = [np.histogram(x, np.arange(x.min(), x.max() + 0.003, 0.003))[0] for x in places.T]
    return float(sum(np.square(count).sum() for count in counts))


def _edge(along: Float, across: Float, hidden: NDArray[np.bool_]) -> float:
    """Where the top face ends: the median of the last points of its strips, without those that may go on
    behind another object."""
    strip = np.floor(across / NARROW).astype(int)
    names, counts = np.unique(strip, return_counts=True)
    groups = [np.flatnonzero(strip == name) for name in names[counts > np.median(counts) / 2]]
    last = np.array([group[along[group].argmax()] for group in groups])
    if hidden[last].mean() > MOST_HIDDEN:
        raise NoTruth("another object hides an edge of the top face")
    return float(np.median(along[last][~hidden[last]]))
