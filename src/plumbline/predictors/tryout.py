"""What a predictor finds of a made-up scan, to learn what it predicts before any file is read."""

import numpy as np

from plumbline.predictors.prediction import Prediction
from plumbline.predictors.predictor import Predictor

_POINTS = 128


def try_out(predictor: Predictor) -> Prediction:
    """Predict half a ball, as a camera at the origin sees it; its radius is a metre.

    Raises:
        InputError: as :meth:`Predictor.predict`.
    """
    points = np.random.default_rng(0).normal(size=(_POINTS, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points[:, 2] = 3 - np.abs(points[:, 2])
    return predictor.predict(points, sensor=np.zeros(3), clean=False)
