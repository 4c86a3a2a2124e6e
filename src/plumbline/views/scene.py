"""What is drawn of one prediction: points, bodies about the centre of mass, and where to look from.

A prediction holds no points. So a scene is made from the cloud once more, with the rule of cleaning that the
predictor itself applied: what is drawn as left out is what was left out.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from plumbline.geometry.clouds import scan_of
from plumbline.payload.record import GAUSSIAN_90, Payload
from plumbline.predictors.looking import kept_points
from plumbline.predictors.prediction import Prediction
from plumbline.records import Cloud, Float

_FLATTEST = 1e-6
"""Shortest semi-axis of a drawn ellipsoid, as a fraction of the longest."""
_STRAYS_IN_SIGHT = 1.3
"""Stray points up to this many radii of the object away are in sight before anything is turned."""
_ALONG = 0.8
"""An object is in front of a camera if its direction has at least this share along the camera's z axis."""
_ASIDE, _RAISED = 0.7, 0.4
"""How far the first view stands beside and above the line to the sensor: its points are seen from the front,
and the depth that the sensor could not see is seen as well."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One prediction and what it was made from. Frame and unit of the scan.

    Attributes:
        name: file of the scan, as the user named it.
        prediction: the answer.
        kept: ``[K, 3]`` points of the object, K > 0.
        left_out: ``[L, 3]`` stray points that were left out.
        sensors: ``[S, 3]`` the positions from which the points were measured.
        asked: the answer in the frame that was asked for, which may be another; None: nothing was asked.
        payload: in that frame, if a mass is known.
    """

    name: str
    prediction: Prediction
    kept: Float
    left_out: Float
    sensors: Float
    asked: Prediction | None = None
    payload: Payload | None = None

    @cached_property
    def middle(self) -> Float:
        """``[3]`` what a view turns about: the middle of the object's points and the centre of mass."""
        seen = np.vstack([self.kept, self.prediction.com])
        middle: Float = (seen.min(axis=0) + seen.max(axis=0)) / 2
        return middle

    @cached_property
    def radius(self) -> float:
        """Radius about :attr:`middle` of the object's points, the centre of mass and its ellipsoid."""
        far = np.linalg.norm(np.vstack([self.kept, self.prediction.com]) - self.middle, axis=1).max()
        body = uncertainty(self.prediction)
        if body is not None:
            away = np.linalg.norm(self.prediction.com - self.middle) + np.linalg.norm(body, axis=1).max()
            far = max(far, min(away, 2 * far))
        return float(far)

    @cached_property
    def reach(self) -> float:
        """Radius about :attr:`middle` that is in sight at first: with the stray points that are near."""
        if not len(self.left_out):
            return self.radius
        strays = np.linalg.norm(self.left_out - self.middle, axis=1)
        near = strays[strays <= _STRAYS_IN_SIGHT * self.radius]
        return max(self.radius, float(near.max(initial=0)))

    def thinned(self, most: int) -> "Scene":
        """The scene with at most ``most`` of its points, drawn with a fixed seed.

        Each kind has its share; but stray points, which are few, have room for a tenth at least.
        """
        num = len(self.kept) + len(self.left_out)
        if num <= most:
            return self
        strays = min(len(self.left_out), max(most * len(self.left_out) // num, most // 10))
        kept = min(len(self.kept), most - strays)
        return replace(self, kept=_some(self.kept, kept), left_out=_some(self.left_out, strays))


def scene_of(
    cloud: Cloud,
    prediction: Prediction,
    *,
    name: str,
    sensor: ArrayLike | None,
    clean: bool,
    asked: Prediction | None = None,
    payload: Payload | None = None,
) -> Scene:
    """Make the scene of a prediction.

    Args:
        cloud: the points that were looked at.
        prediction: the answer for them.
        name, asked, payload: see :class:`Scene`.
        sensor, clean: as they were given to :meth:`Predictor.predict_many`.
    """
    scan = scan_of(cloud, None if sensor is None else np.asarray(sensor, dtype=np.float64))
    kept = kept_points(scan, cloud) if clean else np.ones(len(scan.points), bool)
    sensors = np.unique(scan.sensor, axis=0)
    return Scene(name, prediction, scan.points[kept], scan.points[~kept], sensors, asked, payload)


def uncertainty(prediction: Prediction) -> Float | None:
    """Semi-axes of the body that contains the truth for 90 % of scans, about the centre of mass.

    Returns:
        ``[3, 3]``, a semi-axis in each row, the longest first: of the ellipsoid of the covariance, or of the
        ball of ``radius_90`` where there is none. None if the prediction has neither. Symmetry: E(3).
    """
    if prediction.covariance is not None:
        squares, axes = np.linalg.eigh(GAUSSIAN_90 * prediction.covariance)
        return _rows(squares, axes)
    return None if prediction.radius_90 is None else prediction.radius_90 * np.eye(3)


def principal_axes(prediction: Prediction) -> Float | None:
    """Principal axes of inertia, as semi-axes of the solid ellipsoid that has the same inertia.

    Returns:
        ``[3, 3]``, a semi-axis in each row, the longest first, which has the smallest moment; None if the
        prediction has no inertia. Symmetry: E(3).
    """
    if prediction.inertia is None:
        return None
    moments, axes = np.linalg.eigh(prediction.inertia)
    return _rows(2.5 * (moments.sum() - 2 * moments), axes)


def first_view(scene: Scene) -> tuple[Float, Float]:
    """Choose where to look from: near the sensors, but from beside and above.

    Returns:
        ``[3, 3]`` orthonormal rows, right, up and towards the viewer; and the same for the view of the
        sensors themselves.
    """
    towards = scene.sensors - scene.middle
    lengths = np.linalg.norm(towards, axis=1)
    lens = (towards[lengths > 0] / lengths[lengths > 0, None]).sum(axis=0)
    up = _up(scene)
    if np.linalg.norm(lens) < 0.1:  # seen from all around
        lens = np.array([1.0, 0, 0]) if abs(up[0]) < _ALONG else np.array([0, 0, 1.0])
    lens = lens / np.linalg.norm(lens)
    aside = np.cross(up, lens)
    if np.linalg.norm(aside) < 0.1:  # seen from above
        aside = np.cross(np.eye(3)[np.abs(lens).argmin()], lens)
    aside /= np.linalg.norm(aside)
    raised = np.cross(lens, aside)
    from_lens = np.stack([aside, raised, lens])
    back = lens + _ASIDE * aside + _RAISED * raised
    back /= np.linalg.norm(back)
    right = np.cross(raised, back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back]), from_lens


def _up(scene: Scene) -> Float:
    """Guess which way is up: -y in the frame of a camera, where objects lie along z; otherwise z."""
    if not scene.sensors.any():
        direction = scene.middle / max(float(np.linalg.norm(scene.middle)), 1e-300)
        if direction[2] > _ALONG:
            return np.array([0, -1.0, 0])
    return np.array([0, 0, 1.0])


def _rows(squares: Float, axes: Float) -> Float:
    """Semi-axes as rows, the longest first, from their squares and unit columns; each has some length."""
    longest = float(np.sqrt(max(squares.max(), 0)))
    lengths = np.maximum(np.sqrt(squares.clip(0)), _FLATTEST * longest)
    order = np.argsort(-lengths, kind="stable")
    found: Float = (axes * lengths).T[order]
    return found


def _some(points: Float, number: int) -> Float:
    if number >= len(points):
        return points
    return points[np.sort(np.random.default_rng(0).choice(len(points), number, replace=False))]
