"""A scan with stray points and a prediction whose every number is known, to be drawn."""

import numpy as np

from plumbline.predictors.prediction import Prediction
from plumbline.records import Cloud
from plumbline.views.scene import Scene, scene_of

SENSOR = np.array([0.0, 0, -4])
SHAPE = np.array([[0.02, 0.004, 0], [0.004, 0.01, 0], [0, 0, 0.03]])


def dirty_cloud(num: int = 3000, strays: int = 90) -> Cloud:
    """The half of a ball of radius 1 about the origin that the sensor sees, and a wall along its outline."""
    points = np.random.default_rng(2).normal(size=(num, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points *= np.where(points[:, 2:] > 0, [1, 1, -1], 1)
    angle = np.linspace(0, 2 * np.pi, strays, endpoint=False)
    wall = np.column_stack([2 * np.cos(angle), 2 * np.sin(angle), np.full(strays, 4.0)])
    return Cloud(np.concatenate([points, wall]), SENSOR, "a.npz")


def known() -> Prediction:
    """A prediction for it."""
    return Prediction(
        np.array([0.1, -0.05, -0.2]), expected_error=0.2, radius_90=0.4, extent=2.0, num_points=3090,
        num_points_used=512, left_out=90 / 3090, num_views=1, sensor="from the file", covariance=SHAPE,
        volume=4.0, inertia=np.diag([0.3, 0.4, 0.5]), novelty=0.5, notes=("a note",), warnings=("a warning",),
    )  # fmt: skip


def scene(name: str = "a.npz") -> Scene:
    """Both."""
    return scene_of(dirty_cloud(), known(), name=name, sensor=None, clean=True)
