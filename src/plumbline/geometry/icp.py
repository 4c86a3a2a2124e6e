"""Robust point-to-plane ICP: points are moved onto the side of a surface that their sensors see."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from plumbline.geometry.cad_surface import CadSurface, Nearest
from plumbline.records import Float, Int

_DAMPING = 1e-5
"""Share of the trace that is added to each diagonal element, so that a body of revolution does not turn about
its axis, and a plane does not slide."""
_FINEST = 1e-3
"""Weights do not end nearer than this many radii."""
_SPREAD, _MOST = 3.0, 90
"""Weights end at this many times the distance that this percentage of the matches stays below, which is five
standard deviations of noise. A median would be 0 where most points lie on faces along which a scan slides."""
_STRIDE = 0.5
"""No point moves farther than this share of the reach in one step, or a scan that few points hold at an edge
jumps over it."""
_STILL = 1e-10
"""A step shorter than this, in radii, is the last one."""


class Motion(NamedTuple):
    """Rigid motion from the scan to the CAD model: ``y = turn @ x + move``."""

    turn: Float
    move: Float

    def __call__(self, points: Float) -> Float:
        """Move points ``[N, 3]``."""
        moved: Float = points @ self.turn.T + self.move
        return moved

    def then(self, turn: Float, move: Float) -> "Motion":
        """This motion, and another one after it."""
        return Motion(turn @ self.turn, turn @ self.move + move)


def refine(
    points: Float,
    sensors: Float,
    surface: CadSurface,
    start: Motion,
    reaches: Sequence[float],
    steps: int,
    view: Int | None = None,
) -> Motion:
    """Move points onto the part of a surface that is seen from where their sensors stood.

    What is seen is found again at each reach, and nearest points at each step. Weights are Tukey's: they fall
    to 0 at the reach, or nearer if most matches are much nearer.

    Args:
        points: ``[N, 3]`` scan, in radii of the CAD model.
        sensors: ``[S, 3]`` positions of the sensors, in the frame of the points.
        surface: the CAD model.
        start: from the scan to the model.
        reaches: largest distance of a match, from coarse to fine, in radii.
        steps: at most, at each reach.
        view: ``[N]`` the sensor of each point; its line of sight then finds triangles without a sample, so
            that a scan without noise is met exactly.
    """
    motion = start
    for reach in reaches:
        shown = visible(surface, motion(sensors))
        if not len(shown):
            return motion
        tree = cKDTree(surface.points[shown])
        for _ in range(steps):
            local = motion(points)
            ahead = None if view is None else surface.in_sight(local, motion(sensors)[view])[1]
            near = surface.nearest(local, tree, shown, ahead)
            turn, move = _step(local, near, reach)
            motion = motion.then(turn, move)
            if np.abs(turn - np.eye(3)).max() < _STILL and np.abs(move).max() < _STILL:
                break
    return motion


def approach(
    points: Float,
    look_up: Callable[[Motion], tuple[cKDTree, Float, Float]],
    start: Motion,
    reaches: Sequence[float],
) -> Motion:
    """Move points onto samples of a surface, roughly.

    Args:
        points: ``[N, 3]``.
        look_up: for a motion, the samples that are seen: a tree, positions and normals.
        start: from the scan to the model.
        reaches: largest distance of a match, one for each step.
    """
    motion = start
    for number, reach in enumerate(reaches):
        if number % 4 == 0:
            tree, positions, normals = look_up(motion)
        local = motion(points)
        gap, index = tree.query(local)
        motion = motion.then(*_step(local, Nearest(gap, positions[index], normals[index]), reach))
    return motion


def visible(surface: CadSurface, sensors: Float) -> Int:
    """Indices of the samples that at least one of some sensors ``[S, 3]`` sees; frame of the surface."""
    seen = np.zeros(len(surface.points), bool)
    for sensor in sensors:
        seen |= surface.seen(sensor)
    return np.flatnonzero(seen)


def tukey(gap: Float, reach: float) -> Float:
    """Tukey's weights ``[N]`` of distances, 0 from ``reach`` on."""
    weight: Float = np.square(np.clip(1 - np.square(gap / reach), 0, None))
    return weight


def _step(local: Float, near: Nearest, reach: float) -> tuple[Float, Float]:
    """The small motion that brings points nearest to the planes of their matches."""
    met = near.gap < reach
    if np.count_nonzero(met) < 6:
        return np.eye(3), np.zeros(3)
    own = max(_SPREAD * float(np.percentile(near.gap[met], _MOST)), _FINEST)
    weight = np.sqrt(tukey(near.gap[met], min(reach, own)))
    local, normal = local[met], near.normal[met]
    off = np.einsum("ij,ij->i", near.point[met] - local, normal)
    centre = local.mean(axis=0)
    table = np.hstack([np.cross(local - centre, normal), normal]) * weight[:, None]
    square = table.T @ table
    square += _DAMPING * np.trace(square) * np.eye(6)
    step = np.linalg.solve(square, table.T @ (off * weight))
    size = np.linalg.norm(step[:3]) * np.sqrt(np.square(local - centre).sum(axis=1).max())
    step *= min(1.0, _STRIDE * reach / max(size + np.linalg.norm(step[3:]), 1e-300))
    turn = Rotation.from_rotvec(step[:3]).as_matrix()
    return turn, centre + step[3:] - turn @ centre
