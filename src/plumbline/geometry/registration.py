"""Registration of a CAD model to a scan: where the object is, and whether that can be trusted.

Starts cover all rotations (``registration_starts.py``); the best ones are refined by robust ICP (``icp.py``)
and judged by the points that lie on the model, by the space that the sensor saw empty, and by what of the
model the scan lacks (``registration_fit.py``). Poses that are as good as the best, such as those of a body of
revolution, are told by where they put the centre of mass: if that differs, the scan does not tell it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from plumbline.arrays import to_numbers
from plumbline.console.text import percent
from plumbline.errors import InputError
from plumbline.geometry.cad_surface import CadSurface
from plumbline.geometry.cleaning import clean_scan
from plumbline.geometry.clouds import check_points, scan_of
from plumbline.geometry.extents import extents
from plumbline.geometry.icp import Motion, refine
from plumbline.geometry.registration_fit import REACH, Fit, Judge
from plumbline.geometry.registration_starts import Start
from plumbline.geometry.sampling import farthest_points
from plumbline.geometry.visibility import sensor_reason
from plumbline.records import Cloud, Float, Int, Scan, Solid

_POINTS = 2000
"""Points of a scan that are used, at most, to judge poses; ..."""
_REFINED = 800
"""... and to refine poses before the best are known."""
_STARTS = 10
"""Different rough poses that are refined."""
_REACHES, _STEPS = (0.15, 0.08, REACH, REACH), 8
_FINISHED, _LAST_STEPS = 3, 40
"""The best poses are refined with all points, until they rest."""
_SENSORS = 8
"""More positions of a moving sensor are represented by this many."""
_PUSHED = 0.08
"""The best pose is pushed by this many radii in each direction and refined again, to see whether it returns:
one flat face may slide."""
_AS_GOOD, _AS_GOOD_SHARE = 0.02, 0.1
"""A pose is as good as the best if its cost is higher by less than this, plus this share of it."""
_FEWEST = 50
_LEAST_INLIERS, _MOST_IN_FRONT, _MOST_RMS, _MOST_MISSING, _MOST_SPREAD = 0.85, 0.15, 0.025, 0.2, 0.04
"""Limits of what is accepted: shares of points, and lengths in bounding radii."""
_TOO_LARGE, _TOO_SMALL = 1.25, 0.1
"""A scan may be longer than the diameter of the model by this factor, for stray points, and is at least this
share of it long; otherwise the units differ."""


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """A CAD model registered to a scan. Lengths in the unit of both, the pose and the centre of mass in the
    frame of the scan.

    Attributes:
        pose: ``[4, 4]`` rigid motion from the frame of the CAD model to that of the scan.
        com: ``[3]`` centre of mass.
        rms: root mean square distance of the inliers from the model.
        inliers: share of the scan's points that lie on the side of the model that the sensor sees, to 5 % of
            the bounding radius.
        in_front: share of the points behind the model, which would stand where the sensor saw through.
        missing: share of the model's image, as the sensor would see it, in which the scan has no points.
        com_spread: largest distance of the centre of mass of another pose that fits as well.
        reason: why the result must not be used, a sentence; None: it may be.
    """

    pose: Float
    com: Float
    rms: float
    inliers: float
    in_front: float
    missing: float
    com_spread: float
    reason: str | None


class _Views(NamedTuple):
    """A scan around the mean of its points, in radii of the model.

    Attributes:
        points: ``[N, 3]``.
        sensors: ``[S, 3]`` positions of the sensors.
        view: ``[N]`` the sensor of each point.
        mean: ``[3]`` mean of the points, frame and unit of the scan.
    """

    points: Float
    sensors: Float
    view: Int
    mean: Float


def register(
    points: ArrayLike | Cloud, mesh: Solid, *, sensor: ArrayLike | None = None, clean: bool = True
) -> Registration:
    """Find where the object of a CAD model is in a scan of it. Deterministic.

    Args:
        points: ``[N, 3]`` points of one object, seen from one side or more; or what
            :func:`plumbline.load_cloud` reads.
        mesh: the CAD model, from :func:`plumbline.load_mesh`, in the unit of the points.
        sensor: ``[3]`` or ``[N, 3]`` position of the sensor in the frame of the points; by default that of
            the cloud, otherwise the origin.
        clean: leave out points that are not connected to the object, as ``predict`` does.

    Symmetry: a scan that is turned and moved gives a pose that is turned and moved. The choice of points
    depends on their order.

    Raises:
        InputError: points or sensor are invalid, or the sizes of scan and model differ as units do.
    """
    cloud = points if isinstance(points, Cloud) else Cloud(to_numbers(points, "points"), name="the scan")
    check_points(cloud.points, cloud.name)
    place = None if sensor is None else to_numbers(sensor, f"{cloud.name}: sensor")
    scan = scan_of(cloud, place)
    return register_scan(clean_scan(scan, cloud.on_object) if clean else scan, CadSurface(mesh), cloud.name)


def register_scan(scan: Scan, surface: CadSurface, name: str) -> Registration:
    """Register a CAD model to a scan of its object; see :func:`register`."""
    _check_size(scan, surface, name)
    views = _views(scan, surface.radius)
    found = _search(views, surface)
    judge = Judge(surface, views.points, views.sensors, views.view)
    fits = [judge.fit(motion) for motion in found]
    for best in np.argsort([fit.cost for fit in fits], kind="stable")[:_FINISHED]:
        done = refine(
            views.points, views.sensors, surface, found[best], _REACHES[-1:], _LAST_STEPS, views.view
        )
        found.append(done)
        fits.append(judge.fit(done))
    best = int(np.argmin([fit.cost for fit in fits]))
    motion, fit = found[best], fits[best]
    others = [
        refine(views.points[:_REFINED], views.sensors, surface, pushed, _REACHES[-1:], 2 * _STEPS)
        for pushed in _pushed(motion)
    ]
    fits += [judge.fit(other) for other in others]
    com = surface.com - motion.move
    limit = fit.cost + _AS_GOOD + _AS_GOOD_SHARE * fit.cost
    spread = max(
        (
            float(np.linalg.norm((surface.com - other.move) @ other.turn - com @ motion.turn))
            for other, one in zip([*found, *others], fits, strict=True)
            if one.cost <= limit
        ),
        default=0.0,
    )
    pose = np.eye(4)
    pose[:3, :3] = motion.turn.T
    pose[:3, 3] = views.mean - surface.radius * motion.move @ motion.turn - motion.turn.T @ surface.centre
    radius = surface.radius
    return Registration(
        pose,
        views.mean + radius * com @ motion.turn,
        radius * fit.rms,
        fit.inliers,
        fit.in_front,
        fit.missing,
        radius * spread,
        sensor_reason(scan.points, scan.sensor, scan.view) or _reason(len(scan.points), fit, spread),
    )


def _check_size(scan: Scan, surface: CadSurface, name: str) -> None:
    size, model = float(np.linalg.norm(extents(scan.points))), 2 * surface.radius
    if _TOO_SMALL * model <= size <= 2 * _TOO_LARGE * model:
        return
    raise InputError(
        f"{name}: the scan is {size:.3g} long and the CAD model {model:.3g}; give the unit of the model with "
        "--cad_scale, or that of the scan with --scale"
    )


def _views(scan: Scan, radius: float) -> _Views:
    """Centre and scale a random part of the points, always the same; few sensors stand for many."""
    chosen = np.random.default_rng(0).permutation(len(scan.points))[:_POINTS]
    points, sensor = scan.points[chosen], scan.sensor[chosen]
    mean = points.mean(axis=0)
    points, sensor = (points - mean) / radius, (sensor - mean) / radius
    positions, view = np.unique(sensor, axis=0, return_inverse=True)
    if len(positions) > _SENSORS:
        positions = positions[farthest_points(positions, _SENSORS)]
        view = cKDTree(positions).query(sensor)[1]
    return _Views(points, positions, view.reshape(-1).astype(np.int64), mean)


def _search(views: _Views, surface: CadSurface) -> list[Motion]:
    starts = Start(surface, views.points, views.sensors).poses(_STARTS)
    few = views.points[:_REFINED]
    return [refine(few, views.sensors, surface, start, _REACHES, _STEPS) for start in starts]


def _pushed(motion: Motion) -> list[Motion]:
    pushes = _PUSHED * np.concatenate([np.eye(3), -np.eye(3)])
    return [motion._replace(move=motion.move + push) for push in pushes]


def _reason(points: int, fit: Fit, spread: float) -> str | None:
    """Say why a registration must not be used, or None."""
    if points < _FEWEST:
        return f"only {points} points are left of the scan, and {_FEWEST} are needed"
    if fit.inliers < _LEAST_INLIERS:
        return (
            f"only {percent(fit.inliers, 0)} of the points lie on the CAD model "
            f"({percent(_LEAST_INLIERS, 0)} are needed); "
            "check that model, its unit and the mask are right"
        )
    if fit.in_front > _MOST_IN_FRONT:
        return (
            f"the CAD model would hide {percent(fit.in_front, 0)} of the points "
            f"({percent(_MOST_IN_FRONT, 0)} at most); "
            "check that model and mask are right"
        )
    if fit.rms > _MOST_RMS:
        return (
            f"the points on the CAD model are off by {percent(fit.rms, 1)} of its bounding radius "
            f"({percent(_MOST_RMS, 1)} at most); check that the model is right, or scan from nearer"
        )
    if fit.missing > _MOST_MISSING:
        return (
            f"{percent(fit.missing, 0)} of what the sensor should see of the CAD model has no points "
            f"({percent(_MOST_MISSING, 0)} at most); scan it without what stands in front"
        )
    if spread > _MOST_SPREAD:
        return (
            f"other poses fit as well, with centres of mass up to {percent(spread, 1)} of the bounding "
            f"radius away ({percent(_MOST_SPREAD, 1)} at most); scan another side"
        )
    return None
