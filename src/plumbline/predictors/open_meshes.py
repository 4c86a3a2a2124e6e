"""Mass properties of a surface that encloses nothing: what a model predicts from scans of it."""

from dataclasses import replace

from plumbline.geometry.raycast import Caster
from plumbline.geometry.scans import scan_around
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.predictor import Predictor
from plumbline.records import Solid

_POINTS = 3000
_USED = 512
"""Points of the scans, and how many of these are drawn for each answer. With 128, which suit real scans best,
the centre is missed by 2.0 instead of 1.5 % of the radius."""


def predict_surface(predictor: Predictor, surface: Solid) -> Prediction:
    """Predict the solid that a surface stands for, from scans of it by sensors on four sides.

    Args:
        predictor: any model.
        surface: a mesh in metres, open or closed; its own centre of mass is not used.

    Returns:
        The prediction in the mesh frame, metres.

    Raises:
        InputError: the surface cannot be scanned or predicted.
    """
    scan = scan_around(surface, Caster(surface.vertices, surface.faces), _POINTS)
    prediction = predictor.predict(
        scan.points, sensor=scan.sensor, view=scan.view, max_points=_USED, clean=False
    )
    return replace(prediction, unit="metres")
