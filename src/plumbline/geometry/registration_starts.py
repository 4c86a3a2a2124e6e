"""Where a registration starts: every turn of a CAD model, compared roughly with a scan."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from plumbline.geometry.cad_surface import CadSurface
from plumbline.geometry.icp import Motion, approach
from plumbline.records import Float

_ROLLS = 18
"""Turns about the line of sight. Even, so that half a turn of the scan's axes changes nothing."""
_COMPARED = 64
"""Points and samples by which a turn is judged."""
_POINTS = 300
"""Points of the scan that approach the model."""
_BEST = 40
"""Turns from which it is approached."""
_FAR = 0.3
"""Distances count up to this many radii when turns are compared, ..."""
_NEAR = 0.1
"""... and up to this when approached poses are."""
_REACHES = tuple(np.geomspace(0.5, 0.08, 16))
_FROM_ALL_SIDES = 0.3
"""The sensors have a common direction if the mean of the unit vectors to them is longer than this."""
_SAME_PLACE, _SAME_TURN = 0.03, np.radians(6)
"""Two approached poses are one if centre and turn differ by less, in radii and radians."""


class Start:
    """Rough registration of one scan.

    Args:
        surface: the CAD model.
        points: ``[N, 3]`` scan, centred, in radii of the model, in a random order.
        sensors: ``[S, 3]`` positions of the sensors.
    """

    def __init__(self, surface: CadSurface, points: Float, sensors: Float) -> None:
        self._surface, self._points, self._sensors = surface, points, sensors
        self._towards = sensors / np.linalg.norm(sensors, axis=1, keepdims=True)
        self._scan_tree = cKDTree(points)
        self._seen: dict[tuple[int, ...], tuple[cKDTree, Float, Float, Float]] = {}

    def poses(self, most: int) -> list[Motion]:
        """The best rough poses, different ones, at most ``most``."""
        turns = self._turns()
        keys = self._keys(turns)
        order = sorted(range(len(turns)), key=keys.__getitem__)
        ends = np.flatnonzero([keys[a] != keys[b] for a, b in zip(order[1:], order[:-1], strict=True)]) + 1
        cost, motions = np.empty(len(turns)), np.empty((len(turns), 3))
        for group in np.split(np.array(order), ends):
            cost[group], motions[group] = self._compare(turns[group], keys[group[0]])
        chosen = np.argsort(cost, kind="stable")[:_BEST]
        found = [
            approach(
                self._points[:_POINTS], lambda m: self._look_up(m)[:3], Motion(turns[i], motions[i]), _REACHES
            )
            for i in chosen
        ]
        return _distinct(found, [self._cost(motion) for motion in found], most)

    def _turns(self) -> Float:
        """Rotations ``[T, 3, 3]`` from the scan to the model, that turn with the scan."""
        mean = self._towards.mean(axis=0)
        spread = self._points.T @ self._points
        if np.linalg.norm(mean) > _FROM_ALL_SIDES:
            e3 = mean / np.linalg.norm(mean)
            across = np.eye(3) - np.outer(e3, e3)
            e1 = np.linalg.eigh(across @ spread @ across)[1][:, 2]
        else:
            e1, e3 = np.linalg.eigh(spread)[1][:, [2, 0]].T
        own = np.stack([e1, np.cross(e3, e1), e3])
        angle = 2 * np.pi * np.arange(_ROLLS) / _ROLLS
        turns = []
        for z in self._surface.directions:
            x = np.cross(z, np.eye(3)[np.abs(z).argmin()])
            x /= np.linalg.norm(x)
            frame = np.stack([x, np.cross(z, x), z])
            for cosine, sine in zip(np.cos(angle), np.sin(angle), strict=True):
                roll = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
                turns.append(frame.T @ roll @ own)
        return np.array(turns)

    def _keys(self, turns: Float) -> list[tuple[int, ...]]:
        """For each turn, the directions of the model in which the sensors are."""
        towards = np.einsum("tij,sj->tsi", turns, self._towards)
        index = (towards @ self._surface.directions.T).argmax(axis=2)
        return [tuple(sorted(set(row))) for row in index.tolist()]

    def _samples(self, key: tuple[int, ...]) -> tuple[cKDTree, Float, Float, Float]:
        """Samples that are seen from some directions: a tree, positions, normals, and weights."""
        if key not in self._seen:
            surface = self._surface
            shown = surface.coarse[surface.seen_from[list(key)].any(axis=0)]
            points, normals = surface.points[shown], surface.normals[shown]
            # A camera has as many pixels on a surface as it shows in its image.
            weight = (normals @ surface.directions[list(key)].T).clip(0).max(axis=1) + 1e-9
            self._seen[key] = cKDTree(points), points, normals, weight / weight.sum()
        return self._seen[key]

    def _look_up(self, motion: Motion) -> tuple[cKDTree, Float, Float, Float]:
        towards = motion(self._sensors)
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        key = tuple(sorted(set((towards @ self._surface.directions.T).argmax(axis=1).tolist())))
        return self._samples(key)

    def _compare(self, turns: Float, key: tuple[int, ...]) -> tuple[Float, Float]:
        """Cost ``[T]`` and shift ``[T, 3]`` of some turns from which the same samples are seen."""
        tree, samples, _, weight = self._samples(key)
        shift = weight @ samples
        moved = self._points[:_COMPARED] @ turns.transpose(0, 2, 1) + shift
        gap = tree.query(moved.reshape(-1, 3))[0].reshape(len(turns), -1)
        some = np.linspace(0, len(samples) - 1, min(_COMPARED, len(samples))).astype(int)
        back = (samples[some] - shift) @ turns
        other = self._scan_tree.query(back.reshape(-1, 3))[0].reshape(len(turns), -1)
        share = weight[some] / weight[some].sum()
        return _capped(gap, _FAR).mean(axis=1) + _capped(other, _FAR) @ share, np.tile(shift, (len(turns), 1))

    def _cost(self, motion: Motion) -> float:
        tree, samples, _, weight = self._look_up(motion)
        gap = tree.query(motion(self._points[:_POINTS]))[0]
        back = self._scan_tree.query((samples - motion.move) @ motion.turn)[0]
        return float(_capped(gap, _NEAR).mean() + 0.5 * _capped(back, _NEAR) @ weight)


def _capped(gap: Float, most: float) -> Float:
    capped: Float = np.square(np.minimum(gap / most, 1))
    return capped


def _distinct(motions: Sequence[Motion], costs: Sequence[float], most: int) -> list[Motion]:
    """The best poses, none of which is nearly another one."""
    kept: list[Motion] = []
    for number in np.argsort(costs, kind="stable"):
        motion = motions[number]
        if not any(_alike(motion, other) for other in kept):
            kept.append(motion)
        if len(kept) == most:
            break
    return kept


def _alike(one: Motion, other: Motion) -> bool:
    if np.linalg.norm(one.turn.T @ one.move - other.turn.T @ other.move) > _SAME_PLACE:
        return False
    cosine = (np.trace(one.turn.T @ other.turn) - 1) / 2
    return bool(cosine > np.cos(_SAME_TURN))
