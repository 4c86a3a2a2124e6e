"""How well a placed CAD model agrees with a scan: with its points, and with the space that was seen empty."""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from plumbline.geometry.cad_surface import CadSurface
from plumbline.geometry.icp import Motion, visible
from plumbline.records import Float, Int

REACH = 0.05
"""A point within this many radii of the surface is on it."""
_PIXELS = 3.0
"""A part of the model without a point in this many spacings of directions is not in the scan."""
_MISSING = 0.1
"""... by how many radii it is seen to be missing, at most."""
_BACK = 0.5
"""Weight of what is missing, next to the points that are off: scans lose edges, and are hidden in part."""


class Fit(NamedTuple):
    """What is found of one pose.

    Attributes:
        cost: of points off the surface and of surface without points; 0 is perfect, about 2 the worst.
        rms: root mean square distance of the inliers from the surface, radii.
        inliers: share of the points on the surface.
        in_front: share of the points that lie behind the model, so that it stands in space seen empty.
        missing: share of the model's image without points.
    """

    cost: float
    rms: float
    inliers: float
    in_front: float
    missing: float


class Judge:
    """Judges poses of a model by one scan.

    Args:
        surface: the CAD model.
        points: ``[N, 3]`` scan, in radii of the model.
        sensors: ``[S, 3]`` positions of the sensors.
        view: ``[N]`` the sensor of each point.
    """

    def __init__(self, surface: CadSurface, points: Float, sensors: Float, view: Int) -> None:
        self._surface, self._points, self._sensors, self._view = surface, points, sensors, view
        away = points - sensors[view]
        every = away / np.linalg.norm(away, axis=1, keepdims=True)
        self._trees = []
        self._pitch = []
        for number in range(len(sensors)):
            rays = every[view == number]
            tree = cKDTree(rays)
            self._trees.append(tree)
            k = min(4, len(rays) - 1)
            self._pitch.append(float(np.median(tree.query(rays, k=[k + 1])[0])) if k else np.inf)

    def fit(self, motion: Motion) -> Fit:
        """Judge one pose."""
        surface, points = self._surface, motion(self._points)
        sensors = motion(self._sensors)
        shown = visible(surface, sensors)
        if not len(shown):
            return Fit(2.0, np.inf, 0.0, 1.0, 1.0)
        away, ahead = surface.in_sight(points, sensors[self._view])
        gap = surface.nearest(points, cKDTree(surface.points[shown]), shown, ahead).gap
        on = gap < REACH
        in_front = away < -REACH
        gone = self._gone(motion, sensors)
        off = np.square(np.minimum(gap / REACH, 1)).mean()
        return Fit(
            float(off + _BACK * gone.mean()) if len(gone) else 2.0,
            float(np.sqrt(np.square(gap[on]).mean())) if on.any() else np.inf,
            float(on.mean()),
            float((in_front & ~on).mean()),
            float((gone > 0.25).mean()) if len(gone) else 1.0,
        )

    def _gone(self, motion: Motion, sensors: Float) -> Float:
        """For each part of the model's image, 0 if the scan has points there, up to 1 if it has none near."""
        found = []
        for number, sensor in enumerate(sensors):
            seen = self._surface.seen(sensor)
            away = self._surface.points[seen] - sensor
            distance = np.linalg.norm(away, axis=1)
            rays = away / distance[:, None]
            facing = -np.einsum("ij,ij->i", rays, self._surface.normals[seen]) / distance**2
            gap, _ = self._trees[number].query(rays @ motion.turn)
            beyond = (gap - _PIXELS * self._pitch[number]).clip(0) * distance
            gone = np.square(np.minimum(beyond / _MISSING, 1))
            # As many parts of equal solid angle: samples are even on the surface.
            found.append(_resampled(gone, facing))
        return np.concatenate(found) if found else np.zeros(0)


def _resampled(values: Float, weights: Float) -> Float:
    """Values repeated as often as their weights say, 1,000 in all; none if there are none."""
    if not len(values):
        return np.zeros(0)
    total = np.cumsum(weights)
    chosen: Float = values[np.searchsorted(total, total[-1] * (np.arange(1000) + 0.5) / 1000)]
    return chosen
