"""Simulated scans: the points of a solid that range sensors measure from a few random poses."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.depth_camera import DepthCamera, Hits
from plumbline.geometry.raycast import Caster
from plumbline.geometry.rest_poses import RestPoses, rest_poses
from plumbline.geometry.rotations import random_directions, random_rotation
from plumbline.geometry.sampling import choose_points, draw_sampling
from plumbline.geometry.sensors import look_at, ray_directions
from plumbline.geometry.tables import move_plane, plausible
from plumbline.records import Float, Sampling, Scan, ScanSettings, Solid

_AIM_JITTER = 0.05
"""Aiming error of a sensor: distance from the centre of the bounding sphere, in radii (1 sigma per axis)."""
_FEWEST = 16
"""A set of poses with fewer hits than this is discarded."""
_POSES = 8
"""Sets of poses tried before an object is refused."""
_MOST_RAYS = 400_000
"""Largest number of rays per view when an object that fills little of the view is scanned again (0.1 s)."""
_DEFAULTS = ScanSettings()
_TETRAHEDRON = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / math.sqrt(3)
"""Directions to its corners."""


class _Drawn(NamedTuple):
    """Settings that are drawn for each scan."""

    views: int
    points: int
    noise: float
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class _View:
    """Pose of one sensor, mesh frame.

    ``turn`` maps sensor axes to mesh axes; ``drift`` and ``shift`` are the rotation and translation of the
    pose error.
    """

    position: Float
    turn: Float
    half_angle: float
    drift: Float
    shift: Float


def scan_solid(
    solid: Solid,
    caster: Caster,
    settings: ScanSettings = _DEFAULTS,
    *,
    rng: np.random.Generator,
    rest: RestPoses | None = None,
) -> Scan:
    """Scan a solid from random poses and merge the views.

    The object is rotated about the origin of its mesh frame. Sensors are placed in uniformly random
    directions, look roughly at the centre of the bounding sphere with a random roll, and see only first hits;
    a share of the scans is taken by a :class:`DepthCamera` instead, if the settings say so. If the object
    fills little of the view, it is scanned again with more rays; if the poses see almost nothing, new poses
    are drawn. A pure function of its arguments and the generator's state, the same for both ray casters. A
    setting that is a single number draws nothing from the generator.

    Args:
        solid: the solid to scan.
        caster: ray caster of the solid's own vertices and faces.
        settings: sensors, noise, and number of points to keep; a value is drawn from every range.
        rng: the only source of randomness; ``settings.seed`` is for a whole data set and not used here.
        rest: how the solid can lie on a table, for the sensor model ``"depth"``; None: computed here.

    Returns:
        The scan, world frame, in sampling order; it has fewer points only if the object is too thin.

    Raises:
        InputError: no set of poses gives at least 16 hits; the message names the object.
    """
    drawn = _draw(settings, rng)
    rotation = random_rotation(rng) if settings.rotate else np.eye(3)
    needed = min(drawn.points, _FEWEST)
    by_camera = settings.sensor_model == "depth" and rng.random() < settings.sensor_share
    if by_camera and rest is None:
        rest = rest_poses(solid)
    for _ in range(_POSES):
        if by_camera:
            assert rest is not None
            hits = DepthCamera(rng, rest).photograph(solid, caster, drawn.views, drawn.points)
        else:
            poses = [_draw_view(solid, rng, settings) for _ in range(drawn.views)]
            measure = partial(_measure, solid, caster, poses, drawn.noise, settings, rng)
            hits = _look_closer(measure, settings.rays, drawn.points)
        if len(hits.points) >= needed:
            return _to_world(solid, hits, drawn, rotation)
    raise InputError(
        f"{solid.name}: {_POSES} sets of poses gave fewer than {needed} hits on the object; "
        "check that its faces are not degenerate, or leave it out"
    )


def scan_around(solid: Solid, caster: Caster, points: int) -> Scan:
    """Scan a surface from the corners of a tetrahedron, without noise.

    Only the side of the faces that looks outward is seen, so that the inside does not show through holes: of
    both sides the one with more hits.

    Args:
        solid: what to scan; its surface may be open.
        caster: ray caster of its vertices and faces.
        points: number of points that are kept.

    Returns:
        The scan in the mesh frame.

    Raises:
        InputError: almost nothing is seen; the message names the object.
    """
    sensors = solid.bounding_centre + 3 * solid.bounding_radius * _TETRAHEDRON

    def measure(rays: int) -> Hits:
        pattern = ray_directions("grid", half_angle=math.asin(1 / 3), rays=rays, rng=np.random.default_rng(0))
        directions = np.concatenate([pattern @ look_at(-corner, 0).T for corner in _TETRAHEDRON])
        view = np.repeat(np.arange(len(sensors)), len(pattern))
        away, face = caster.first_hits(sensors[view], directions)
        front = np.einsum("ij,ij->i", caster.face_normals(face), directions) < 0
        front &= face >= 0
        back = (face >= 0) & ~front
        seen = np.flatnonzero(front if front.sum() >= back.sum() else back)
        found = sensors[view[seen]] + away[seen, None] * directions[seen]
        return Hits(found, view[seen], np.arange(len(seen), dtype=np.float64), sensors)

    hits = _look_closer(measure, 1600, points)
    if len(hits.points) < _FEWEST:
        raise InputError(f"{solid.name}: rays from four sides find almost nothing of its surface")
    return _to_world(solid, hits, _Drawn(len(sensors), points, 0.0, "farthest"), np.eye(3))


def _draw(settings: ScanSettings, rng: np.random.Generator) -> _Drawn:
    views = int(rng.integers(int(settings.views.low), int(settings.views.high), endpoint=True))
    fewest, most = int(settings.points.low), int(settings.points.high)
    points = most
    if fewest < most:
        number = int(math.exp(rng.uniform(math.log(fewest), math.log(most + 1))))
        points = min(max(number, fewest), most)
    noise = settings.noise.high
    if settings.noise.low < noise:
        noise = float(rng.uniform(settings.noise.low, noise))
    return _Drawn(views, points, noise, draw_sampling(settings.sampling, rng))


def _look_closer(measure: Callable[[int], Hits], rays: int, points: int) -> Hits:
    """Measure with an increasing number of rays per view until there are enough hits or too many rays."""
    most = max(rays, _MOST_RAYS)
    while True:
        hits = measure(rays)
        found = len(hits.points)
        if found >= points or rays == most:
            return hits
        rays = min(most, max(2 * rays, math.ceil(1.5 * rays * points / max(found, 1))))


def _draw_view(solid: Solid, rng: np.random.Generator, settings: ScanSettings) -> _View:
    radius = solid.bounding_radius
    direction = random_directions(rng, 1)[0]
    away = rng.uniform(settings.distance.low, settings.distance.high)
    aim = solid.bounding_centre + _AIM_JITTER * radius * rng.standard_normal(3)
    roll = rng.uniform(0, 2 * math.pi)
    drift = _rotation_about(math.radians(settings.pose_error) * rng.standard_normal(3))
    shift = settings.pose_error / 100 * radius * rng.standard_normal(3)
    position = solid.bounding_centre + away * radius * direction
    return _View(position, look_at(aim - position, roll), math.asin(min(1 / away, 0.999)), drift, shift)


def _rotation_about(vector: Float) -> Float:
    """Compute the rotation ``[3, 3]`` about a vector by its length in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    result: Float = np.eye(3) + math.sin(angle) * skew + (1 - math.cos(angle)) * skew @ skew
    return result


