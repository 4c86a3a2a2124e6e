"""A virtual depth camera: what a real one loses and gets wrong, around an object on a table.

Parameters and their ranges follow measurements on 62 scans of 25 objects by five cameras (RealSense, Xtion,
Kinect): docs/sensor-model.md. Lengths in pixels are those of the real camera; fewer are computed.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.special import ndtr

from plumbline.geometry.raycast import Caster
from plumbline.geometry.rest_poses import RestPoses
from plumbline.geometry.rotations import random_directions
from plumbline.geometry.sensors import look_at, ray_directions
from plumbline.records import Float, Int, Solid

SIDE = 64
"""Pixels along each side of the computed image; the object's bounding sphere fills it."""
_SIDES = (SIDE, 2 * SIDE, 4 * SIDE)
"""Finer images are tried for an object that fills little of its bounding sphere."""
_MILLIMETRE = 1e-3
_RADIUS = (0.045, 0.16)
"""Radius of the object in metres."""
_DISTANCE = (0.45, 1.2)
"""Distance of the camera in metres; 3 to 14 radii."""
_NEAREST, _FARTHEST = 3.0, 14.0
_FOCAL = (500.0, 1070.0)
"""Focal length in pixels."""
_ON_TABLE = 0.8
"""Share of the scans of an object at rest on a table; the others see it from anywhere."""
_ELEVATION = (20.0, 75.0)
"""Degrees of the camera above the table."""
_EDGE_LOSS, _EDGE_WIDTH = (0.3, 0.7), (2.0, 5.0)
"""Share of the pixels lost at the outline, and over how many pixels the loss falls by 1/e."""
_STRETCH, _LEAN = (4.0, 40.0), 1.5
"""Over how many pixels of the outline the loss is alike, and how far it may lean to one side, in standard
deviations over half the image: what the projector of a camera does not light lies on one side."""
_OUTLINE = 3
"""Computed pixels nearer to the outline than this are on it."""
_GRAZING = ((60.0, 0.0, 0.2), (70.0, 0.05, 0.45), (80.0, 0.15, 0.85))
"""From these angles of incidence on, in degrees: the least and the largest share of lost pixels."""
_OCCLUDED, _OCCLUSION = 0.25, (0.05, 0.4)
"""Share of the views that something stands in front of, and the share of the silhouette that it hides."""
_HOLES, _HOLE_SHAPE = 2.0, 4.0
"""Mean number of holes in a view; their half axes in pixels are Gamma distributed with this shape."""
_PATCHED, _PATCH = 0.12, (0.03, 0.3)
"""Share of the views that miss a whole patch, and its share of the silhouette."""
_NOISE, _NOISE_AT = (0.3, 0.8), 0.7
"""Independent noise of the depth in millimetres at this distance in metres; it grows with the square."""
_WAVES, _WAVE_LENGTH = (0.0, 2.5), (10.0, 25.0)
"""Correlated error of the depth in millimetres, and over how many pixels it is correlated."""
_STEP = (0.0, 1.0)
"""Step that depths are rounded to, in millimetres."""
_FLYING, _FLIGHT = (0.0, 0.1), 4.0
"""Share of the pixels at the outline that fly and that cleaning leaves; how far behind, in pixels."""
_MISPLACED = (0.0, 0.1)
"""Error of the assumed position of the sensor, as a share of its distance."""
_TABLE_KNOWN, _TABLE_TILT, _TABLE_OFFSET = 0.5, 1.0, 3.0
"""Share of the objects on a table whose table is known; its error, 1 sigma in degrees and millimetres."""


class Hits(NamedTuple):
    """Measured points of all views, mesh frame.

    Attributes:
        points: ``[N, 3]``.
        view: ``[N]`` the view of each point.
        key: ``[N]`` random numbers; sorting by them shuffles the points.
        sensors: ``[S, 3]`` assumed position of the sensor of each view.
        table: ``[4]`` assumed plane of the table, as in :class:`~plumbline.records.Scan`; None if unknown.
    """

    points: Float
    view: Int
    key: Float
    sensors: Float
    table: Float | None = None


class DepthCamera:
    """One camera and one object of a certain size before it, drawn at random.

    Args:
        rng: the only source of randomness.
        rest: how the object can lie on a table.
        radius: of the object in metres; None: drawn.
    """

    def __init__(self, rng: np.random.Generator, rest: RestPoses, radius: float | None = None) -> None:
        self._rng = rng
        drawn = math.exp(rng.uniform(math.log(_RADIUS[0]), math.log(_RADIUS[1])))
        self._radius = drawn if radius is None else radius
        self._focal = rng.uniform(*_FOCAL)
        self._loss, self._width = rng.uniform(*_EDGE_LOSS), rng.uniform(*_EDGE_WIDTH)
        self._stretch, self._lean = rng.uniform(*_STRETCH), rng.uniform(0, _LEAN)
        self._severity = rng.random()
        self._noise, self._step = rng.uniform(*_NOISE), rng.uniform(*_STEP)
        self._waves, self._wave_length = rng.uniform(*_WAVES), rng.uniform(*_WAVE_LENGTH)
        self._flying = rng.uniform(*_FLYING)
        on_table, facet = rng.random() < _ON_TABLE, rng.random()
        self._up: Float | None = None
        self._height = 0.0
        if on_table and len(rest.up):
            pose = min(int(np.searchsorted(np.cumsum(rest.chance), facet)), len(rest.up) - 1)
            self._up, self._height = rest.up[pose], float(rest.height[pose])

    def photograph(self, solid: Solid, caster: Caster, num_views: int, num_points: int) -> Hits:
        """Take depth images of a solid, each from another place, and return the points of all.

        Args:
            solid: the solid.
            caster: ray caster of its vertices and faces.
            num_views: number of views.
            num_points: number of points that are wanted; fewer are returned if the object is too thin.
        """
        points, views, keys, sensors = [], [], [], []
        for view in range(num_views):
            position = self._position(solid)
            found = self.take(solid, caster, position, math.ceil(num_points / num_views))
            away = float(np.linalg.norm(position - solid.bounding_centre))
            misplaced = self._rng.uniform(*_MISPLACED) * away * random_directions(self._rng, 1)[0]
            points.append(found)
            views.append(np.full(len(found), view))
            keys.append(self._rng.random(len(found)))
            sensors.append(position + misplaced)
        table = self._table(solid)
        return Hits(
            np.concatenate(points), np.concatenate(views), np.concatenate(keys), np.stack(sensors), table
        )

    def take(self, solid: Solid, caster: Caster, position: Float, num_points: int) -> Float:
        """Take one depth image from a position ``[3]``, and return its points ``[n, 3]``, mesh frame."""
        rng, radius = self._rng, solid.bounding_radius
        away = float(np.linalg.norm(position - solid.bounding_centre)) / radius
        axes = look_at(solid.bounding_centre - position, rng.uniform(0, 2 * math.pi))
        half_angle = math.asin(1 / away)
        for side in _SIDES:
            rays = ray_directions("grid", half_angle=half_angle, rays=side * side, rng=rng)
            directions = rays @ axes.T
            distance, face = caster.first_hits(np.broadcast_to(position, directions.shape), directions)
            hit = (face >= 0).reshape(side, side)
            if np.count_nonzero(hit) >= 2 * num_points:
                break
        pitch = self._focal * 2 * math.tan(half_angle) / side  # pixels of the camera for each computed one
        seen = hit & ~self._occluder(hit)
        depth = np.where(hit, distance.reshape(side, side), 0.0) * rays[:, 2].reshape(side, side)
        inside = distance_transform_edt(seen)
        kept = seen & (self._luck(inside, pitch) < self._chance(inside, pitch))
        normals, there = caster.face_normals(face[hit.ravel()]), directions[hit.ravel()]
        cosine = np.ones((side, side))
        cosine[hit] = np.abs(np.einsum("nd,nd->n", normals, there))
        kept &= rng.random((side, side)) >= self._grazing_loss(cosine)
        kept &= ~self._holes(seen, pitch)
        measured = self._measure(depth / radius, inside, pitch, away) * radius
        rays = rays.reshape(side, side, 3)
        local = rays[kept] * (measured[kept] / rays[kept][:, 2])[:, None]
        points: Float = position + local @ axes.T
        return points

    def _table(self, solid: Solid) -> Float | None:
        """Draw whether the table is known, and how wrongly: its plane ``[4]``, mesh frame."""
        known, tilt = self._rng.random() < _TABLE_KNOWN, self._rng.standard_normal(3)
        shift = self._rng.standard_normal()
        if self._up is None or not known:
            return None
        normal = self._up + math.radians(_TABLE_TILT) * tilt
        normal /= np.linalg.norm(normal)
        below = self._height + _TABLE_OFFSET * _MILLIMETRE / self._radius * solid.bounding_radius * shift
        return np.append(normal, normal @ solid.com - below)

    def _position(self, solid: Solid) -> Float:
        """Draw the position of the camera ``[3]``, mesh frame."""
        away = min(max(self._rng.uniform(*_DISTANCE) / self._radius, _NEAREST), _FARTHEST)
        direction: Float = random_directions(self._rng, 1)[0]
        elevation = math.radians(self._rng.uniform(*_ELEVATION))
        if self._up is not None:
            level = direction - direction @ self._up * self._up
            level /= np.linalg.norm(level)
            direction = math.cos(elevation) * level + math.sin(elevation) * self._up
        return solid.bounding_centre + away * solid.bounding_radius * direction

    def _occluder(self, hit: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Draw what stands in front of the object: the pixels nearest to a place outside of it."""
        rng = self._rng
        occluded, share = rng.random() < _OCCLUDED, rng.uniform(*_OCCLUSION)
        angle, beyond = rng.uniform(0, 2 * math.pi), rng.uniform(1, 4)
        place = 0.5 + beyond * np.array([math.cos(angle), math.sin(angle)])
        if not occluded or not hit.any():
            return np.zeros(hit.shape, bool)
        return _nearest(hit, place * len(hit), share)

    def _chance(self, inside: Float, pitch: float) -> Float:
        """Chance of each pixel to be measured, by its distance from the outline in computed pixels."""
        # The outline runs somewhere between the last pixel inside and the first one outside.
        away = (inside - self._rng.random(inside.shape)) * pitch
        result: Float = 1 - self._loss * np.exp(-np.maximum(away - 1, 0) / self._width)
        return result

    def _luck(self, inside: Float, pitch: float) -> Float:
        """Draw numbers from 0 to 1 that are alike in neighbouring pixels: edges are lost over stretches.

        Along the outline they are spread evenly.
        """
        rng, side = self._rng, len(inside)
        rough, angle = rng.standard_normal(inside.shape), rng.uniform(0, 2 * math.pi)
        field = gaussian_filter(rough, min(self._stretch / pitch, side / 4), mode="wrap", truncate=2)
        field /= field.std()
        row, column = 2 * np.indices(inside.shape) / side - 1
        field += self._lean * (math.cos(angle) * row + math.sin(angle) * column)
        outline = field[(inside > 0) & (inside <= _OUTLINE)]
        result: Float = ndtr((field - outline.mean()) / (outline.std() or 1)) if len(outline) else field
        return result

    def _grazing_loss(self, cosine: Float) -> Float:
        loss = np.zeros(cosine.shape)
        for angle, least, most in _GRAZING:
            loss[cosine < math.cos(math.radians(angle))] = least + self._severity * (most - least)
        return loss

    def _holes(self, seen: NDArray[np.bool_], pitch: float) -> NDArray[np.bool_]:
        """Draw holes and, sometimes, a missing patch."""
        rng = self._rng
        lost = np.zeros(seen.shape, bool)
        row, column = np.nonzero(seen)
        number = int(rng.poisson(_HOLES))
        patched, share = rng.random() < _PATCHED, rng.uniform(*_PATCH)
        where = rng.random(number + 1)
        if not len(row):
            return lost
        grid = np.indices(seen.shape)
        for luck in where[:number]:
            middle = int(luck * len(row))
            across, along = rng.gamma(_HOLE_SHAPE, 1 / pitch, 2)
            turn = rng.uniform(0, math.pi)
            down, right = grid[0] - row[middle], grid[1] - column[middle]
            u = math.cos(turn) * right + math.sin(turn) * down
            v = math.cos(turn) * down - math.sin(turn) * right
            lost |= (u / across) ** 2 + (v / along) ** 2 <= 1
        if patched:
            middle = int(where[-1] * len(row))
            lost |= _nearest(seen, np.array([row[middle], column[middle]]), share)
        return lost

    def _measure(self, depth: Float, inside: Float, pitch: float, away: float) -> Float:
        """Add to the depths ``[side, side]``, in radii, what the camera gets wrong."""
        rng, unit = self._rng, _MILLIMETRE / self._radius
        growth = (away * self._radius / _NOISE_AT) ** 2
        error = self._noise * growth * rng.standard_normal(depth.shape)
        waves = gaussian_filter(
            rng.standard_normal(depth.shape), self._wave_length / pitch, mode="wrap", truncate=2
        )
        error += self._waves * waves / (waves.std() or 1)
        depth = depth + unit * error
        step = unit * self._step
        depth = np.round(depth / step) * step if step > 0 else depth
        outline = (inside > 0) & (inside <= 1)
        flying = outline & (rng.random(depth.shape) < self._flying)
        behind = rng.exponential(_FLIGHT * away / self._focal, depth.shape)
        result: Float = depth + np.where(flying, behind, 0)
        return result


def _nearest(seen: NDArray[np.bool_], place: Float, share: float) -> NDArray[np.bool_]:
    """The given share of the seen pixels, those nearest to a place (row, column)."""
    row, column = np.indices(seen.shape)
    squared = (row - place[0]) ** 2 + (column - place[1]) ** 2
    result: NDArray[np.bool_] = seen & (squared <= np.quantile(squared[seen], share))
    return result