def _measure(
    solid: Solid,
    caster: Caster,
    poses: list[_View],
    noise: float,
    settings: ScanSettings,
    rng: np.random.Generator,
    rays: int,
) -> Hits:
    """Cast the rays of all views together; random draws are per ray, so they do not depend on the hits."""
    local = [
        ray_directions(settings.pattern, half_angle=pose.half_angle, rays=rays, rng=rng) for pose in poses
    ]
    view = np.repeat(np.arange(len(poses)), [len(each) for each in local])
    directions = np.concatenate([each @ pose.turn.T for each, pose in zip(local, poses, strict=True)])
    sensors = np.stack([pose.position for pose in poses])
    error = noise * solid.bounding_radius * rng.standard_normal(len(view))
    luck, key = rng.random(len(view)), rng.random(len(view))
    away, face = caster.first_hits(sensors.take(view, axis=0), directions)
    hit = np.flatnonzero(face >= 0)
    facing = np.abs(np.einsum("ij,ij->i", caster.face_normals(face[hit]), directions.take(hit, axis=0)))
    hit = hit[luck[hit] * math.cos(math.radians(settings.grazing)) < facing]
    offsets = directions.take(hit, axis=0) * (away[hit] + error[hit])[:, None]
    ends = np.searchsorted(hit, np.cumsum([len(each) for each in local]))
    measured = [
        pose.position + mine @ pose.drift.T + pose.shift
        for pose, mine in zip(poses, np.split(offsets, ends[:-1]), strict=True)
    ]
    return Hits(np.concatenate(measured), view[hit], key[hit], sensors)


def _to_world(solid: Solid, hits: Hits, drawn: _Drawn, rotation: Float) -> Scan:
    """Choose the points that are kept, and turn the scan.

    A table whose error has it above what is seen of a flat object is left out, as a user would not give it.
    """
    order = np.argsort(hits.key)
    kept = choose_points(hits.points, drawn.points, sampling=drawn.sampling, order=order)
    view = hits.view[kept]
    table = plausible(hits.table, hits.points[kept])
    return Scan(
        points=hits.points[kept] @ rotation.T,
        sensor=(hits.sensors @ rotation.T)[view],
        view=view,
        com=rotation @ solid.com,
        bounding_radius=solid.bounding_radius,
        table=move_plane(table, rotation, np.zeros(3)),
        volume=solid.volume or float("nan"),
        inertia=None if solid.inertia is None else rotation @ solid.inertia @ rotation.T,
        notes=solid.notes,
    )
